#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the built-in root file system: an initramfs of Debian's busybox and the agent.
#
#	guest/build-initramfs.sh OUT AGENT
#
# OUT is an uncompressed cpio archive ("newc"), the same bytes for the same inputs: names sorted,
# all times are 0, all files are root's.  It needs no root and no device nodes (the agent mounts
# devtmpfs).  The kernel copies each byte once, so there is nothing in it but what a shell needs;
# busybox's applets are symbolic links, a header each.
# BUSYBOX names another static busybox.

set -euo pipefail
export LC_ALL=C

die() { printf 'initramfs: %s\n' "$*" >&2; exit 1; }

[ $# -eq 2 ] || die "usage: build-initramfs.sh OUT AGENT"
out=$1
agent=$2
busybox=${BUSYBOX:-$(command -v busybox || true)}
[ -r "$agent" ] || die "the agent, $agent, is missing"
[ -n "$busybox" ] && [ -r "$busybox" ] || die "busybox is missing: apt-get install busybox-static"
for f in "$agent" "$busybox"; do
	! readelf -l "$f" | grep -q INTERP ||
		die "$f is not static (for busybox: apt-get install busybox-static)"
done
command -v cpio >/dev/null || die "cpio is missing: apt-get install cpio"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
umask 022

# The kernel starts /init, and the agent finds there what it does not mount itself.
mkdir -p "$root"/{bin,dev,etc,home/user,lib,mnt,opt,proc,root,run,srv,sys,tmp} \
	"$root/usr/local/bin" "$root"/var/{log,tmp}
chmod 0700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
ln -s bin "$root/sbin"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s ../run "$root/var/run"

cp "$agent" "$root/init"
cp "$busybox" "$root/bin/busybox"
strip -s "$root/init" "$root/bin/busybox" 2>/dev/null || true
chmod 0755 "$root/init" "$root/bin/busybox"
"$busybox" --list | while IFS= read -r applet; do
	# Not offered: what would act as PID 1, and what needs a screen or modules.
	case $applet in
	busybox|init|linuxrc|getty|login|sulogin) continue ;;
	modprobe|insmod|rmmod|depmod|lsmod|modinfo|openvt|chvt|deallocvt|fgconsole) continue ;;
	loadfont|loadkmap|setfont|setkeycodes|showkey|kbd_mode|dumpkmap|setconsole) continue ;;
	esac
	ln -s busybox "$root/bin/$applet"
done

cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
user:x:1000:1000:user:/home/user:/bin/sh
END
cat >"$root/etc/group" <<'END'
root:x:0:
tty:x:5:
nogroup:x:65534:
user:x:1000:
END
echo sandbox >"$root/etc/hostname"
cat >"$root/etc/hosts" <<'END'
127.0.0.1	localhost sandbox
::1	localhost ip6-localhost
END
: >"$root/etc/resolv.conf"
echo /bin/sh >"$root/etc/shells"
cat >"$root/etc/profile" <<'END'
export PATH=/usr/local/bin:/usr/bin:/bin
[ -z "$PS1" ] || PS1='\u@\h:\w\$ '
END
cat >"$root/etc/os-release" <<'END'
NAME=sandbox
ID=sandbox
PRETTY_NAME="sandbox built-in root"
END

# newc holds owner, times and inode numbers: --owner, touch and --reproducible settle them.
find "$root" -exec touch -h -d @0 {} +
pack() { cpio --null -o -H newc --owner="$1" --reproducible --quiet; }
(cd "$root" && find . -mindepth 1 -print0 | sort -z | pack +0:+0) >"$work/out" || die "cpio failed"
# /home/user is the user's own: owners sit in the header, so a second archive that names only this
# folder follows the first.
mkdir "$work/user"
mkdir -p "$work/user/home/user"
touch -d @0 "$work/user/home/user"
(cd "$work/user" && printf 'home/user\0' | pack +1000:+1000) >>"$work/out" || die "cpio failed"

mv -f "$work/out" "$out.new.$$" && mv -f "$out.new.$$" "$out" || die "cannot write $out"
