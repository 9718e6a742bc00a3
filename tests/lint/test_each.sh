#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test_each.sh - each.sh reads what changed, and only that. The analyzer is a stand-in that
# finds fault with whatever it is given, once there is a note that the file is clean.
set -u
cd "$(dirname "$0")/../.." || exit
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LINT_CACHE=$dir/cache O=${O:-build}
failed=0

expect() {
	local name=$1 want=$2 rc=0
	tests/lint/each.sh analyzer "$dir/a.c" >"$dir/out" 2>&1 || rc=1
	if [ "$rc" = "$want" ]; then
		echo "ok lint: $name"
	else
		echo "not ok lint: $name: status $rc; $(tail -n 1 "$dir/out")"
		failed=1
	fi
}

real=$(command -v gcc)
echo 'static inline int h(void) { return 1; }' >"$dir/a.h"
printf '#include "%s/a.h"\nint a(void);\nint a(void) { return h(); }\n' "$dir" >"$dir/a.c"
expect "a clean file" 0
mkdir "$dir/bin"
cat >"$dir/bin/gcc" <<END
#!/bin/sh
case " \$* " in *" -fanalyzer "*) echo found; exit 1 ;; esac
exec "$real" "\$@"
END
chmod +x "$dir/bin/gcc"
PATH=$dir/bin:$PATH
expect "the same file is not read again" 0
echo '/* more */' >>"$dir/a.h"
expect "a header that changed is" 1
expect "a finding is not noted" 1
sed -i '$d' "$dir/a.h"
expect "what was clean once is clean again" 0
LINT_CACHE='' expect "without notes" 1
exit "$failed"
