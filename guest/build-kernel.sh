#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the guest kernel, once for each set of inputs.
#
#	guest/build-kernel.sh			build it unless it is there; prints the folder as the last line
#	guest/build-kernel.sh --path		prints the folder, builds nothing
#	guest/build-kernel.sh --print-digest	prints the digest of the inputs
#
# The folder, ${XDG_CACHE_HOME:-~/.cache}/sandbox/kernel/<digest>/, holds vmlinux (stripped: what
# the monitor loads), bzImage, System.map and config.  Inputs: Debian's linux-source-6.12,
# kernel.config, patches/, this script, the compiler.
#
# The work is done in a folder beside it that is renamed at the end, so the folder is there whole or
# not at all.  A lock makes a second caller wait for the first.  Whatever ends the script, the work
# folder goes; what a killed one left, the next removes.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
release=6.12
tarball=${SANDBOX_KERNEL_SOURCE:-/usr/src/linux-source-$release.tar.xz}
cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set}/.cache}/sandbox/kernel

say() { printf 'guest kernel: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Digesting the tarball takes most of a second: remember it as long as size and time stay.
tarball_digest()
{
	local memo stamp
	stamp=$(stat -L -c '%s %Y %n' "$tarball")
	memo=$cache/source-digest
	if [ -r "$memo" ] && [ "$(head -n 1 "$memo")" = "$stamp" ]; then
		tail -n 1 "$memo"
		return
	fi
	local sum
	sum=$(sha256sum <"$tarball" | cut -d ' ' -f 1)
	if mkdir -p "$cache" 2>/dev/null && printf '%s\n%s\n' "$stamp" "$sum" >"$memo.$$" 2>/dev/null; then
		mv -f "$memo.$$" "$memo"
	fi
	echo "$sum"
}

digest()
{
	{
		tarball_digest
		gcc --version | head -n 1
		ld --version | head -n 1
		# Without comments, so that a better explanation costs nobody a build.
		(cd "$here" && sed '/^# CONFIG_/!{/^#/d}' build-kernel.sh kernel.config patches/*.patch)
	} | sha256sum | cut -c 1-24
}

[ -r "$tarball" ] || die "$tarball is missing: apt-get install linux-source-$release"
command -v gcc >/dev/null || die "gcc is missing: apt-get install build-essential"

digest=$(digest)
out=$cache/$digest
case ${1-} in
--path)		echo "$out"; exit ;;
--print-digest)	echo "$digest"; exit ;;
'')		;;
*)		die "unknown argument '$1' (known: --path, --print-digest)" ;;
esac

if [ -e "$out/vmlinux" ]; then
	echo "$out"
	exit
fi

for tool in make ld flex bison bc xz patch flock perl:perl-base gzip; do
	command -v "${tool%%:*}" >/dev/null || die "${tool%%:*} is missing: apt-get install ${tool##*:}"
done
echo '#include <libelf.h>' | gcc -E - >/dev/null 2>&1 ||
	die "libelf.h is missing: apt-get install libelf-dev"

mkdir -p -m 0700 "$cache" || die "cannot make the folder $cache"
exec 9>"$cache/lock"
if ! flock -n 9; then
	say "waiting for another build of it"
	flock 9
fi
if [ -e "$out/vmlinux" ]; then
	echo "$out"
	exit
fi

# We hold the lock: every work folder here is a dead builder's.
rm -rf "$cache"/work.*
work=$(mktemp -d "$cache/work.XXXXXX")
child=
trap 'rm -rf "$work"' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP
stop()
{
	[ -z "$child" ] || kill "$child" 2>/dev/null || true
	wait
	exit "$1"
}

avail=$(df -P --block-size=1M "$cache" | awk 'NR == 2 { print $4 }')
[ "$avail" -ge 1500 ] || die "$cache has $avail MiB free and the build needs 1500"

run()
{
	local what=$1
	shift
	# In the background, as a shell takes a signal only after a child in the foreground has ended.
	"$@" >>"$work/log" 2>&1 9>&- &
	child=$!
	if ! wait "$child"; then
		grep -E 'error|Error|\*\*\*|undefined|FAILED|cannot' "$work/log" | tail -n 12 >&2 || true
		tail -n 12 "$work/log" >&2
		die "$what failed (its last lines are above)"
	fi
	child=
}

# Kconfig reads a Kconfig from every folder, so only what it does not read is left out: the sources
# of machines and devices that a microVM cannot have.
say "unpacking $tarball"
mkdir "$work/src"
run "unpacking $tarball" tar -xJf "$tarball" -C "$work/src" --strip-components=1 \
	--exclude='*/Documentation/*.rst' --exclude='*/Documentation/devicetree/bindings/*' \
	--exclude='*/tools/testing/*' --exclude='*/tools/perf/*' --exclude='*/sound/*.[ch]' \
	--exclude='*/arch/*.dts' --exclude='*/arch/*.dtsi' --exclude='*/drivers/gpu/*.[ch]' \
	--exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
	--exclude='*/drivers/infiniband/*.[ch]' --exclude='*/drivers/scsi/*.[ch]' \
	--exclude='*/drivers/usb/*.[ch]' \
	--exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
	--exclude='*/arch/a*/*.[chS]' --exclude='*/arch/[c-w]*/*.[chS]'

for p in "$here"/patches/*.patch; do
	run "the patch ${p##*/}" patch -s -p1 --no-backup-if-mismatch -F 0 -d "$work/src" -i "$p"
done

# Same inputs, same bytes.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_USER=sandbox KBUILD_BUILD_HOST=sandbox
mk=(nice -n 10 make -C "$work/src" ARCH=x86_64 -j"$(nproc)" LOCALVERSION=)

say "configuring"
run "make tinyconfig" "${mk[@]}" tinyconfig
cat "$here/kernel.config" >>"$work/src/.config"
run "make olddefconfig" "${mk[@]}" olddefconfig

# Kconfig drops a line that it does not know or whose dependencies are missing, and says nothing.
missed=
while IFS= read -r line; do
	case $line in
	CONFIG_*)
		grep -qxF -- "$line" "$work/src/.config" || missed+=" $line" ;;
	'# CONFIG_'*' is not set')
		option=${line#\# }
		option=${option%% *}
		! grep -q "^$option=" "$work/src/.config" || missed+=" $option=n" ;;
	esac
done <"$here/kernel.config"
[ -z "$missed" ] || die "kernel.config asks for what this kernel does not take:$missed"

say "compiling (minutes)"
start=$SECONDS
run "compiling the guest kernel" "${mk[@]}" bzImage
mkdir "$work/out"
cp "$work/src/arch/x86/boot/bzImage" "$work/src/System.map" "$work/out/"
cp "$work/src/.config" "$work/out/config"
run "stripping vmlinux" strip -s -o "$work/out/vmlinux" "$work/src/vmlinux"
chmod 0755 "$work/out"
rm -rf "$out"
mv "$work/out" "$out"
say "done in $((SECONDS - start)) s, $(stat -c %s "$out/vmlinux") bytes"
echo "$out"
