#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`sandbox run` on real machines, by a template and by a cold boot.

One template is made at the start, in a cache folder of this test's own; a case then costs a
restore and a command.
"""
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import harness
from harness import BOOT_S, ENV, OWN, RUN_S, Failure, alive, check, equal, runtime, sandbox, wait

TEMPLATES = f"{OWN}/cache/sandbox/templates"


def start(*args):
    return harness.start("run", *args)


def run(*args, **more):
    return sandbox("run", *args, **more)


def templates():
    return [name for name in os.listdir(TEMPLATES) if len(name) == 16]


def described(*args, limit=RUN_S):
    r = run("--json", *args, limit=limit)
    try:
        return json.loads(r.stdout)
    except ValueError as e:
        raise Failure(f"--json gave {r.stdout!r}, {r.stderr!r}") from e


def test_0_two_first_runs_make_one_template():
    both = [start("--", "echo", "here") for _ in range(2)]
    for p in both:
        out, err = p.communicate(timeout=BOOT_S)
        equal((p.returncode, out, err), (0, b"here\n", b""), "a first run")
    equal(len(templates()), 1, "templates")


def test_a_run_restores_and_says_so():
    d = described("--", "true")
    equal(d["exit_code"], 0, "exit code")
    equal(d["boot_ms"], None, "boot_ms")
    if not d["restore_ms"] > 0:
        raise Failure(f"restore_ms is {d['restore_ms']!r}")


first = {}      # a clone's uptime, and when that was


def uptime():
    return float(described("--", "cat", "/proc/uptime")["stdout"].split()[0])


def test_a_clone_has_an_uptime():
    first.update(up=uptime(), at=time.monotonic())


def test_streams_and_status_are_the_commands():
    r = run("--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=b"\x00\xff in\r\n")
    equal((r.returncode, r.stdout, r.stderr), (7, b"\x00\xff in\r\n", b"err\n"), "fidelity")


def test_two_megabytes_go_through_unchanged():
    data = os.urandom(2 << 20)
    r = run("--", "cat", stdin=data, limit=BOOT_S)
    equal((r.returncode, r.stderr), (0, b""), "cat")
    equal(hashlib.sha256(r.stdout).hexdigest(), hashlib.sha256(data).hexdigest(), "sha256")


def test_exit_statuses():
    for want, argv in ((0, ["true"]), (1, ["false"]), (127, ["no-such-command"]),
                       (126, ["/etc/passwd"]), (143, ["sh", "-c", "kill -TERM $$"]),
                       (137, ["sh", "-c", "kill -KILL $$"])):
        equal(run("--", *argv).returncode, want, f"status of {argv}")


def test_timeout_keeps_the_partial_output():
    r = run("--timeout", "10s", "--", "sh", "-c", "echo partial; sleep 300")
    equal((r.returncode, r.stdout), (124, b"partial\n"), "timeout")


def test_clones_share_no_randomness_identity_or_time():
    """threat-model.md 17."""
    before = time.time()
    ps = [start("--", "sh", "-c", "cat /proc/sys/kernel/random/uuid /etc/machine-id; "
                "mktemp -u; head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo; date +%s")
          for _ in range(6)]
    seen = []
    for p in ps:
        out, err = p.communicate(timeout=BOOT_S)
        words = out.decode().split()
        equal((p.returncode, err, len(words)), (0, b"", 5), f"a clone, which said {words}")
        seen += words[:4]
        if not before - 60 < int(words[4]) < time.time() + 60:
            raise Failure(f"a clone's clock says {words[4]}")
    equal(len(set(seen)), len(seen), "different words")


def test_a_clones_clock_is_right():
    before = time.time()
    r = run("--", "date", "+%s")
    if not before - 2 <= int(r.stdout) <= time.time() + 2:
        raise Failure(f"the clock says {r.stdout!r}, here it is {before}")


def test_a_killed_run_leaves_nothing():
    p = start("--", "sh", "-c", "echo up; sleep 300")
    equal(p.stdout.readline(), b"up\n", "the guest")
    kids = subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, check=False)
    equal(len(kids.stdout.split()), 1, "monitors while it runs")
    p.send_signal(signal.SIGKILL)
    p.communicate(timeout=60)
    wait(lambda: not alive(int(kids.stdout)), "the monitor outlives its command")
    equal(runtime(), [], "left in the runtime folder")


def test_sigterm_reaches_the_command():
    p = start("--", "sh", "-c", "trap 'echo got it; exit 9' TERM; echo ready; "
              "while :; do sleep 0.2; done")
    line = p.stdout.readline()
    p.send_signal(signal.SIGTERM)
    out, _ = p.communicate(timeout=RUN_S)
    equal((line, out, p.returncode), (b"ready\n", b"got it\n", 9), "SIGTERM")


def test_what_is_not_there_is_refused():
    r = run("-p", "80:80", "--", "true")
    equal((r.returncode, r.stdout), (125, b""), "-p")
    if b"not in this version" not in r.stderr:
        raise Failure(f"the refusal says {r.stderr!r}")


def test_a_clone_goes_on_where_its_template_was():
    """Not where the host's clock is by now: a template may be days old, and each timer in the
    guest would be due at once. Other tests have run since the first clone looked."""
    begin = time.monotonic()
    up = uptime()
    took = time.monotonic() - begin
    passed = time.monotonic() - first["at"]
    check(passed > took + 5, "too early to tell")
    check(up - first["up"] < took + 2, f"{passed:.0f} s passed here, {up - first['up']:.0f} "
          f"in the guest, whose command took {took:.0f}")


def test_y_a_damaged_template_is_made_anew():
    """threat-model.md 9: what a state file says is checked before it is believed. The damaged one is
    thrown away, and whoever waits for the lock of the next one's maker takes what that made. The
    maker is this test, with a copy from before the damage: a boot is half a minute."""
    name, = templates()
    path, copy = os.path.join(TEMPLATES, name), os.path.join(TEMPLATES, "copy")
    shutil.copytree(path, copy)     # with the times of its files, and the key
    with open(os.path.join(path, "state"), "r+b") as f:
        f.seek(100)
        byte = f.read(1)
        f.seek(100)
        f.write(bytes([byte[0] ^ 1]))
    with open(f"{path}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        p = start("--", "echo", "again")
        wait(lambda: not os.path.exists(path), "the damaged template stays", RUN_S)
        os.rename(copy, path)
    out, err = p.communicate(timeout=RUN_S)
    equal((p.returncode, out), (0, b"again\n"), f"a run after the damage, which said {err!r}")
    equal(len(templates()), 1, "templates")


def test_z_a_cold_boot_with_two_cpus():
    d = described("--cold", "--cpus", "2", "--", "sh", "-c",
                  "nproc; taskset 1 echo a; taskset 2 echo b", limit=BOOT_S)
    equal((d["exit_code"], d["stdout"]), (0, "2\na\nb\n"), "two CPUs")
    equal(d["restore_ms"], None, "restore_ms")


if __name__ == "__main__":
    ENV["XDG_CACHE_HOME"] = f"{OWN}/cache"
    sys.exit(harness.main("machine", globals()))
