#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh - everything that reads the tree without running it. O is the build folder,
# for its config.h. Prints `ok NAME` or `not ok NAME`, with what was found above it.
#
# shellcheck disable=SC2317 # functions are called through lint()
set -u
cd "$(dirname "$0")/../.." || exit
export O
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

# A few files at a time, for both processors to end at about the same time.
each() {
	printf '%s\0' "${sources[@]}" | xargs -0 -n 4 -P "$(nproc)" tests/lint/each.sh "$1"
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
lint "tests that the threat model names" tests/lint/named.py
tests/lint/test_check.py || failed=1
tests/lint/test_each.sh || failed=1
lint "shellcheck" shellcheck -x -S warning -e SC2174 "${scripts[@]}"
lint "clang-tidy" each tidy
lint "gcc -fanalyzer" each analyzer
# What nobody asked for in a month.
find "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/sandbox/lint" -type f -mtime +30 -delete 2>/dev/null
exit "$failed"
