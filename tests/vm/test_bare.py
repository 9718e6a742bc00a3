# SPDX-License-Identifier: Apache-2.0
"""Guests of a few instructions (bare.S): every end of a machine, and what the monitor refuses.

Here a boot takes milliseconds. Each test takes the path of the monitor.
"""
import fcntl
import os
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from harness import OUT, Vm, check, equal

LONG = 120      # more than any of this takes


# Only who starts a process can put it into a pid namespace, and these tests do not.
WALLS = "jail user mount ipc uts net -pid root landlock caps seccomp uring"


def bare(what):
    return os.path.join(OUT, "tests", "vm", "bare-" + what)


def wait_for(vm, until, what):
    end = time.monotonic() + LONG
    while not until():
        check(vm.child.poll() is None, f"it ended before {what}; {vm.status}")
        check(time.monotonic() < end, f"not within {LONG} s: {what}")
        time.sleep(0.02)


def ends(vmm, what, status, word, text="", **args):
    """Run one to its end. Returns the machine, closed, and what it had printed."""
    vm = Vm(what, vmm, kernel=bare(what), **{"boot_timeout": 60, **args})
    try:
        rc, got, why = vm.start().end(LONG)
        equal((rc, got), (status, word), f"{why}; {vm.tail(60)}\nexit status and end")
        check(text in why, f"reason {why!r} without {text!r}")
        jail = args.get("jail") != "none"
        if jail:
            equal(vm.status.pop(0), WALLS, "first status line")
        check(vm.status[0].startswith("run ") and vm.status[0].split()[1].isdigit(),
              f"status line {vm.status[0]!r}")
        equal(len(vm.status), 2, f"{vm.status}; status lines")
        # In a jail nothing can be removed: the file is left to who asked for it.
        equal(os.path.exists(vm.socket), jail, "the socket is left behind")
        return vm.console()
    finally:
        vm.close()


def power_register_off(vmm):
    ends(vmm, "poweroff", 0, "poweroff")


def keyboard_controller_resets(vmm):
    ends(vmm, "reset", 10, "reset")


def without_a_jail_too(vmm):
    console = ends(vmm, "poweroff", 0, "poweroff", jail="none")
    check("--jail=none: this process has all rights of its user" in console, console)


def triple_fault_is_a_reset(vmm):
    ends(vmm, "triple", 10, "reset", "triple fault")


def panic_event(vmm):
    ends(vmm, "panic", 11, "panic", "panicked")


def panic_before_the_boot_timeout_is_no_hang(vmm):
    ends(vmm, "panic", 11, "panic", "panicked", boot_timeout=1)


def silence_is_a_hang(vmm):
    ends(vmm, "hang", 12, "hang", "within 2 s", boot_timeout=2)


def several_cpus_end_together(vmm):
    ends(vmm, "hang", 12, "hang", "within 2 s", boot_timeout=2, cpus=4)


def console_is_shown(vmm):
    text = ends(vmm, "say", 12, "hang", boot_timeout=2)
    check("a line for people\n" in text, f"console {text!r}")


def flood_of_the_console_stays_bounded(vmm):
    vm = Vm("flood", vmm, kernel=bare("flood"), memory="32M", boot_timeout=60)
    try:
        vm.start()
        wait_for(vm, lambda: vm.console().count("0123456789abcdef") > 100, "the flood")
        first = sum(vm.rss_kib().values())
        time.sleep(3)
        grown = sum(vm.rss_kib().values()) - first
        check(grown < 2048, f"the monitor grew by {grown} KiB in 3 s")
        vm.child.terminate()
        equal(vm.end(LONG)[:2], (13, "stopped"), "exit status and end")
    finally:
        vm.close()


def console_that_nobody_reads_does_not_stop_the_machine(vmm):
    child = subprocess.Popen([vmm, "--kernel", bare("flood"), "--console"],
                             stderr=subprocess.PIPE)
    try:
        begin, had, has = time.monotonic(), -1, 0
        while not has or has != had:        # until the pipe is full
            check(time.monotonic() < begin + LONG, f"{has} bytes of a flood, and more to come")
            time.sleep(0.5)
            had, has = has, int.from_bytes(fcntl.ioctl(child.stderr, termios.FIONREAD, bytes(4)),
                                           sys.byteorder)
        child.terminate()
        equal(child.wait(LONG), 13, "exit status")
        text = child.stderr.read()
        check(text.count(b"0123456789abcdef") > 100, f"console {text[:200]!r}")
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def stops_on(vmm, number):
    vm = Vm("hang", vmm, kernel=bare("hang"))
    try:
        vm.start()
        while len(vm.status) < 1 and vm.child.poll() is None:
            time.sleep(0.01)
        vm.child.send_signal(number)
        equal(vm.end(LONG)[:2], (13, "stopped"), "exit status and end")
    finally:
        vm.close()


def sigterm_stops(vmm):
    stops_on(vmm, signal.SIGTERM)


def sigint_stops(vmm):
    stops_on(vmm, signal.SIGINT)


def death_of_the_parent_stops(vmm):
    parent = subprocess.Popen(["sleep", "1000"])
    pidfd = os.pidfd_open(parent.pid)
    os.set_inheritable(pidfd, True)
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen([vmm, "--kernel", bare("hang"), "--parent-fd", str(pidfd),
                                  "--status-fd", "1", "--vsock", os.path.join(folder, "v")],
                                 pass_fds=[pidfd], stdout=subprocess.PIPE, text=True)
        try:
            equal(child.stdout.readline(), WALLS + "\n", "first status line")
            check(child.stdout.readline().startswith("run "), "it did not run")
            check(child.poll() is None, "it ended before its parent")
            parent.kill()
            parent.wait()
            out = child.communicate(timeout=LONG)[0]
            equal(child.returncode, 13, f"{out}; exit status")
            check(out.startswith("end stopped"), f"status {out!r}")
        finally:
            for process in (parent, child):
                process.kill()
                process.wait()
            os.close(pidfd)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_limit_holds_for_all_cpus_together(vmm):
    """Both spin. Only from above: a busy host may give less."""
    for what, cpus in (("hang", 1), ("flood", 1), ("hang", 2)):
        vm = Vm(what, vmm, kernel=bare(what), cpu_limit=200, cpus=cpus)
        try:
            vm.start()
            wait_for(vm, lambda: len(vm.status) > 1, "the start")
            time.sleep(1)
            before, since = cpu_seconds(vm.child.pid), time.monotonic()
            time.sleep(2)
            used = cpu_seconds(vm.child.pid) - before
            share = used / (time.monotonic() - since)
            check(0 < share < 0.3, f"{what}, {cpus} CPUs: {share:.2f} of a CPU, not 0.2")
        finally:
            vm.close()


def a_limited_machine_stops_at_once(vmm):
    """At a thousandth of a CPU it waits for about ten seconds after each slice."""
    vm = Vm("hang", vmm, kernel=bare("hang"), cpu_limit=1)
    try:
        vm.start()
        wait_for(vm, lambda: len(vm.status) > 1, "the start")
        time.sleep(1)
        begin = time.monotonic()
        vm.child.terminate()
        equal(vm.end(LONG)[:2], (13, "stopped"), "exit status and end")
        check(time.monotonic() - begin < 4, f"it took {time.monotonic() - begin:.2f} s")
    finally:
        vm.close()


def refused(vmm, status, text, *argv):
    done = subprocess.run([vmm, *argv], capture_output=True, text=True, timeout=LONG, check=False)
    equal(done.returncode, status, f"{done.stderr!r}; exit status")
    check(text in done.stderr, f"no {text!r} in {done.stderr!r}")
    equal(done.stdout, "", "stdout")
    equal(done.stderr.count("\n"), 1, f"{done.stderr!r}; lines on stderr")


def wrong_options_are_refused(vmm):
    refused(vmm, 2, "--kernel FILE or --restore DIR is missing")
    refused(vmm, 2, "no such option '--kernle'", "--kernle", "x")
    refused(vmm, 2, "not a whole number from 1 to 32", "--kernel", "x", "--cpus", "33")
    refused(vmm, 2, "is not between", "--kernel", "x", "--memory", "1M")


def kernels_that_are_none_are_refused(vmm):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernel")
        refused(vmm, 1, "No such file", "--kernel", path)
        with open(path, "wb") as f:
            f.write(b"#!/bin/sh\n" * 1000)
        refused(vmm, 1, "kernel", "--kernel", path)
        with open(bare("hang"), "rb") as f:
            elf = bytearray(f.read())
        with open(path, "wb") as f:
            f.write(elf[:80])
        refused(vmm, 1, "truncated", "--kernel", path)
        struct.pack_into("<H", elf, 18, 183)
        with open(path, "wb") as f:
            f.write(elf)
        refused(vmm, 1, "arm64", "--kernel", path)


def help_and_version(vmm):
    for option, text in (("--help", "usage: sandbox-vmm"), ("--version", "sandbox-vmm ")):
        done = subprocess.run([vmm, option], capture_output=True, text=True, timeout=LONG,
                              check=False)
        equal((done.returncode, done.stderr), (0, ""), option)
        check(done.stdout.startswith(text), f"{option}: {done.stdout!r}")


TESTS = [power_register_off, keyboard_controller_resets, triple_fault_is_a_reset, panic_event,
         without_a_jail_too,
         panic_before_the_boot_timeout_is_no_hang, silence_is_a_hang, several_cpus_end_together,
         console_is_shown, flood_of_the_console_stays_bounded,
         console_that_nobody_reads_does_not_stop_the_machine, sigterm_stops, sigint_stops,
         death_of_the_parent_stops, cpu_limit_holds_for_all_cpus_together,
         a_limited_machine_stops_at_once, wrong_options_are_refused,
         kernels_that_are_none_are_refused, help_and_version]
