#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `sandbox` command without a machine: how a run can end, signals, terminals."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import fake
from fake import (SECONDS, check, equal, wait, alive, running, until_line, refused)


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
    check(30 < time.monotonic() - begin < 90, "the grace is 30 seconds")


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
        limit = time.monotonic() + 100
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
    mark = f"35{os.getpid()}"
    t.write(f"sleep {mark}\n".encode())
    wait(lambda: running(mark), "the command does not run")
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


if __name__ == "__main__":
    sys.exit(fake.main("cli ends", globals()))
