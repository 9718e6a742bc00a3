# SPDX-License-Identifier: Apache-2.0
"""Linux guests: three boots, one for each way in which a Linux machine ends by itself."""
import hashlib
import os
import random
import re
import time
import test_disk
from harness import EXEC_SECONDS, OUT, Group, Skip, check, equal

KERNEL = {"kernel": os.path.join(OUT, "guest", "vmlinux"),
          "initrd": os.path.join(OUT, "guest", "initramfs.cpio"), "boot_timeout": 600}
BIG = 2 << 20           # where KVM emulates the guest's kernel, that is some seconds
PARALLEL = 20


def own_program(vm, name, *args, timeout=300):
    """Copy a static program of the build folder into the guest and run it there."""
    path = os.path.join(OUT, "tests", "vm", name)
    if not os.path.exists(path):
        raise Skip(f"{name} is not built")
    vm.copy_in(path, f"/tmp/{name}.test")
    return vm.run([f"/tmp/{name}.test", *args], "--timeout", str(timeout), timeout=timeout + 60)


# ---- what a program sees

def it_is_linux(vm):
    text = vm.good("uname -a")
    check(re.match(r"Linux \S+ \d+\.\d+.* x86_64", text), text)
    return text.split()[2]


def two_cpus_work(vm):
    equal(vm.good("nproc"), "2", "nproc")
    # Field 39 of stat is the CPU that the process ran on last.
    for cpu in ("0", "1"):
        equal(vm.good(f"taskset -c {cpu} sh -c 'set -- $(cat /proc/self/stat); echo ${{39}}'"),
              cpu, f"CPU of a process bound to CPU {cpu}")


def one_cpu(vm):
    equal(vm.good("nproc"), "1", "nproc")


def memory_is_what_was_asked_for(vm):
    total = int(vm.good("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) >> 10
    check(430 <= total <= 512, f"{total} MiB of 512")
    return f"{total} of 512 MiB are free for use"


def clock_is_sane(vm):
    before, guest, after = time.time(), float(vm.good("date +%s")), time.time()
    check(before - 60 < guest < after + 60, f"the guest's clock said {guest - before:+.0f} s after it "
          f"was asked, and the answer took {after - before:.0f} s")
    begin = time.monotonic()
    up = vm.good("cat /proc/uptime; sleep 3; cat /proc/uptime").split()
    slept, took = float(up[2]) - float(up[0]), time.monotonic() - begin
    check(2.98 <= slept <= took + 0.1, f"sleep 3 took {slept:.2f} s there, {took:.2f} s here")


def random_numbers_differ(vm):
    read = "head -c 16 /dev/urandom | md5sum"
    check(vm.good(read) != vm.good(read), "twice the same")
    equal(vm.good("cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0", "hwrng")


def kernel_is_quiet(vm):
    text = vm.console()
    bad = re.search(r"(BUG:|WARNING:|Oops|general protection|invalid opcode).*", text)
    check(not bad, f"{bad and bad.group()}")


def features(vm):
    result = own_program(vm, "guest_features")
    text = result.out.decode(errors="replace")
    equal(result.rc, 0, f"{text[-2000:]} {result.err!r}; status")
    return f"{len(text.splitlines())} lines"


def vector_registers_survive(vm):
    result = own_program(vm, "avx_state", "3", "8")
    check(result.rc in (0, 77), f"{result}")     # 77: there is no AVX to lose
    return result.out.decode().strip()


# ---- commands and their streams

def streams_and_status(vm):
    result = vm.run("cat; echo err >&2; exit 7", stdin=b"in\0\xff\n")
    equal((result.rc, result.out, result.err), (7, b"in\0\xff\n", b"err\n"), "result")


def statuses(vm):
    equal(vm.run(["true"]).rc, 0, "true")
    equal(vm.run(["/no/such/file"]).rc, 127, "no such file")
    equal(vm.run(["/etc/passwd"]).rc, 126, "not executable")
    equal(vm.run("kill -TERM $$; sleep 60").rc, 143, "SIGTERM")
    result = vm.run("kill -KILL $$; sleep 60")
    equal((result.rc, result.status["signal"], result.status["oom"]), (137, 9, 0), "SIGKILL")


def environment_folder_and_user(vm):
    out = vm.good("echo $A; pwd; id -u; id -g", "-e", "A=b c", "-w", "/tmp", "-u", "1000")
    equal(out.split("\n"), ["b c", "/tmp", "1000", "1000"], "output")


def big_stream(vm):
    data = random.Random(1).randbytes(BIG)
    begin = time.monotonic()
    result = vm.run(["cat"], stdin=data, timeout=600)
    took = time.monotonic() - begin
    equal(result.rc, 0, f"{result.err!r}; status")
    equal(hashlib.sha256(result.out).hexdigest(), hashlib.sha256(data).hexdigest(),
          f"{len(result.out)} bytes came back; SHA-256")
    return f"{BIG >> 20} MiB both ways at {BIG / took / 1e6:.2f} MB/s"


def both_streams_at_once(vm):
    result = vm.run("head -c 100000 /dev/zero >&2 & head -c 100000 /dev/zero; wait")
    equal((result.rc, len(result.out), len(result.err)), (0, 100000, 100000), "result")


def many_commands_at_once(vm):
    """All of them wait, without using the CPU, until one more says that they may go on."""
    vm.good("mkfifo /tmp/go && : >/tmp/count")
    running = [vm.spawn(f"cat; echo {i} >>/tmp/count; : </tmp/go; exit {i}", stdin=b"x" * i)
               for i in range(PARALLEL)]
    try:
        deadline = time.monotonic() + EXEC_SECONDS
        while vm.good("wc -l </tmp/count") != str(PARALLEL):
            check(time.monotonic() < deadline, "they did not all run at once")
            time.sleep(1)
        vm.good(": >/tmp/go")
        for i, command in enumerate(running):
            result = command.wait()
            equal((result.rc, result.out), (i, b"x" * i), f"command {i}")
    finally:
        for command in running:
            command.kill()


def slow_reader_stalls_nobody(vm):
    slow = vm.spawn(["head", "-c", "1000000", "/dev/zero"], lazy=True)
    try:
        equal(vm.good("echo hi"), "hi", "another command")
        ended = slow.child.poll() is not None
        result = slow.wait()
        check(not ended, f"it ended, although its output was not read: {result}")
        equal((result.rc, len(result.out)), (0, 1000000), "the slow one")
    finally:
        slow.kill()


def background_child_does_not_hold_it(vm):
    begin = time.monotonic()
    result = vm.run("sleep 1000 & echo started")
    equal((result.rc, result.out, result.status["left_running"]), (0, b"started\n", 1), "result")
    check(time.monotonic() - begin < 100, "it waited for the background child")
    vm.good("kill $(ps -o pid,args | awk '/[s]leep 1000/{print $1}')")


def output_limit(vm):
    result = vm.run("echo 0123456789; echo e >&2", "--max-output", "4")
    equal((result.rc, result.out, result.err), (0, b"0123", b"e\n"), "result")
    equal((result.status["trunc_stdout"], result.status["trunc_stderr"]), (1, 0), "truncated")


def terminal(vm):
    out = vm.good("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all", "-t")
    equal(out.split("\r\n")[1:], ["24 80", "all"], f"{out!r}; answers")
    check(out.startswith("/dev/pts/"), out)


# ---- limits

def no_process(vm, pattern):
    left = vm.good(f"ps -o pid,args | grep '{pattern}' || true")
    equal(left, "", "left over")


def timeout_kills_the_tree(vm):
    result = vm.run("echo partial; setsid sleep 777 & sleep 777", "--timeout", "5")
    equal((result.rc, result.out, result.status["timed_out"]), (124, b"partial\n", 1), "result")
    no_process(vm, "[s]leep 777")


def fork_bomb_is_contained(vm):
    bomb = vm.spawn("echo go; bomb() { bomb | bomb & }; bomb; sleep 30", "--pids", "40",
                    "--timeout", "30", "--kill-tree")
    try:
        time.sleep(5)
        equal(vm.good("echo alive"), "alive", "another command")
        result = bomb.wait()
        equal((result.rc, result.out), (124, b"go\n"), f"the bomb: {result.status}; result")
    finally:
        bomb.kill()
    no_process(vm, "[b]omb")


def out_of_memory_is_contained(vm):
    if not vm.features & 2:
        raise Skip("the agent says that it cannot limit memory")
    # tail keeps what it read of a stream without lines.
    greedy = vm.spawn(["tail", "-c", "64000000", "/dev/zero"], "--memory", str(8 << 20))
    equal(vm.good("echo alive"), "alive", "another command")
    result = greedy.wait()
    equal((result.rc, result.status["oom"]), (137, 1), f"{result}; status and oom")
    check(result.status["oom_kills"] >= 1, f"{result}")
    equal(vm.good("echo alive"), "alive", "a command after it")


# ---- the socket itself

def handshake(vm, line):
    with vm.connect() as s:
        s.sendall(line)
        try:
            return s.recv(100)
        except ConnectionResetError:    # closed before it had read the whole line
            return b""


def handshake_is_checked(vm):
    check(handshake(vm, b"CONNECT 52\n").startswith(b"OK "), "the agent's port")
    equal(handshake(vm, b"CONNECT 4242\n"), b"", "a port that nobody listens on")
    equal(handshake(vm, b"CONNECT x\n"), b"", "no number")
    equal(handshake(vm, b"HELLO 52\n"), b"", "another word")
    equal(handshake(vm, b"CONNECT " + b"5" * 200), b"", "a line without an end")


def agent_survives_nonsense(vm):
    for data in (b"\0" * 64, b"\xff" * 64, random.Random(2).randbytes(4096)):
        with vm.connect() as s:
            s.sendall(b"CONNECT 52\n")
            check(s.recv(100).startswith(b"OK "), "no OK")
            s.sendall(data)
            try:
                while s.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    equal(vm.good("echo alive"), "alive", "a command after it")


# ---- the ends

def powers_off(vm):
    """As somebody in it would do it; the agent's own request is what `sandbox stop` sends."""
    command = vm.spawn(["poweroff"])
    try:
        equal(vm.end(120)[:2], (0, "poweroff"), f"{vm.tail()}; exit status and end")
    finally:
        command.kill()


def restarts(vm):
    equal(vm.control("reboot"), 0, "guestctl reboot")
    equal(vm.end(120)[:2], (10, "reset"), f"{vm.tail()}; exit status and end")


def panics(vm):
    """By the one door that user space has in a kernel without SysRq: out of memory."""
    vm.good("echo 2 >/proc/sys/vm/panic_on_oom")
    greedy = vm.spawn(["tail", "-c", "64000000", "/dev/zero"], "--memory", str(8 << 20))
    try:
        rc, word, _ = vm.end(300)
        equal((rc, word), (11, "panic"), f"{vm.tail()}; exit status and end")
        check("Kernel panic - not syncing: Out of memory" in vm.console(), vm.tail())
    finally:
        greedy.kill()


GROUPS = [
    Group("linux", [
        it_is_linux, two_cpus_work, memory_is_what_was_asked_for, clock_is_sane,
        random_numbers_differ, streams_and_status, statuses, environment_folder_and_user,
        big_stream, both_streams_at_once, many_commands_at_once, slow_reader_stalls_nobody,
        background_child_does_not_hold_it, output_limit, terminal, timeout_kills_the_tree,
        fork_bomb_is_contained, out_of_memory_is_contained, handshake_is_checked,
        agent_survives_nonsense, kernel_is_quiet,
    ], powers_off, memory="512M", cpus=2, **KERNEL),
    Group("linux on one cpu", [
        one_cpu, vector_registers_survive, features, *test_disk.TESTS, kernel_is_quiet,
    ], panics, memory="256M", cpus=1, **test_disk.DISKS, **KERNEL),
    Group("linux in little memory", [it_is_linux], restarts, memory="64M", cpus=1, **KERNEL),
]
