#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands that outlive the one who started them: detached ones, terminals that are left, and
who else sees them. All in one sandbox, restored from the template of the other tests.
"""
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import harness
from harness import (BOOT_S, ENV, RUN_S, SANDBOX, TOP, Failure, check, equal, good, inspect,
                     refused, sandbox, start, state, wait)

BOX = "jobs"
LEAVE = b"\x10\x11"


def detach(script, *flags):
    return good("exec", "-d", *flags, BOX, "--", "sh", "-c", script).strip()


def jobs(*flags):
    return {str(j["id"]): j for j in json.loads(good("exec", "ls", "--json", *flags, BOX))}


def kill(job):
    good("exec", "kill", BOX, job)
    equal(sandbox("exec", "wait", BOX, job).returncode, 137, "status of what was killed")


def events(kind):
    lines = [json.loads(l) for l in good("logs", BOX).splitlines()]
    return [l for l in lines if l["event"] == kind]


class Terminal:
    """The command with a terminal of its own."""

    def __init__(self, *args):
        self.fd, child = pty.openpty()
        self.seen = b""
        self.p = subprocess.Popen([SANDBOX, *args], env=ENV, cwd=TOP, stdin=child, stdout=child,
                                  stderr=child, start_new_session=True)
        os.close(child)

    def type(self, data):
        os.write(self.fd, data)

    def until(self, text, seconds=RUN_S):
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            check(left > 0, f"no {text!r} in {self.seen[-400:]!r}")
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError as e:
                    raise Failure(f"it ended; no {text!r} in {self.seen[-400:]!r}") from e
        self.seen = self.seen.split(text, 1)[1]

    def end(self):
        status = self.p.wait(timeout=RUN_S)
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:
                break
        os.close(self.fd)
        return status


# ---- detached --------------------------------------------------------------------------------

def test_00_run_detached_prints_the_name():
    equal(good("run", "-d", "--name", BOX, "--", "sh", "-c", "echo first; sleep 600",
               limit=BOOT_S), f"{BOX}\n", "stdout")
    equal(state(BOX), "running", "state")
    (job,) = jobs().values()
    equal((job["running"], job["detached"], job["attached"], job["tty"]),
          (True, True, False, False), "the command")
    check("echo first" in job["command"], job)
    good("exec", "kill", BOX, str(job["id"]))
    equal(sandbox("exec", "wait", BOX, str(job["id"])).returncode, 137, "killed")
    wait(lambda: [e for e in events("exit") if e["id"] == job["id"] and e["status"] == 137],
         "its end in the log")


def test_01_output_is_kept_and_followed_from_any_process():
    job = detach("echo one; echo two >&2; while [ ! -e /go ]; do sleep 0.2; done; echo three; "
                 "exit 6")
    p = start("exec", "attach", BOX)
    equal(p.stdout.readline(), b"one\n", "what it had written")
    refused("has another command attached to it", "exec", "attach", BOX, job, status=125)
    good("exec", BOX, "--", "touch", "/go")
    out, err = p.communicate(timeout=RUN_S)
    equal((p.returncode, out, err), (6, b"three\n", b"two\n"), "status, and the streams")
    r = sandbox("exec", "attach", BOX, job)
    equal((r.returncode, r.stdout, r.stderr), (6, b"one\nthree\n", b"two\n"), "afterwards")
    equal(sandbox("exec", "attach", "--new", BOX, job).stdout, b"", "what nobody has seen")
    equal(sandbox("exec", "wait", BOX, job).returncode, 6, "wait")
    d = json.loads(sandbox("exec", "wait", "--json", BOX, job).stdout)
    equal((d["exit_code"], d["timed_out"]), (6, False), "wait --json")
    equal(jobs().get(job), None, "in the list of what runs")
    equal(jobs("--all")[job]["exit_code"], 6, "in the list of all")
    (e,) = [e for e in events("exit") if e["id"] == int(job)]
    equal(e["status"], 6, "status in the log")


def test_02_signals_and_time_reach_it():
    job = detach("trap 'echo hup; exit 3' HUP; echo ready; while :; do sleep 0.2; done")
    p = start("exec", "attach", BOX, job)
    equal(p.stdout.readline(), b"ready\n", "it runs")
    good("exec", "signal", "-s", "HUP", BOX, job)
    out, _ = p.communicate(timeout=RUN_S)
    equal((p.returncode, out), (3, b"hup\n"), "the signal")
    refused("has ended", "exec", "signal", BOX, job)
    refused("no signal", "exec", "signal", "-s", "NOPE", BOX, job, status=2)
    refused("no execution 4711", "exec", "kill", BOX, "4711")
    refused("there is no execution 4711", "exec", "wait", BOX, "4711", status=125)
    job = detach("echo part; sleep 99", "--timeout", "10s")
    r = sandbox("exec", "wait", BOX, job)
    equal(r.returncode, 124, "--timeout")
    equal(sandbox("exec", "attach", BOX, job).stdout, b"part\n", "partial output")
    job = detach("sleep 99")
    r = sandbox("exec", "wait", "--timeout", "1s", BOX, job)
    equal(r.returncode, 124, "--timeout of the wait")
    check(job in jobs(), "a wait that is over ended the command")
    kill(job)


def test_03_who_follows_goes_and_it_runs_on():
    job = detach("i=0; while :; do echo $((i += 1)); sleep 0.2; done")
    p = start("exec", "attach", BOX, job)
    equal(p.stdout.readline(), b"1\n", "it runs")
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=RUN_S)
    equal(p.returncode, 130, "the status of who followed")
    check(f"{job} runs on".encode() in err, err)
    p = start("exec", "attach", BOX, job)
    p.stdout.readline()
    p.kill()
    p.communicate()
    p = subprocess.run(f"'{SANDBOX}' exec attach {BOX} {job} | head -n 1", shell=True, env=ENV,
                       capture_output=True, timeout=RUN_S, check=False)
    equal(p.stdout, b"1\n", "through a pipe that closes")
    check(jobs()[job]["running"], "it ended")
    kill(job)


def test_04_much_output_is_bounded():
    job = detach("seq 100000; exit 2")
    equal(sandbox("exec", "wait", BOX, job).returncode, 2, "status")
    r = sandbox("exec", "attach", BOX, job)
    check(r.stdout.endswith(b"\n99999\n100000\n"), r.stdout[-40:])
    equal((len(r.stdout), r.returncode), (262144, 2), "bytes that are kept, and status")
    check(b"the first 326751 bytes of its output are not kept" in r.stderr, r.stderr)
    job = detach("seq 1000; seq 1000 >&2", "--max-output", "4")
    r = sandbox("exec", "wait", "--json", BOX, job)
    d = json.loads(r.stdout)
    equal((d["truncated"], d["stdout_truncated"], d["stderr_truncated"]), (True,) * 3, "wait")
    r = sandbox("exec", "attach", BOX, job)
    equal(r.stdout, b"1\n2\n", "the head of stdout")


def test_05_flags_that_make_no_sense_are_refused():
    refused("no detached command runs", "exec", "attach", BOX, status=125)
    r = sandbox("exec", "-d", "--json-status-fd", "2", BOX, "--", "true")
    equal(r.returncode, 125, "status")
    check(b"not known yet" in r.stderr, r.stderr)
    refused("cannot be the name", "create", "wait", status=2)
    refused("is missing", "exec", "kill", BOX, status=2)
    refused("one word too many", "exec", "wait", BOX, "1", "2", status=125)
    equal(sandbox("exec", "-d", BOX, "--", "no-such").returncode, 127, "not found")
    d = json.loads(good("exec", "-d", "--json", BOX, "--", "true"))
    equal((d["sandbox"], sorted(d)), (BOX, ["id", "pid", "sandbox"]), "--json")


# ---- terminals -------------------------------------------------------------------------------

def test_06_a_shell_is_left_and_gone_back_to():
    t = Terminal("shell", BOX)
    t.type(b"X=kept; cd /tmp; echo re''ady\n")
    t.until(b"ready")
    t.type(b"\x10" + LEAVE)             # one that is not the beginning, and then the keys
    t.until(b"runs on; ")
    equal(t.end(), 0, "status")
    (job,) = [j for j in jobs() if jobs()[j]["tty"]]
    t = Terminal("exec", "attach", BOX, job)
    t.type(b"echo $X-$PWD\n")
    t.until(b"kept-/tmp")
    other = Terminal("exec", "attach", "--take", BOX, job)
    equal(t.end(), 0, "status of the one it was taken from")
    check(b"runs on" in t.seen, t.seen)
    other.type(b"exit 7\n")
    equal(other.end(), 7, "status of the shell")
    equal([e["id"] for e in events("exec-left")][-2:], [int(job)] * 2, "in the log")
    wait(lambda: [e for e in events("exit") if e["id"] == int(job)], "its end in the log")


def test_07_other_keys_and_none():
    t = Terminal("exec", "-t", "--detach-keys", "ctrl-a,d", BOX, "--", "sh", "-c", "echo x; cat")
    t.until(b"x")
    t.type(b"a\x01d")
    t.until(b"runs on")
    equal(t.end(), 0, "status")
    (job,) = [j for j in jobs() if jobs()[j]["tty"]]
    kill(job)
    t = Terminal("exec", "-t", "--detach-keys", "", BOX, "--", "sh", "-c", "echo x; cat")
    t.until(b"x")
    t.type(LEAVE + b"yes\n")
    t.until(b"yes")
    t.type(b"\x04")
    equal(t.end(), 0, "status")
    refused("is not keys", "exec", "--detach-keys", "alt-x", BOX, "--", "true", status=125)


def test_08_a_terminal_that_is_lost_ends_its_command():
    t = Terminal("exec", "-t", BOX, "--", "sh", "-c", "echo x; sleep 777")
    t.until(b"x")
    t.p.kill()
    t.end()
    wait(lambda: not [j for j in jobs().values() if "777" in j["command"]], "it runs on")


def test_08a_tmux_is_asked_for_and_may_be_missing():
    t = Terminal("shell", "--tmux", BOX)
    t.until(f"there is no tmux in sandbox '{BOX}'".encode())
    equal(t.end(), 125, "status without tmux")
    good("exec", BOX, "--", "sh", "-c", "mkdir -p /usr/local/bin; cd /usr/local/bin; printf "
         "'#!/bin/sh\\necho \"$*\" >>/tmux; echo \"tmux $*\"; [ $1 != has-session ]\\n' >tmux; "
         "chmod +x tmux")
    t = Terminal("shell", "--tmux", BOX)
    t.until(b"tmux attach-session -t =sandbox")
    equal(t.end(), 0, "status")
    equal(good("exec", BOX, "--", "cat", "/tmux").splitlines(),
          ["has-session -t =sandbox", "new-session -d -s sandbox",
           "attach-session -t =sandbox"], "what tmux was asked")


# ---- recordings and the log ------------------------------------------------------------------


def test_08b_what_is_shown_is_recorded():
    t = Terminal("exec", "-t", "--record", BOX, "--", "sh", "-c", "echo on; printf '\\033[1m\\377'")
    t.until(b"on")
    equal(t.end(), 0, "status")
    (r,) = json.loads(good("record", "ls", "--json", BOX))
    equal(r["sandbox"], BOX, "whose it is")
    r2 = sandbox("record", "play", "--speed", "0", r["name"])
    equal(r2.stdout, "on\r\n\033[1m\ufffd".encode(), "played")
    path = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes", BOX, "recordings",
                        r["name"].split("/")[1] + ".cast")
    equal(os.stat(path).st_mode & 0o7777, 0o600, "mode")
    with open(path, encoding="utf-8") as f:
        lines = [json.loads(l) for l in f]
    equal((lines[0]["version"], lines[0]["title"], lines[0]["argv"][0]), (2, BOX, "sh"), "header")
    equal(lines[-1][1:], ["m", "exit 0"], "the last line")
    check([e for e in events("exec") if e["recording"] == r["name"].split("/")[1]], "in the log")
    refused("say --yes", "record", "prune", "--days", "0", status=2)
    check(good("record", "prune", "--days", "0", "--dry-run").startswith("would remove 1 "),
          "--dry-run")
    check(good("record", "prune", "--days", "1", "--yes", BOX).startswith("0 "), "of today")
    check(good("record", "prune", "--days", "0", "--yes", BOX).startswith("1 "), "all")
    equal(json.loads(good("record", "ls", "--json")), [], "afterwards")
    refused("there is no recording", "record", "play", f"{BOX}/x")
    refused("none of ls, play, prune", "record", "paly", status=2)
    refused("with -d it shows nothing", "exec", "-d", "--record", BOX, "--", "true", status=125)


def test_08c_the_log_is_followed_into_its_next_file():
    log = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes", BOX, "events")
    p = start("logs", "-f", "-n", "0", BOX)
    with open(log, "a", encoding="utf-8") as f:
        def follows():
            f.write(json.dumps({"time": "x", "event": "early", "text": "x"}) + "\n")
            f.flush()
            return select.select([p.stdout], [], [], 0.2)[0]
        wait(follows, "it does not follow")
        for _ in range(2200):
            f.write(json.dumps({"time": "x", "event": "padding", "text": "x" * 2000}) + "\n")
    good("exec", BOX, "--", "true")
    good("exec", BOX, "--", "sh", "-c", ": after")
    seen = []
    while not [l for l in seen if ": after" in l]:
        seen.append(p.stdout.readline().decode())
        check(seen[-1], "the log ended")
    p.kill()
    p.communicate()
    check(os.path.getsize(log) < 1 << 20, "it is still one file")
    equal(len([l for l in seen if "padding" in l]), 2200, "lines of the older file")
    check(len(good("logs", "-n", "50", BOX).splitlines()) == 50, "the last lines of both files")


# ---- the sandbox that they keep busy ---------------------------------------------------------

def test_09_background_work_holds_off_the_idle_timeout():
    good("create", "busy", "--idle-timeout", "5s")
    good("start", "busy")
    begin = time.monotonic()
    good("exec", "busy", "--", "sh", "-c", "sleep 10 >/dev/null 2>&1 &")
    wait(lambda: state("busy") == "stopped", "it never stops", RUN_S)
    took = time.monotonic() - begin
    check(took > 9, f"it stopped after {took:.1f} s, with a process in the background")
    check("--idle-timeout" in inspect("busy")["reason"], inspect("busy")["reason"])
    good("rm", "--yes", "busy")


def test_10_run_detached_and_remove():
    equal(good("run", "-d", "--rm", "--name", "brief", "--", "sleep", "2"), "brief\n", "stdout")
    wait(lambda: state("brief") is None, "it is not removed", RUN_S)


def test_99_nothing_is_left():
    good("rm", "-f", BOX)
    equal(json.loads(good("ls", "--json")), [], "sandboxes")


if __name__ == "__main__":
    sys.exit(harness.main("jobs", globals(), always=("test_00_run_detached_prints_the_name",)))
