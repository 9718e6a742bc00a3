#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh - everything that reads the tree without running it. O is the build folder,
# for its config.h. Prints `ok NAME` or `not ok NAME`, with what was found above it.
#
# shellcheck disable=SC2317 # functions are called through lint()
set -u
cd "$(dirname "$0")/../.." || exit
flags=(-std=gnu17 -D_GNU_SOURCE -I. -include "$O/config.h" -DSANDBOX_VERSION='"lint"')
mapfile -t sources < <(ls {vmm,devices,devices/fs,firmware,agent,agent/client,cli,cli/*}/*.c 2>/dev/null)
mapfile -t scripts < <(grep -lE '^#!/bin/(ba)?sh' .ci/run ./*/*.sh ./*/*/*.sh bench/* 2>/dev/null)
failed=0

lint() {
	local name=$1
	shift
	if "$@"; then
		echo "ok lint: $name"
	else
		echo "not ok lint: $name"
		failed=1
	fi
}

# Its model of memory does not follow a structure found by a member of it (container_of),
# so what it takes for a leak is none.
analyze() {
	printf '%s\n' "${sources[@]}" |
		xargs -P "$(nproc)" -I{} gcc "${flags[@]}" -O2 -fanalyzer -Werror \
			-Wno-analyzer-malloc-leak -c {} -o /dev/null
}

clang_tidy() {
	printf '%s\0' "${sources[@]}" | xargs -0 -P "$(nproc)" -I{} \
		clang-tidy --quiet {} -- "${flags[@]}" 2> >(grep -v 'warnings generated' >&2)
}

# What each kind of thread may ask of the kernel, and what it is to stay below.
budgets="loop 25 vcpu 8"
jail_calls() {
	make --no-print-directory -s "O=$O" "$O/gen/jail_rules.h" &&
	awk -v budgets="$budgets" '
		$3 == "call" || $3 == "rare" { n[$1]++ }
		END {
			k = split(budgets, b, " ")
			for (i = 1; i < k; i += 2) max[b[i]] = b[i + 1]
			for (c in n) {
				print "system calls of the class " c ": " n[c] \
					(c in max ? ", at most " max[c] : "")
				over += c in max && n[c] > max[c]
			}
			exit over > 0 || !("loop" in n) || !("vcpu" in n)
		}' "$O/gen/calls.txt"
}

lint "system calls of the jail" jail_calls
lint "rules of the tree" tests/lint/check.py
tests/lint/test_check.py || failed=1
lint "shellcheck" shellcheck -x -S warning -e SC2174 "${scripts[@]}"
lint "clang-tidy" clang_tidy
lint "gcc -fanalyzer" analyze
exit "$failed"
