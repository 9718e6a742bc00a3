#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [STEP...] - run the steps of `make test`, or only those named, and count.
#
# A step is a command with a time limit; its output goes to a log in O/logs, which is shown
# in part when it fails. Tests are counted in one of three ways:
#
#   one        the command is one test; its status says how it went
#   lines      each line that starts with `ok `, `not ok ` or `skip ` is a test
#   criterion  the totals at the end of a Criterion program, or of tests/unit/plain.c
#
# A step that fails without a failed test counts as one, as does one that tests nothing.
#
# `skip NAME: not here: WHY` is of a test that needs what this host lacks: a loop device, root.
# These are shown with their step, and counted in a line of their own at the end. Other tests may
# not be skipped where there is a KVM. The last line is `N passed, N failed`, with `, N skipped`
# only where there is no KVM.
#
# TEST_LONG=1 (`make test-long`) is in the environment of every test, which may then do more
# than fits into half an hour; limits are six times as long.
set -u
cd "$(dirname "$0")/.." || exit
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
[ -n "${HOME:-}" ] || HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
export HOME="${HOME:-/nonexistent}"
O=${O:-build}
MAKE="${MAKE:-make} --no-print-directory"
SAN_SETTINGS=(UBSAN_OPTIONS=print_stacktrace=1
	"TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/tests/tsan.supp")
# Of the Linux guests only one machine, and what sends bytes through all of the monitor.
SAN_GUESTS=("linux: streams" "linux: big" "linux: both" "linux: many" "linux: slow" "linux: terminal"
	"linux: handshake" "linux: agent" "linux: powers")
jobs=-j$(nproc)
logs=$O/logs
passed=0 failed=0 skipped=0 absent=0 failures=() fuzzing=
mkdir -p "$logs"
# No test depends on what whoever runs it has set, or keeps. (The cache has the guest's kernel.)
unset SANDBOX_CONFIG SANDBOX_FSD SANDBOX_SSH_CONFIG SANDBOX_VMM SUDO_USER DOAS_USER
home=$(readlink -f "$O")/test-home
export LC_ALL=C.UTF-8 XDG_CONFIG_HOME=$home/config XDG_DATA_HOME=$home/data XDG_STATE_HOME=$home/state
rm -f "$O/tests/jail/calls"

# ---- counting ------------------------------------------------------------------------------
kvm() { : <>/dev/kvm; } 2>/dev/null

# Prints "passed failed skipped absent" of a log.
count_lines() {
	awk '/^ok /{p++} /^not ok /{f++} /^skip /{ if (/: not here: /) a++; else s++ }
		END { print p + 0, f + 0, s + 0, a + 0 }' "$1"
}

count_criterion() {
	awk '/Synthesis: Tested:/ {
			for (i = 1; i < NF; i++) {
				if ($i == "Tested:") t += $(i + 1)
				if ($i == "Passing:") p += $(i + 1)
			}
		}
		/^tested [0-9]+, failing [0-9]+/ { t += $2; p += $2 - $4 }
		/^skip .*: not here: / { a++ }
		END { print p + 0, t - p, 0, a + 0 }' "$1"
}

# step NAME SECONDS one|lines|criterion COMMAND...
step() {
	local name=$1 limit=$2 how=$3 begin=$SECONDS log rc p f s a
	shift 3
	log=$logs/${name//[^a-z0-9]/-}.log
	printf '%-28s' "$name"
	limit=$((limit * (${TEST_LONG:-0} ? 6 : 1)))
	timeout -k 15 "$limit" "$@" >"$log" 2>&1 </dev/null
	rc=$?
	case $how in
	one) if [ $rc = 0 ]; then p=1 f=0; else p=0 f=1; fi; s=0 a=0 ;;
	*) read -r p f s a < <("count_$how" "$log") ;;
	esac
	if [ $((p + f + s + a)) = 0 ] || { [ $rc != 0 ] && [ "$f" = 0 ]; }; then
		f=$((f + 1))
	fi
	if [ "$s" != 0 ] && kvm; then
		f=$((f + s)) s=0
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) absent=$((absent + a))
	printf '%5d passed, %d failed%s%s  %4d s\n' "$p" "$f" \
		"$([ "$s" = 0 ] || echo ", $s SKIPPED: no usable /dev/kvm")" \
		"$([ "$a" = 0 ] || echo ", $a NOT HERE")" $((SECONDS - begin))
	[ "$a" = 0 ] || grep -aE '^skip .*: not here: ' "$log" | cut -c1-400 | sed 's/^/    /'
	[ "$f" = 0 ] && return
	failures+=("$name: $log")
	[ $rc != 124 ] || echo "    it was stopped after $limit s"
	grep -aE '^(not ok|skip) |^\[(FAIL|ERROR)|^FAIL ' "$log" | grep -av ': not here: ' | cut -c1-400 | sed 's/^/    /'
	echo "    ---- end of $log"
	tail -n "${TAIL:-40}" "$log" | cut -c1-400 | sed 's/^/    /'
}

# ---- the steps -----------------------------------------------------------------------------
# shellcheck disable=SC2086 # MAKE holds options
{
build() {
	step "build" 600 one $MAKE $jobs all
	step "guest kernel" 2400 one $MAKE guest
}

lint() { step "lint" 1800 lines $MAKE lint; }

unit() {
	step "unit tests: build" 600 one $MAKE $jobs "$O/unit"
	step "unit tests" 900 criterion "$O/unit"
	step "proofs" 600 lines $MAKE prove
}

clang() {
	step "clang: build" 600 one $MAKE $jobs CC=clang O=build-clang all build-clang/unit
	step "clang: unit tests" 900 criterion build-clang/unit
}

arm64() { step "arm64: build" 300 one $MAKE $jobs arm64; }

sanitized() {
	local san=$1 out=build-${1//,/-}

	step "$san: build" 900 one $MAKE $jobs "SAN=$san" "O=$out" all "$out/unit" "$out/unit-kvm"
	step "$san: unit tests" 900 criterion env "${SAN_SETTINGS[@]}" "$out/unit"
	if kvm; then
		step "$san: guests: build" 600 one $MAKE $jobs "O=$O" all guest vm-test-build
		step "$san: unit tests on KVM" 900 criterion env "${SAN_SETTINGS[@]}" \
			"$out/unit-kvm"
		step "$san: guests" 900 lines env "${SAN_SETTINGS[@]}" tests/vm/run.py \
			--vmm "$out/sandbox-vmm" "bare:" "hostile: random" "hostile: reset" \
			"hostile: connection" "hostile: shares random" "hostile: shares stalled" \
			"${SAN_GUESTS[@]}"
	fi
}

asan() { sanitized address,undefined; }
tsan() { sanitized thread; }

# They run beside the steps that follow, with the time that those leave: a minute each is a
# quarter of an hour. `fuzzed` waits for them.
fuzz() {
	local fuzzers
	mapfile -t fuzzers < <(basename -a -s .c tests/fuzz/fuzz_*.c)
	step "fuzzers: build" 900 one $MAKE $jobs fuzz-build
	setsid tests/fuzz/aside.sh "$logs/fuzz" build-fuzz "${FUZZ_SECONDS:-60}" "${fuzzers[@]}" &
	fuzzing=$!
	trap 'kill -- -$fuzzing 2>/dev/null' EXIT
}
fuzzed() {
	[ -n "$fuzzing" ] || return
	step "fuzzers" 1800 lines sh -c "tail --pid=$fuzzing -f /dev/null; cat '$logs/fuzz' &&
		exit \$(cat '$logs/fuzz.status')"
	fuzzing=
}

# Guests and commands are tested with a monitor that writes down its system calls.
vm() {
	step "guests: build" 600 one $MAKE $jobs all vm-test-build jail-test-build
	if kvm; then
		step "unit tests on KVM" 900 criterion "$O/unit-kvm"
	fi
	step "guests" 1500 lines env "O=$O" tests/vm/run.py --vmm "$O/tests/jail/record"
}

install() { step "install" 600 lines tests/install.sh "$O"; }

# Every executable test of a folder.
scripts() {
	local t
	for t in tests/"$1"/test_*; do
		if [ -d "$t" ] || [ ! -x "$t" ]; then continue; fi
		step "$1: ${t#tests/"$1"/test_}" 1200 lines env "O=$O" "SANDBOX=$O/sandbox" "$t"
	done
}

jail() {
	step "jail: build" 600 one $MAKE $jobs all jail-test-build vm-test-build
	scripts jail
}
fs() {
	step "fs: build" 600 one $MAKE $jobs all "$O/tests/fs/posix" jail-test-build
	FSD=$(readlink -f "$O")/tests/jail/record-fsd scripts fs
}
e2e() {
	step "e2e: build" 600 one $MAKE $jobs all guest jail-test-build vm-test-build "$O/tests/fs/posix"
	SANDBOX_VMM=$(readlink -f "$O")/tests/jail/record \
		SANDBOX_FSD=$(readlink -f "$O")/tests/jail/record-fsd scripts e2e
}

# After the others: was all made that is allowed?
calls() {
	if kvm; then
		step "system calls" 300 lines env "O=$O" "ABSENT=$absent" tests/jail/calls.py
	fi
}
}

# ---- run -----------------------------------------------------------------------------------
export O
steps=("$@")
[ $# != 0 ] || steps=(build lint unit clang arm64 asan tsan fuzz install fs jail vm e2e calls)
steps+=(fuzzed)
for s in "${steps[@]}"; do
	case $s in
	build|lint|unit|clang|arm64|asan|tsan|fuzz|install|fs|jail|vm|e2e|calls|fuzzed) "$s" ;;
	*) echo "run.sh: no step '$s'" >&2; exit 2 ;;
	esac
done
if [ ${#failures[@]} != 0 ]; then
	echo "Failed:"
	printf '    %s\n' "${failures[@]}"
fi
if [ "$absent" != 0 ]; then
	echo "$absent not run: this host lacks what they need (see \"not here\" above)"
fi
if [ "$skipped" != 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
