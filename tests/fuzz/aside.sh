#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# aside.sh LOG FOLDER SECONDS FUZZER... - run.sh with what time the machine has left: the log goes
# to LOG and the status to LOG.status. In a session of its own, whose weight it lowers, as
# niceness counts only within one where the kernel groups processes by session. The inputs are the
# same each time, unless SEED or TEST_LONG asks for others.
set -u
log=$1
shift
rm -f "$log.status"
{ echo 19 >/proc/self/autogroup; } 2>/dev/null
[ "${TEST_LONG:-0}" != 0 ] || export SEED="${SEED:-1}"
nice -n 19 "$(dirname "$0")/run.sh" "$@" >"$log" 2>&1 </dev/null
echo $? >"$log.status"
