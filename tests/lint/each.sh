#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# each.sh TOOL FILE... - run clang-tidy or gcc's analyzer over C files, each alone.
#
# A file that was clean is not read again as long as nothing is different that its reading
# depends on: the tool, its settings, the flags, and every byte of the file and of all that it
# includes. Notes of that are empty files named by a digest, in the user's cache folder, so that
# a fresh clone has them, too; LINT_CACHE is another folder, and an empty one does without.
# Whatever a tool prints is a finding, and never noted.
set -u
tool=$1
shift
cache=${LINT_CACHE-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/sandbox/lint}
flags=(-std=gnu17 -D_GNU_SOURCE -I. -include "$O/config.h" -DSANDBOX_VERSION='"lint"')
failed=0

case $tool in
tidy)
	version=$(clang-tidy --version; sha256sum .clang-tidy "$0")
	look() { clang-tidy --quiet "$1" -- "${flags[@]}" 2> >(grep -v 'warnings generated' >&2); }
	;;
analyzer)
	version=$(gcc --version; sha256sum "$0")
	# Its model of memory does not follow a structure found by a member of it (container_of),
	# so what it takes for a leak is none.
	look() {
		gcc "${flags[@]}" -O2 -fanalyzer -Werror -Wno-analyzer-malloc-leak -c "$1" \
			-o /dev/null
	}
	;;
*)
	echo "each.sh: no tool '$tool'" >&2
	exit 2
	;;
esac

# Names and contents. Both compilers read the same headers but for a few of their own.
digest() {
	local deps
	deps=$(gcc "${flags[@]}" -M -MT x "$1" 2>/dev/null) || return
	read -ra deps <<<"${deps//\\$'\n'/ }"
	{
		echo "$tool $version ${flags[*]}"
		sha256sum "${deps[@]:1}" "$O/config.h"
	} | sha256sum | cut -d' ' -f1
}

[ -z "$cache" ] || mkdir -p "$cache" 2>/dev/null || cache=
for file; do
	note=
	[ -z "$cache" ] || note=$(digest "$file")
	if [ -n "$note" ] && [ -e "$cache/$note" ]; then
		touch "$cache/$note"
		continue
	fi
	found=$(look "$file" 2>&1)
	rc=$?
	[ -z "$found" ] || printf '%s\n' "$found"
	if [ $rc != 0 ]; then
		failed=1
	elif [ -z "$found" ] && [ -n "$note" ]; then
		: >"$cache/$note"
	fi
done
exit $failed
