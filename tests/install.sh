#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# install.sh FOLDER - `make install` from build folder FOLDER to a folder of its own and back:
# everything is there, for everybody, whatever the installer's umask is; the command runs from
# there, and uninstall leaves no file. The folder's name has a space and a quote in it.
set -u
cd "$(dirname "$0")/.." || exit
make --no-print-directory "O=$1" all guest || exit
umask 077
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
dest="$top/it's here"
mkdir "$dest"
failed=0

check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok install: $name"
	else
		echo "not ok install: $name"
		failed=1
	fi
}

files() { (cd "$dest" && find . ! -type d | sort); }

has_all() {
	local f
	for f in bin/sandbox bin/git-remote-sandbox libexec/sandbox/sandbox-vmm \
		 share/sandbox/vmlinux share/sandbox/bzImage share/sandbox/initramfs.cpio \
		 share/bash-completion/completions/sandbox share/zsh/site-functions/_sandbox; do
		[ -s "$dest/opt/x/$f" ] || { echo "$f is missing"; return 1; }
	done
	for f in docs/*.[1-8]; do
		[ ! -e "$f" ] || [ -s "$dest/opt/x/share/man/man${f##*.}/${f##*/}" ] ||
			{ echo "$f is missing"; return 1; }
	done
}

all_may_read() {
	local found
	found=$(find "$dest"/opt ! -type l ! -perm -004)
	echo "$found"
	[ -z "$found" ]
}

make_it() { make --no-print-directory "O=$1" "DESTDIR=$dest" PREFIX=/opt/x "$2"; }

check "make install" make_it "$1" install
check "every file is there" has_all
check "everybody may read it" all_may_read
check "the command starts" "$dest/opt/x/bin/sandbox" version
check "the monitor starts" "$dest/opt/x/libexec/sandbox/sandbox-vmm" --version
check "make uninstall" make_it "$1" uninstall
files
check "nothing is left" test -z "$(files)"
exit "$failed"
