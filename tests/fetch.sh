#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fetch.sh FOLDER PACKAGE... - put Debian packages into FOLDER, without installing them: tests
# unpack them there. An sshd that is installed would start, and listen, on the machine of
# whoever only wanted to run tests.
set -eu
export LC_ALL=C

folder=$1
shift
mkdir -p "$folder"
for p in "$@"; do
	set -- "$folder/$p"_*.deb
	# One that was cut short would be there for ever.
	[ -e "$1" ] && dpkg-deb -c "$1" >/dev/null 2>&1 && continue
	rm -f "$@"
	echo "+ apt-get download $p"
	if ! (cd "$folder" && apt-get -qq -o APT::Sandbox::User= download "$p"); then
		[ "$(id -u)" = 0 ] || { echo "Run 'sudo apt-get update' and try again." >&2; exit 1; }
		apt-get update
		(cd "$folder" && apt-get -qq -o APT::Sandbox::User= download "$p")
	fi
done
