#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh FOLDER SECONDS FUZZER... - run each fuzzer of FOLDER: its corpus once, then
# new inputs for SECONDS. Findings and a grown corpus stay in FOLDER. Prints
# `ok NAME` or `not ok NAME` for each; the status says whether all were clean. SEED chooses the
# inputs, others each time if it is 0 or not set. An input may take minutes where it has to wait for
# a processor.
set -u
cd "$(dirname "$0")/../.." || exit
out=$1 seconds=$2
shift 2
failed=0

export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
for name in "$@"; do
	what=${name#fuzz_}
	grown=$out/corpus/$what
	seeds=(tests/fuzz/corpus/"$what"/*)
	log=$out/$name.log
	mkdir -p "$grown" "$out/crash"
	if [ ! -e "${seeds[0]}" ]; then
		echo "not ok fuzz $what: no corpus in tests/fuzz/corpus/$what"
		failed=1
		continue
	fi
	if "$out/$name" "${seeds[@]}" >"$log" 2>&1 &&
	   "$out/$name" -max_total_time="$seconds" -seed="${SEED:-0}" -timeout=300 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="$out/crash/$name-" "$grown" \
		"tests/fuzz/corpus/$what" >>"$log" 2>&1; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		echo "ok fuzz $what: ${#seeds[@]} inputs of the corpus, $runs new ones"
	else
		tail -n 40 "$log"
		echo "not ok fuzz $what: see $log and $out/crash"
		failed=1
	fi
done
exit "$failed"
