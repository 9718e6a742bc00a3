#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `sandbox` command from end to end, with the real agent but without a machine: fake_vmm.py
stands in for the monitor, so each case takes a second and not a boot. What the guest adds is
tested on real machines elsewhere; here it is the command's own promises.

Each function test_* is a test; its name is what is printed. An argument is a part of the names
to run.
"""
import base64
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(TOP, os.environ.get("O", "build"))
SANDBOX = os.path.abspath(os.environ.get("SANDBOX", os.path.join(OUT, "sandbox")))
SECONDS = 60
RUN = [SANDBOX, "run", "--cold"]


class Failure(AssertionError):
    """What a test found."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def equal(got, want, what):
    check(got == want, f"{what}: got {got!r}, not {want!r}")


class Place:
    """Folders and environment of one test; at its end nothing may be left in them."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="cli-")
        self.runtime = os.path.join(self.top, "rt")
        os.mkdir(self.runtime, 0o700)
        self.file = os.path.join(self.top, "kernel")
        with open(self.file, "w") as f:
            f.write("not looked at")
        self.pid_file = os.path.join(self.top, "pid")
        self.env = dict(os.environ, SANDBOX_VMM=os.path.join(HERE, "fake_vmm.py"),
                        XDG_RUNTIME_DIR=self.runtime, FAKE_PID=self.pid_file,
                        XDG_CACHE_HOME=os.path.join(self.top, "cache"),
                        XDG_STATE_HOME=os.path.join(self.top, "state"))
        self.env.pop("FAKE_MODE", None)
        self.children = []
        self.guest = ["--kernel", self.file, "--initrd", self.file]

    def argv(self, args):
        return RUN + self.guest + list(args)

    def run(self, *args, stdin=b"", **env):
        return subprocess.run(self.argv(args), input=stdin, capture_output=True, timeout=SECONDS,
                              env={**self.env, **env})

    def start(self, *args, env=None, **kw):
        kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
              **kw}
        child = subprocess.Popen(self.argv(args), env={**self.env, **(env or {})}, **kw)
        self.children.append(child)
        return child

    def left(self):
        """Sockets and folders of sandboxes that are still there."""
        top = os.path.join(self.runtime, "sandbox")
        return sorted(os.listdir(top)) if os.path.isdir(top) else []

    def monitor(self):
        wait(lambda: os.path.exists(self.pid_file) and os.path.getsize(self.pid_file),
             "the monitor did not start")
        with open(self.pid_file) as f:
            return int(f.read())

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(self.top)


def wait(condition, text, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < until, text)
        time.sleep(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def running(word):
    """Processes with that word in their command line: commands of the guest carry a mark."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0") and alive(pid):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def until_line(stream, want):
    line = b""
    while not line.endswith(b"\n"):
        check(select.select([stream], [], [], 30)[0], f"{want!r} did not come: {line!r}")
        byte = os.read(stream.fileno(), 1)
        check(byte, f"{want!r} did not come: {line!r}")
        line += byte
    equal(line, want, "the command's line")


def refused(r, sentence, status=125):
    """One sentence on stderr, nothing on stdout, the status."""
    equal((r.returncode, r.stdout), (status, b""), f"status and stdout ({r.stderr!r})")
    lines = r.stderr.decode().splitlines()
    equal(len(lines), 1, f"lines of {lines}")
    check(lines[0].startswith("sandbox: ") and sentence in lines[0],
          f"{lines[0]!r} does not say {sentence!r}")


# ---- streams and status --------------------------------------------------------------------


def test_bytes_pass_unchanged_and_apart(p):
    data = os.urandom(2 << 20)
    r = p.run("--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=data)
    check(r.stdout == data, f"stdout differs: {len(r.stdout)} bytes")
    equal((r.returncode, r.stderr), (7, b"err\n"), "status and stderr")
    equal(p.left(), [], "left in the runtime folder")


def test_exit_statuses(p):
    for want, script in ((0, "true"), (7, "exit 7"), (255, "exit 255"), (143, "kill -TERM $$"),
                         (137, "kill -KILL $$")):
        r = p.run("--", "sh", "-c", script)
        equal((r.returncode, r.stdout, r.stderr), (want, b"", b""), script)


def test_a_command_that_cannot_run(p):
    refused(p.run("--", "/no/such"), "/no/such", 127)
    refused(p.run("--", p.file), "ermission", 126)


def test_flags_end_at_the_first_word(p):
    r = p.run("echo", "-x", "--json", "--", "x")
    equal((r.returncode, r.stdout), (0, b"-x --json -- x\n"), "output")
    r = p.run("--", "sh", "-c", "echo $1", "sh", "--help")
    equal((r.returncode, r.stdout), (0, b"--help\n"), "output")


def test_timeout_keeps_what_was_written(p):
    mark = f"31{os.getpid()}"
    begin = time.monotonic()
    r = p.run("--timeout", "1s", "--", "sh", "-c", f"echo part; sleep {mark} & sleep {mark}")
    equal((r.returncode, r.stdout), (124, b"part\n"), "status and stdout")
    equal(r.stderr, b"sandbox: the command was ended by --timeout after 1 s\n", "stderr")
    check(time.monotonic() - begin < 20, "it took long")
    wait(lambda: not running(mark), "a process of the command is left")


def test_max_output_keeps_the_head(p):
    r = p.run("--max-output", "10", "--", "sh", "-c", "echo 0123456789abc; echo short >&2")
    equal((r.returncode, r.stdout), (0, b"0123456789"), "status and stdout")
    equal(r.stderr, b"short\nsandbox: stdout was cut after 10 bytes (--max-output)\n", "stderr")


def test_a_background_process_does_not_hold_the_run(p):
    begin = time.monotonic()
    r = p.run("--", "sh", "-c", "sleep 3333 & echo done")
    equal((r.returncode, r.stdout), (0, b"done\n"), "output")
    check(time.monotonic() - begin < 20, "it waited for the background process")


def test_a_reader_that_leaves(p):
    c = p.start("--", "sh", "-c", "while :; do echo line; done")
    until_line(c.stdout, b"line\n")
    c.stdout.close()
    equal(c.wait(SECONDS), 141, "status: SIGPIPE in the guest")
    equal(c.stderr.read(), b"", "stderr")
    c.stderr.close()


def test_stdin_that_is_closed(p):
    r = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *p.argv(["--", "cat"])], env=p.env,
                       capture_output=True, timeout=SECONDS)
    equal((r.returncode, r.stdout, r.stderr), (0, b"", b""), "result")


# ---- what the command is given -------------------------------------------------------------


def test_environment_and_folder(p):
    path = os.path.join(p.top, "vars")
    with open(path, "w") as f:
        f.write("# comment\n\nA=from file\nB=  'as is'  \nFROM_HOST\n")
    r = p.run("-e", "A=from flag", "--env-file", path, "-eC=x=y", "-e", "NOT_SET_HERE", "-w",
              "/usr", "--", "sh", "-c", 'printf "%s|" "$A" "$B" "$C" "$FROM_HOST" '
              '"${NOT_SET_HERE-unset}" "${SECRET_OF_HOST-unset}" "$PWD"', FROM_HOST="host",
              SECRET_OF_HOST="x")
    equal(r.stdout, b"from flag|  'as is'  |x=y|host|unset|unset|/usr|", "stdout")


def test_user(p):
    r = p.run("-u", "12:34", "--", "sh", "-c", "id -u; id -g")
    if os.geteuid():
        check(r.returncode == 125, "an id that cannot be had")
        return
    equal(r.stdout, b"12\n34\n", "ids")
    refused(p.run("-u", "no-such-user", "--", "true"), "no-such-user")


def test_the_machine_is_given_its_shape(p):
    r = p.run("--console", "-m", "200m", "--", "true")
    equal(r.returncode, 0, "status")
    check(b"memory=204800k cpus=1" in r.stderr, f"{r.stderr!r}")


# ---- what is refused before anything starts -------------------------------------------------


def test_refusals(p):
    have_cpus = len(os.sched_getaffinity(0))
    cases = (
        (["--memroy", "1g", "--", "true"], "there is no flag --memroy; did you mean --memory?"),
        (["-q", "--", "true"], "there is no flag -q"),
        (["-m", "9000g", "--", "true"], "9000g asked for, but this host has "),
        (["-m", "9m", "--", "true"], "9m asked for, but a guest needs at least 48 MiB"),
        (["-m", "lots", "--", "true"], "'lots' is not a size"),
        (["--cpus", "33", "--", "true"], "33 asked for, but a guest can have at most 32"),
        (["--cpus", "1.5x", "--", "true"], "'1.5x' is not a number from 0.01 to 32"),
        (["--timeout", "soon", "--", "true"], "'soon' is not a time"),
        (["--timeout", "0", "--", "true"], "no time at all"),
        (["--timeout"], "--timeout needs a value"),
        (["--json=yes", "--", "true"], "--json takes no value"),
        (["-w", "usr", "--", "true"], "not an absolute path"),
        (["-u", ":x", "--", "true"], "not USER or USER:GROUP"),
        (["-e", "=x", "--", "true"], "no name before the '='"),
        (["--env-file", "/no/such", "--", "true"], "open /no/such: No such file"),
        (["--kernel", "/no/such", "--", "true"], "--kernel: open /no/such: No such file"),
        (["--initrd", "/", "--", "true"], "--initrd: read /: Is a directory"),
        (["-v", "/no/such:/w", "--", "true"], "-v: there is no folder /no/such here; make it"),
        (["-v", "/etc/passwd:/w", "--", "true"], "only folders can be shared"),
        (["-v", "/etc:/w", "--", "true"], "-v: /etc is guarded; share a folder that"),
        (["-v", "/:/w", "--", "true"], "-v: / is guarded"),
        (["-v", os.environ["HOME"] + ":/w:ro", "--", "true"], "is guarded"),
        (["-v", "/usr/share:/a", "-v", "/usr/share:/b:cow", "--", "true"], "overlap"),
        (["--secret=A=xyzzy", "--", "true"], "--secret: A: a value cannot be given on the command"),
        (["--network", "public", "--", "true"], "'public' is not in this version"),
        (["--network", "full", "--", "true"], "'full' is no kind of network"),
        (["--json-status-fd", "77", "--", "true"], "descriptor 77 is not open for writing"),
        (["--json-status-fd", "1", "--", "true"], "'1' is not a whole number from 2"),
        (["alpine", "--", "true"], "there is no image 'alpine'"),
        (["--disk", "1M", "--", "true"], "a disk has from 16 MiB"),
        (["--tmpfs", "x", "--", "true"], "not an absolute path"),
        (["--read-only", "--disk", "1G", "--", "true"], "leave one out"),
        (["--json", "-t", "--", "true"], "use --json-status-fd with -t"),
        (["-t", "--", "true"], "-t needs a terminal, and stdin is none"),
        ([], "there is no command"),
        (["--"], "there is no command"),
    )
    for args, sentence in cases:
        r = p.run(*args)
        if "--json" in args:
            r.stdout = b"" if json.loads(r.stdout)["exit_code"] == 125 else r.stdout
        refused(r, sentence)
    if have_cpus < 32:
        refused(p.run("--cpus", "32", "--", "true"), f"32 asked for, but this host has {have_cpus}")
    check(not os.path.exists(p.pid_file), "a monitor was started")
    equal(p.left(), [], "left in the runtime folder")


def test_words_that_are_no_verb(p):
    for args, sentence in ((["rnu"], "did you mean 'run'?"),
                           (["--json"], "must come after a verb"),
                           (["completion", "tcsh"], "none of bash, zsh and fish"),
                           (["doctor", "now"], "one word too many")):
        r = subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS, env=p.env)
        refused(r, sentence, 2)


def test_a_limit_that_the_guest_cannot_keep(p):
    """The agent has no cgroups here, so it has to say no, and the command must not run."""
    refused(p.run("--pids-limit", "5", "--", "echo", "ran"), "cannot limit the number of processes")


def test_a_monitor_that_is_not_there(p):
    refused(p.run("--", "true", SANDBOX_VMM="/no/such"), "/no/such, named by SANDBOX_VMM")
    refused(p.run("--", "true", SANDBOX_VMM=p.file), "named by SANDBOX_VMM")


def test_a_runtime_folder_with_a_long_path(p):
    deep = os.path.join(p.top, "d" * 90)
    os.mkdir(deep, 0o700)
    refused(p.run("--", "true", XDG_RUNTIME_DIR=deep), "set XDG_RUNTIME_DIR to a shorter one")


def test_a_runtime_folder_of_nobody(p):
    """Then the state folder takes its place."""
    r = p.run("--", "echo", "ok", XDG_RUNTIME_DIR="/no/such")
    equal((r.returncode, r.stdout, r.stderr), (0, b"ok\n", b""), "result")
    made = os.path.join(p.top, "state", "sandbox", "run")
    equal((os.listdir(made), os.stat(made).st_mode & 0o7777), ([], 0o700), "the state folder")


# ---- machines that fail --------------------------------------------------------------------


def test_ends_before_ready(p):
    said = {"panic": "the guest's kernel panicked before it was ready",
            "reset": "the guest reset itself before it was ready",
            "poweroff": "the guest powered itself off before it was ready",
            "hang": "the guest gave no sign of life before it was ready",
            "stopped": "the monitor was told to stop before it was ready",
            "error": "the machine failed before it was ready: the fake said so"}
    for mode, sentence in said.items():
        r = p.run("--", "true", FAKE_MODE=mode)
        lines = r.stderr.decode().splitlines()
        equal((r.returncode, r.stdout, lines[0]), (125, b"", f"sandbox: {sentence}"), mode)
        equal(lines[1:], ["sandbox: the guest's last words were:",
                          "  | [    0.000000] fake console memory=131072k cpus=1",
                          "  | ?[31mred?"], "the log, made harmless")
    equal(p.left(), [], "left in the runtime folder")


def test_a_monitor_that_dies_without_a_word(p):
    refused(p.run("--", "true", FAKE_MODE="silent"), "sandbox-vmm ended with status 3 before it")


def test_ready_that_is_no_good(p):
    refused(p.run("--", "true", FAKE_MODE="garbage"), "the guest's word that it is ready")


def test_a_panic_while_the_command_runs(p):
    r = p.run("--", "sh", "-c", "echo first; sleep 3333", FAKE_MODE="die")
    equal((r.returncode, r.stdout), (125, b"first\n"), "status and stdout")
    check(r.stderr.startswith(b"sandbox: the guest's kernel panicked while the command ran\n"),
          f"{r.stderr!r}")


def test_a_killed_monitor(p):
    c = p.start("--", "sh", "-c", "echo first; sleep 3333")
    until_line(c.stdout, b"first\n")
    os.kill(p.monitor(), signal.SIGKILL)
    _, err = c.communicate(timeout=SECONDS)
    equal((c.returncode, err), (125, b"sandbox: the monitor sandbox-vmm was killed by signal 9 "
                                b"(Killed) while the command ran\n"), "result")


def test_console_is_shown_as_it_comes(p):
    r = p.run("--console", "--", "true", FAKE_MODE="panic")
    check(r.stderr.startswith(b"[    0.000000] fake console") and
          b"last words" not in r.stderr, f"{r.stderr!r}")


# ---- signals -------------------------------------------------------------------------------

TRAPS = "trap 'echo INT; exit 5' INT; trap 'echo TERM; exit 6' TERM; trap 'echo HUP; exit 8' " \
        "HUP; trap 'echo USR1; exit 9' USR1; echo ready; while :; do sleep 0.1; done"


def test_signals_reach_the_command(p):
    for signo, word, status in ((signal.SIGINT, b"INT\n", 5), (signal.SIGTERM, b"TERM\n", 6),
                                (signal.SIGHUP, b"HUP\n", 8), (signal.SIGUSR1, b"USR1\n", 9)):
        c = p.start("--", "sh", "-c", TRAPS)
        until_line(c.stdout, b"ready\n")
        c.send_signal(signo)
        out, err = c.communicate(timeout=SECONDS)
        equal((out, c.returncode), (word, status), signo.name)
        check(b"sandbox:" not in err, f"{err!r}")  # the shell may say how its child died
    equal(p.left(), [], "left in the runtime folder")


def test_a_command_that_dies_of_the_signal(p):
    mark = f"34{os.getpid()}"
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        c = p.start("--", "sh", "-c", f"sleep {mark}; echo not reached")
        wait(lambda: running(mark), "the command does not run")
        c.send_signal(signo)
        out, _ = c.communicate(timeout=SECONDS)
        equal((out, c.returncode), (b"", 128 + signo), signo.name)


def test_ignored_signals_stay_ignored(p):
    """As nohup leaves them."""
    c = p.start("--", "sh", "-c", TRAPS,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    until_line(c.stdout, b"ready\n")
    c.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    c.send_signal(signal.SIGTERM)
    out, _ = c.communicate(timeout=SECONDS)
    equal((out, c.returncode), (b"TERM\n", 6), "only SIGTERM arrived")


def test_insisting_ends_a_command_that_does_not_listen(p):
    mark = f"32{os.getpid()}"
    c = p.start("--", "sh", "-c", f"trap 'echo no' INT; while :; do sleep {mark}; done")
    for _ in range(2):
        # A shell acts on a signal before it starts a child, or when that has ended.
        wait(lambda: running(mark), "the command does not run")
        c.send_signal(signal.SIGINT)
        until_line(c.stdout, b"no\n")
    check(c.poll() is None, "two were enough")
    c.send_signal(signal.SIGINT)
    c.communicate(timeout=SECONDS)
    equal(c.returncode, 130, "status")
    wait(lambda: not running(mark), "a process of the command is left")


def test_a_signal_before_the_command_starts(p):
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if os.path.exists(p.pid_file):
            os.unlink(p.pid_file)
        c = p.start("--", "true", env={"FAKE_MODE": "never"})
        monitor = p.monitor()
        c.send_signal(signo)
        out, err = c.communicate(timeout=SECONDS)
        equal((c.returncode, out, err), (128 + signo, b"", b""), signo.name)
        check(not alive(monitor), "the monitor lives on")
        equal(p.left(), [], "left in the runtime folder")


def test_a_signal_while_the_agent_is_deaf(p):
    c = p.start("--", "true", env={"FAKE_MODE": "deaf"})
    p.monitor()
    wait(lambda: not p.left(), "no connection was made")
    time.sleep(0.2)
    c.send_signal(signal.SIGTERM)
    c.communicate(timeout=SECONDS)
    equal(c.returncode, 143, "status")


def test_a_timeout_that_the_agent_does_not_keep(p):
    begin = time.monotonic()
    r = p.run("--timeout", "1s", "--", "true", FAKE_MODE="deaf")
    equal(r.returncode, 124, "status")
    equal(r.stderr, b"sandbox: the guest did not end the command in time, so the machine was "
          b"stopped\n", "stderr")
    check(30 < time.monotonic() - begin < 50, "the grace is 30 seconds")


def test_killed_while_the_command_runs(p):
    mark = f"33{os.getpid()}"
    c = p.start("--", "sh", "-c", f"echo ready; sleep {mark}")
    until_line(c.stdout, b"ready\n")
    monitor = p.monitor()
    wait(lambda: running(mark), "the command does not run")
    equal(p.left(), [], "sockets on disk while the command runs")
    c.kill()
    wait(lambda: not alive(monitor) and not running(mark), "something lives on")
    equal(p.left(), [], "left in the runtime folder")
    c.communicate()


def test_killed_before_ready_is_swept_by_the_next(p):
    c = p.start("--", "true", env={"FAKE_MODE": "never"})
    monitor = p.monitor()
    wait(lambda: p.left(), "no runtime folder")
    other = p.run("--", "echo", "ok")
    equal((other.stdout, len(p.left())), (b"ok\n", 1), "a living one is left alone")
    c.kill()
    wait(lambda: not alive(monitor), "the monitor lives on")
    c.communicate()
    equal(p.run("--", "true").returncode, 0, "the next command")
    equal(p.left(), [], "left in the runtime folder")


# ---- results for programs ------------------------------------------------------------------


def test_json(p):
    r = p.run("--json", "--", "sh", "-c", "printf 'häh\\n'; printf '\\377x' >&2; exit 3")
    equal((r.returncode, r.stderr, r.stdout.count(b"\n")), (3, b"", 1), "status, stderr, lines")
    o = json.loads(r.stdout)
    equal((o["stdout"], o["stdout_encoding"]), ("häh\n", "utf-8"), "stdout")
    equal((base64.b64decode(o["stderr"]), o["stderr_encoding"]), (b"\xffx", "base64"), "stderr")
    equal({k: o[k] for k in ("exit_code", "signal", "timed_out", "oom", "truncated", "error",
                             "restore_ms")},
          {"exit_code": 3, "signal": None, "timed_out": False, "oom": False, "truncated": False,
           "error": None, "restore_ms": None}, "fields")
    check(o["boot_ms"] > 0 and 0 < o["exec_ms"] < 60000, f"times: {o}")


def test_json_of_other_ends(p):
    o = json.loads(p.run("--json", "--", "sh", "-c", "kill -KILL $$").stdout)
    equal((o["exit_code"], o["signal"]), (137, 9), "a signal")
    o = json.loads(p.run("--json", "--timeout", "1s", "--", "sh", "-c", "echo a; sleep 33").stdout)
    equal((o["exit_code"], o["timed_out"], o["stdout"]), (124, True, "a\n"), "a timeout")
    o = json.loads(p.run("--json", "--max-output=3", "--", "echo", "abcdef").stdout)
    equal((o["truncated"], o["stdout_truncated"], o["stderr_truncated"], o["stdout"]),
          (True, True, False, "abc"), "truncation")
    r = p.run("--json", "--", "/no/such")
    o = json.loads(r.stdout)
    equal((o["exit_code"], o["exec_ms"]), (127, None), "no such command")
    check("/no/such" in o["error"] and o["error"] in r.stderr.decode(), f"{o['error']!r}")
    o = json.loads(p.run("--json", "--", "true", FAKE_MODE="panic").stdout)
    equal((o["exit_code"], o["boot_ms"], o["error"]),
          (125, None, "the guest's kernel panicked before it was ready"), "a panic")


def test_json_keeps_a_bounded_part(p):
    o = json.loads(p.run("--json", "--", "sh", "-c", "yes | head -c 17000000").stdout)
    equal((len(o["stdout"]), o["truncated"]), (16 << 20, True), "bytes kept")


def test_json_status_fd(p):
    r_fd, w_fd = os.pipe()
    c = p.start("--json-status-fd", str(w_fd), "--", "sh", "-c", "echo out; exit 4",
                pass_fds=[w_fd])
    os.close(w_fd)
    out, err = c.communicate(timeout=SECONDS)
    with os.fdopen(r_fd) as f:
        text = f.read()
    o = json.loads(text)
    equal((out, err, c.returncode, o["exit_code"], "stdout" in o), (b"out\n", b"", 4, 4, False),
          "result")


def test_doctor_speaks_json(p):
    r = subprocess.run([SANDBOX, "doctor", "--json"], capture_output=True, timeout=SECONDS,
                       env=p.env)
    o = json.loads(r.stdout)
    failed = [c["check"] for c in o["checks"] if c["grade"] == "fail"]
    equal((o["ok"], r.returncode), (not failed, 1 if failed else 0), f"failed: {failed}")
    check(all(c["grade"] == "ok" or c["remedy"] for c in o["checks"]), "a remedy is missing")
    check({"kvm", "io_uring", "namespaces", "memory", "disk", "passt", "kernel"} <=
          {c["check"] for c in o["checks"]}, "a check is missing")


# ---- terminals -----------------------------------------------------------------------------


class Terminal:
    """A run on a terminal of its own."""

    def __init__(self, p, *args, rows=31, cols=97, **env):
        self.fd, slave = pty.openpty()
        self.slave = slave
        self.resize(rows, cols)
        self.before = termios.tcgetattr(slave)
        self.seen = b""

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(p.argv(args), stdin=slave, stdout=slave, stderr=slave,
                                      env={**p.env, **env}, start_new_session=True,
                                      preexec_fn=own_terminal)
        p.children.append(self.child)

    def resize(self, rows, cols):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def write(self, data):
        os.write(self.fd, data)

    def until(self, want):
        """Read until @want comes; everything up to it is taken."""
        limit = time.monotonic() + 30
        while want not in self.seen:
            check(time.monotonic() < limit, f"{want!r} did not come: {self.seen!r}")
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 65536)
        head, self.seen = self.seen.split(want, 1)
        return head

    def end(self):
        rc = self.child.wait(SECONDS)
        while select.select([self.fd], [], [], 0.1)[0]:
            self.seen += os.read(self.fd, 65536)
        after = termios.tcgetattr(self.slave)
        os.close(self.fd)
        os.close(self.slave)
        check(after == self.before, "the terminal is not as it was")
        return rc


def test_a_terminal(p):
    t = Terminal(p, "-t", "--", "sh", TERM="vt220")
    t.write(b"stty size; echo $TERM; test -t 0 && test -t 1 && echo tt''y\n")
    t.until(b"31 97\r\n")
    t.until(b"vt220\r\n")
    t.until(b"tty\r\n")
    t.resize(40, 100)
    t.write(b"while ! stty size | grep '^40 '; do sleep 0.1; done\n")
    t.until(b"40 100\r\n")
    t.write(b"sleep 3333\n")
    t.until(b"sleep 3333\r\n")
    time.sleep(0.3)
    t.write(b"\x03")
    t.write(b"echo status $?\n")
    t.until(b"status 130\r\n")
    t.write(b"exit 9\n")
    equal(t.end(), 9, "status")


def test_the_terminal_is_given_back(p):
    for how in ("term", "panic", "kill monitor"):
        if os.path.exists(p.pid_file):
            os.unlink(p.pid_file)
        t = Terminal(p, "-t", "--", "sh", "-c", "echo rea''dy; sleep 3333",
                     FAKE_MODE="die" if how == "panic" else "")
        t.until(b"ready\r\n")
        check(termios.tcgetattr(t.slave) != t.before, "not raw")
        if how == "term":
            t.child.send_signal(signal.SIGTERM)
        elif how == "kill monitor":
            os.kill(p.monitor(), signal.SIGKILL)
        equal(t.end(), 143 if how == "term" else 125, how)


def test_stdin_of_a_terminal_is_not_taken_without_asking(p):
    t = Terminal(p, "--", "sh", "-c", "cat; test -t 1 || echo no terminal")
    t.until(b"no terminal\r\n")
    equal(t.end(), 0, "status")
    t = Terminal(p, "-i", "--", "sh", "-c", "echo go; head -n 1")
    t.until(b"go\r\n")
    t.write(b"typed\n")
    t.until(b"typed\r\n")
    t.until(b"typed\r\n")
    equal(t.end(), 0, "status")


def test_ctrl_c_on_a_terminal_without_t(p):
    """The terminal signals the whole foreground group; the monitor must not be in it."""
    t = Terminal(p, "--", "sh", "-c", TRAPS)
    t.until(b"ready\r\n")
    t.write(b"\x03")
    t.until(b"INT\r\n")
    equal(t.end(), 5, "status")


def test_progress_only_on_a_terminal_and_only_when_slow(p):
    t = Terminal(p, "--", "echo", "out", FAKE_DELAY="1.3")
    text = t.until(b"out\r\n")
    check(re.search(rb"\rsandbox: starting the guest \(1 s\)\x1b\[K", text), f"{text!r}")
    check(text.endswith(b"\r\x1b[K"), f"the line was not taken away: {text!r}")
    equal(t.end(), 0, "status")
    equal(p.run("--", "true", FAKE_DELAY="1.3").stderr, b"", "stderr of a pipe")


# ---- help and completion -------------------------------------------------------------------


def test_help_names_every_flag_and_fits(p):
    def words(*args):
        r = subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS, env=p.env)
        equal((r.returncode, r.stderr), (0, b""), f"{args}")
        return r.stdout.decode()

    tree = words("help")
    check(len(tree.splitlines()) <= 24 and max(map(len, tree.splitlines())) <= 100,
          "the tree does not fit one screen")
    verbs = re.findall(r"\b[a-z-]+\b", " ".join(re.findall(r"^  (\S.*?)  ", tree, re.M)))
    listed = re.findall(r"-n __fish_use_subcommand -a ([\w-]+)", words("completion", "fish"))
    equal(sorted(verbs), sorted(listed), "verbs of the tree, and those that there are")
    for verb in verbs:
        text = words(verb, "--help")
        equal(text, words("help", verb), f"two ways to the help of {verb}")
        check("Example" in text and f"  sandbox {verb}" in text, f"no example for {verb}")
    text = words("run", "--help")
    for flag in ("-e, --env", "--env-file", "-w, --workdir", "-u, --user", "-i, ", "-t, ",
                 "--timeout", "-m, --memory", "--cpus", "--pids-limit", "--max-output",
                 "--kernel", "--initrd", "--json ", "--json-status-fd", "--console"):
        check(flag in text, f"{flag} is not in the help of run")
    check("--publish" not in text, "a flag of a later version is listed")
    with open(os.path.join(TOP, "docs", "sandbox.1")) as f:
        page = f.read().replace("\\-", "-")
    for flag in re.findall(r"--[a-z-]+", text):
        check(flag in page, f"{flag} is not in the manual page")
    check(words("version").startswith("sandbox "), "version")


def test_bash_completion(p):
    def complete(*words):
        script = f"source <({SANDBOX} completion bash); COMP_WORDS=(\"$@\"); " \
                 f"COMP_CWORD=$(($# - 1)); _sandbox; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        r = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True,
                           timeout=SECONDS, env=p.env, cwd=p.top)
        equal((r.returncode, r.stderr), (0, b""), f"{words}")
        return r.stdout.decode().split()

    equal(complete("sandbox", "ru"), ["run"], "a verb")
    equal(complete("sandbox", "run", "--json"), ["--json", "--json-status-fd"], "flags")
    equal(complete("sandbox", "run", "--network", ""), ["none"], "values")
    equal(complete("sandbox", "completion", "z"), ["zsh"], "a word")
    subprocess.run([SANDBOX, "create", "web"], check=True, timeout=SECONDS, env=p.env,
                   capture_output=True)
    for verb in (("stop",), ("rm", "-f"), ("attach", "--vm"), ("config", "show"), ("exec",)):
        equal(complete(SANDBOX, *verb, "w"), ["web"], f"names after {verb}")
    equal(complete(SANDBOX, "cp", "w"), ["web:"], "one side of cp")
    equal(complete("sandbox", "run", "--kernel", p.file[:-2]), [p.file], "a file")


def test_other_shells_read_their_completion(p):
    for shell, args in (("zsh", ["-n"]), ("fish", ["--no-execute"])):
        text = subprocess.run([SANDBOX, "completion", shell], capture_output=True, check=True,
                              timeout=SECONDS).stdout
        check(b"json-status-fd" in text, f"{shell}: a flag is missing")
        if shutil.which(shell):
            path = os.path.join(p.top, shell)
            with open(path, "wb") as f:
                f.write(text)
            r = subprocess.run([shell, *args, path], capture_output=True, timeout=SECONDS)
            equal((r.returncode, r.stderr), (0, b""), shell)


def main():
    # A job in the background may have been started with some of them ignored.
    for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signo, signal.SIG_DFL)
    tests = [(n[5:].replace("_", " "), f) for n, f in globals().items() if n.startswith("test_")]
    failed = 0
    for name, test in tests:
        if not all(word in name for word in sys.argv[1:]):
            continue
        place = Place()
        try:
            test(place)
            print(f"ok cli: {name}", flush=True)
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
            failed += 1
            print(f"not ok cli: {name}: {e}", flush=True)
        finally:
            place.close()
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
