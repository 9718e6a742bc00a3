#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Templates, snapshots, forks and rollbacks on real machines.

All machines come from one template, kept in the build folder between runs. Some are started
as `sandbox` does it, others as a bare sandbox-vmm with a control socket, where a test has to see
what the agent would have set right. With TEST_LONG there are 100 clones that must not be alike,
else 20.
"""
import ctypes
import json
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import harness
from harness import (BOOT_S, ENV, LONG, OUT, RUN_S, TOP, Failure, check, equal, good,
                     refused, sandbox, wait)
from test_jobs import LEAVE, Terminal

VMM = os.path.join(OUT, "sandbox-vmm")
GUESTCTL = os.path.join(OUT, "guestctl")
DIRTY = os.path.join(OUT, "tests/vm/dirty_pages")
CLONES = 100 if LONG else 20
TEMPLATE = ""       # the folder of the template


class Vm:
    """A monitor of our own, going on from a snapshot; no agent has been told anything."""

    def __init__(self, folder):
        self.dir = tempfile.mkdtemp(prefix="v", dir=TOP)
        self.socket = os.path.join(self.dir, "v")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        status_r, status_w = os.pipe()
        parent = os.pidfd_open(os.getpid())
        self.log = open(os.path.join(self.dir, "log"), "w+b")
        self.child = subprocess.Popen(
            [VMM, "--restore", folder, "--vsock", self.socket, "--status-fd", str(status_w),
             "--control-fd", str(theirs.fileno()), "--parent-fd", str(parent), "--jail", "none"],
            pass_fds=[status_w, theirs.fileno(), parent], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        for fd in (status_w, parent):
            os.close(fd)
        theirs.close()
        self.status = os.fdopen(status_r)
        line = self.status.readline()
        while line.startswith("jail"):
            line = self.status.readline()
        self.running = line.startswith("run ")
        self.line = line.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.status.close()
        self.control.close()
        self.log.close()
        shutil.rmtree(self.dir)

    def run(self, script, stdin=None):
        r = subprocess.run([GUESTCTL, self.socket, "exec", "--", "sh", "-c", script],
                           input=stdin if stdin is not None else b"", capture_output=True,
                           timeout=RUN_S, check=False)
        equal((r.returncode, r.stderr), (0, b""), f"{script!r} in the guest")
        return r.stdout.decode()

    def ask(self, folder, words):
        os.mkdir(folder)
        fds = [os.open(os.path.join(folder, n), os.O_RDWR | os.O_CREAT, 0o600)
               for n in ("state", "memory", "sums")]
        socket.send_fds(self.control, [words], fds)
        for fd in fds:
            os.close(fd)

    def save(self, folder, diff=False, base=None):
        """Answer of the monitor as a dict. A difference gets its base from there, else from the
        template."""
        self.ask(folder, b"snapshot diff" if diff else b"snapshot")
        words = self.control.recv(500).decode().split()
        equal(words[0], "ok", f"the answer {words}")
        answer = dict(w.split("=") for w in words[1:])
        if answer["kind"] == "diff":
            os.link(os.path.join(base or TEMPLATE, "memory"), os.path.join(folder, "base"))
            os.link(os.path.join(base or TEMPLATE, "sums"), os.path.join(folder, "base-sums"))
        return answer


def verify(folder):
    return good("snapshot", "inspect", "--verify", folder)


# ---- templates -----------------------------------------------------------------------------

def test_a_template_is_made_listed_and_verified():
    global TEMPLATE
    name = good("template", "build", limit=BOOT_S).strip()
    TEMPLATE = os.path.join(ENV["XDG_CACHE_HOME"], "sandbox", "templates", name)
    check(re.search(f"^{name} .* ready$", good("template", "ls"), re.M), "it is not listed")
    text = verify(TEMPLATE)
    check("kind       full" in text and "verified " in text, text)
    check("vsock rng console balloon" in text, "the devices")
    refused("say --yes if it shall be done", "template", "rm", name, status=2)
    refused("there is no template 'feed'", "template", "rm", "--yes", "feed")
    refused("none of ls, build, rm", "template", "lst", status=2)


def test_gc_removes_debris_and_leaves_what_is_of_use():
    root = os.path.dirname(TEMPLATE)
    for name in ("tmp-0123456789abcdef", "gone-0123456789abcdef-7"):
        os.mkdir(os.path.join(root, name))
        with open(os.path.join(root, name, "memory"), "w", encoding="ascii") as f:
            f.write("half")
    shutil.copytree(TEMPLATE, os.path.join(root, "0123456789abcdef"), ignore=lambda *_: ["memory"])
    with open(os.path.join(root, "0123456789abcdef", "key"), "a", encoding="ascii") as f:
        f.write("\n")
    with open(os.path.join(root, "0123456789abcdef", "key"), encoding="ascii") as f:
        text = f.read()
    with open(os.path.join(root, "0123456789abcdef", "key"), "w", encoding="ascii") as f:
        f.write(re.sub("monitor .*", "monitor of old", text))
    with open(os.path.join(root, "0123456789abcdef.lock"), "w", encoding="ascii"):
        pass
    check("stale" in good("template", "ls"), "one made with another monitor is not stale")
    check(re.fullmatch(r"[1-9]\d* removed of templates\n", good("gc")), "the report of gc")
    check(not os.path.exists(os.path.join(root, "0123456789abcdef")), "a stale one stays")
    check(os.path.isdir(TEMPLATE), "gc removed what is in use")
    equal([n for n in os.listdir(root) if n[:4] in ("tmp-", "gone") or n.endswith(".lock")],
          [], "debris")


# ---- what a clone must not share -------------------------------------------------------------

def test_the_kernel_of_a_clone_reseeds_before_anybody_tells_it_to():
    """threat-model.md 17: by the generation id alone; the agent's RESUME is left out."""
    seen = []
    for _ in range(2):
        with Vm(TEMPLATE) as vm:
            text = vm.run("cat /proc/sys/kernel/random/uuid; dmesg | grep -c 'crng reseeded "
                          "due to virtual machine fork'")
            seen += text.split()
    equal(seen[1::2], ["1", "1"], "lines of the kernel")
    check(seen[0] != seen[2], f"two clones drew {seen[0]}")


def clone_words():
    """What one clone says of itself; its clock as the difference to ours."""
    begin = time.time()
    r = sandbox("run", "--", "sh", "-c",     # few processes: each costs half a second
                "read a </proc/sys/kernel/random/uuid; read b </etc/machine-id; "
                "read c </proc/sys/kernel/random/uuid; echo $a $b $c; "
                "mktemp -u /tmp/XXXXXXXXXX; date +%s")
    end = time.time()
    words = r.stdout.decode().split()
    equal((r.returncode, r.stderr, len(words)), (0, b"", 5), f"a clone, which said {words}")
    late = max(begin - 1 - int(words[4]), int(words[4]) - end, 0)
    return words[:4], late


def test_clones_share_no_randomness_identity_name_or_time():
    """threat-model.md 17. Two at a time: this host may have no more processors."""
    found, faults, todo = [], [], list(range(CLONES))

    def work():
        while todo and not faults:
            todo.pop()
            try:
                found.append(clone_words())
            except (Failure, OSError, ValueError, subprocess.TimeoutExpired) as e:
                faults.append(e)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if faults:
        raise faults[0]
    words = [w for one, _ in found for w in one]
    equal(len(found), CLONES, "clones")
    equal(len(set(words)), len(words), "different words")
    equal([late for _, late in found if late > 1], [], "clocks that are wrong")


def test_twenty_restores_at_once():
    vms = []
    try:
        for _ in range(20):
            vms.append(Vm(TEMPLATE))
        equal([vm.line for vm in vms if not vm.running], [], "those that do not run")
        time.sleep(0.5)
        equal([vm.child.poll() for vm in vms if vm.child.poll() is not None], [], "ends")
    finally:
        for vm in vms:
            vm.__exit__()


# ---- named sandboxes -------------------------------------------------------------------------

# A timer and a pipeline, without a process for each tick, which would cost a second where guest
# kernels are emulated. A fifo that is open, and a terminal.
WORK = """
mkfifo /tmp/never /tmp/fifo
(exec 4<>/tmp/never; i=0; while :; do read -t 1 x <&4; i=$((i+1)); echo $i; done |
 while read x; do echo $x >/tmp/count; done) </dev/null >/dev/null 2>&1 &
(exec 3<>/dev/ptmx; cat /tmp/fifo >/tmp/out; cat <&3) </dev/null >/dev/null 2>&1 &
echo first >/tmp/file
while ! [ -s /tmp/count ]; do sleep 0.2; done
"""


# A shell with a terminal that nobody watches, and a timer in it.
TTY = "(sleep 10; echo late >/tmp/late) & while read w; do echo got $w; [ -t 0 ] && tty; done"


def goes_on_in_its_terminal(box, job, word):
    t = Terminal("exec", "attach", box, job)
    t.type(word + b"\n")
    t.until(b"got " + word + b"\r\n/dev/pts/")
    t.type(LEAVE)
    t.until(b"runs on")
    equal(t.end(), 0, f"status in {box}")


def test_snapshot_rollback_and_fork_of_a_working_sandbox():
    good("create", "dev")
    good("start", "dev")
    good("exec", "dev", "--", "sh", "-c", WORK)
    t = Terminal("exec", "-t", "dev", "--", "sh", "-c", TTY)
    t.type(b"begin\n")
    t.until(b"got begin")
    t.type(LEAVE)
    t.until(b"runs on")
    equal(t.end(), 0, "status of a terminal that was left")
    (job,) = [str(j["id"]) for j in json.loads(good("exec", "ls", "--json", "dev")) if j["tty"]]
    check(re.match(r"dev/one  diff, paused for ", good("snapshot", "create", "dev", "one")),
          "the report of a snapshot")
    check(" diff " in good("snapshot", "ls", "dev"), "snapshot ls")
    check("verified" in verify("dev/one"), "snapshot inspect")
    refused("there is a snapshot 'one' already", "snapshot", "create", "dev", "one", status=2)
    refused("is no name for a snapshot", "snapshot", "create", "dev", "../x", status=2)
    for name in ("tmp-1", "gone-1"):    # gc would take it for debris
        refused("those of unfinished ones begin like that", "snapshot", "create", "dev", name,
                status=2)
    refused("no snapshot 'two'", "run", "--from", "dev/two", "--", "true", status=125)
    refused("the saved machine has 128 MiB", "run", "--from", "dev/one", "-m", "256M", "--", "true",
            status=125)

    good("exec", "dev", "--", "sh", "-c", "echo second >/tmp/file; kill $(pidof cat)")
    good("rollback", "--yes", "dev", "one")
    script = "cat /tmp/file; echo through >/tmp/fifo; a=$(cat /tmp/count); sleep 3; " \
             "b=$(cat /tmp/count); [ $b -gt $a ] && echo goes on; cat /tmp/out; hostname"
    equal(good("exec", "dev", "--", "sh", "-c", script), "first\ngoes on\nthrough\ndev\n",
          "after the rollback: memory, a pipeline with timers, an open fifo")
    goes_on_in_its_terminal("dev", job, b"rolled-back")
    equal(good("run", "--from", "dev/one", "--", "cat", "/tmp/file"), "first\n", "run --from")

    equal(good("fork", "dev", "--count", "3", "--prefix", "kid"), "kid-1\nkid-2\nkid-3\n", "fork")
    said = [good("exec", n, "--", "sh", "-c", "hostname; cat /tmp/file /etc/machine-id "
                 "/proc/sys/kernel/random/uuid; pidof cat >/dev/null || echo cat is gone").split()
            for n in ("kid-1", "kid-2", "kid-3", "dev")]
    equal([s[:2] for s in said], [["kid-1", "first"], ["kid-2", "first"], ["kid-3", "first"],
                                  ["dev", "first"]], "names and memory")
    goes_on_in_its_terminal("kid-1", job, b"forked")
    equal(good("exec", "kid-1", "--", "sh", "-c", "until [ -s /tmp/late ]; do sleep 0.2; done; "
               "cat /tmp/late"), "late\n", "a timer that was set before the snapshot")
    equal(good("exec", "kid-1", "--", "sh", "-c", "a=$(cat /tmp/count); until [ $(cat /tmp/count) -gt "
               "$a ]; do sleep 0.5; done; echo goes on"), "goes on\n", "a pipeline in a fork")
    ids = [w for s in said for w in s[2:4]]
    equal(len(set(ids)), 8, "ids that differ")
    equal(good("fork", "kid-2", "--prefix", "again"), "again-1\n", "a fork of a fork")
    equal(good("exec", "again-1", "--", "cat", "/tmp/file"), "first\n", "a fork of a fork")
    folder = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes")
    equal(os.listdir(os.path.join(folder, "dev", "snapshots")), ["one"], "what a fork leaves")
    equal(os.stat(os.path.join(folder, "kid-1/snapshots/fork/base")).st_ino,
          os.stat(os.path.join(TEMPLATE, "memory")).st_ino, "they map the template's memory")
    refused("say --yes if it shall be done", "snapshot", "rm", "dev", "one", status=2)
    equal(good("snapshot", "rm", "--dry-run", "dev", "one"),
          "would remove snapshot 'one' of sandbox 'dev'\n", "--dry-run")
    good("snapshot", "rm", "--yes", "dev", "one")
    refused("has no snapshot 'one'", "snapshot", "rm", "--yes", "dev", "one")
    good("rm", "-f", "kid-1", "kid-2", "kid-3", "again-1", "dev")


# ---- the content of a snapshot -----------------------------------------------------------------

def start_writer(vm):
    with open(DIRTY, "rb") as f:
        vm.run("cat >/tmp/dp; chmod 755 /tmp/dp; cd /tmp; "
               "setsid ./dp 1200 /tmp/out >/tmp/said </dev/null 2>&1 & "
               "while ! grep -q writing /tmp/said 2>/dev/null; do sleep 0.2; done", f.read())


def stop_writer(vm):
    return vm.run("kill -TERM $(pidof dp); while ! [ -s /tmp/out ]; do sleep 0.2; done; "
                  "cat /tmp/out")


def test_memory_that_is_written_during_the_save_is_of_one_moment():
    """Two saves, one of them a difference, and one of a machine that came from that."""
    at = {n: os.path.join(TOP, n) for n in ("full", "diff", "again")}
    with Vm(TEMPLATE) as vm:
        start_writer(vm)
        full = vm.save(at["full"])
        diff = vm.save(at["diff"], diff=True)
        equal(full["kind"], "full", f"kind of {full}")
        equal(diff["kind"], "diff", f"kind of {diff}")
        check(stop_writer(vm).startswith("ok "), "the one that was saved")
    with Vm(at["full"]) as vm:
        check(stop_writer(vm).startswith("ok "), "a full snapshot")
    with Vm(at["diff"]) as vm:
        equal(vm.save(at["again"], diff=True)["kind"], "diff", "a difference of a difference")
        check(stop_writer(vm).startswith("ok "), "a snapshot of differences")
    with Vm(at["again"]) as vm:
        check(stop_writer(vm).startswith("ok "), "a difference of a difference")
    for folder in at.values():
        verify(folder)
        shutil.rmtree(folder)


def in_cache(path):
    """Pages of the file that are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "r+b") as f:
        pages = os.fstat(f.fileno()).st_size // 4096
        with mmap.mmap(f.fileno(), 0) as m:
            seen, first = (ctypes.c_ubyte * pages)(), ctypes.c_char.from_buffer(m)
            equal(libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(m)),
                               seen), 0, "mincore")
            del first
    return sum(b & 1 for b in seen)


def test_a_full_save_of_a_restored_machine_leaves_holes_alone():
    """Where no link to the template can be made, all is saved; what it has no data for, and the
    machine has not written, is neither read nor put into the page cache."""
    own, diff, full = (os.path.join(TOP, n) for n in ("own", "diff", "full"))
    subprocess.run(["cp", "-r", "--sparse=always", TEMPLATE, own], check=True)
    for source, files in ((own, ["memory"]), (diff, ["memory", "base"])):
        with Vm(source) as vm:
            vm.run("true")      # reads more of it
            files = [os.path.join(source, n) for n in files]
            before = [in_cache(f) for f in files]
            equal(vm.save(full)["kind"], "full", "what is saved")
            # With what is read ahead of data.
            for f, was, now in zip(files, before, [in_cache(f) for f in files]):
                check(now - was <= os.stat(f).st_blocks // 8, f"{f}: of {was} pages come {now}")
            verify(full)
            with Vm(full) as copy:
                equal(copy.run("echo alive"), "alive\n", f"saved from {source}")
            if source == own:
                equal(vm.save(diff, diff=True, base=own)["kind"], "diff", "what is saved next")
        shutil.rmtree(full)
    for folder in (diff, own):
        shutil.rmtree(folder)


def test_a_save_in_two_steps_stands_still_until_a_word():
    with Vm(TEMPLATE) as vm:
        for word, says in (("no", "error who asked gave it up"), ("hm", "error who asked"),
                           ("go", "ok pause=")):
            folder = os.path.join(TOP, word)
            vm.ask(folder, b"snapshot wait")
            equal(vm.control.recv(500), b"still", "the first answer")
            equal(os.stat(os.path.join(folder, "state")).st_size, 0, "the state so far")
            vm.control.send(word.encode())
            check(vm.control.recv(500).decode().startswith(says), f"the answer to {word}")
            equal(vm.run("echo alive"), "alive\n", f"after {word}")
        verify(os.path.join(TOP, "go"))
        vm.ask(os.path.join(TOP, "gone"), b"snapshot wait")
        vm.control.close()
        equal(vm.run("echo alive"), "alive\n", "after who asked has gone")


def own_memory(box):
    """As stats says it, and as the kernel does, where this user may look: bytes."""
    own = harness.inspect(box)["usage"]["private_bytes"]
    try:
        with open(f"/proc/{harness.monitor(box)}/smaps_rollup", encoding="ascii") as f:
            return own, int(re.search(r"^Private_Dirty: +(\d+) kB", f.read(), re.M).group(1)) << 10
    except PermissionError:
        return own, own


def test_memory_that_a_guest_frees_goes_back_to_the_host():
    """Free page reporting, by the guest's own kernel and without being asked. It keeps what is on
    its lists for each CPU, and blocks that are too small: a megabyte or two."""
    size = 8 << 20
    good("create", "mem")
    good("start", "mem")
    before = own_memory("mem")
    good("exec", "mem", "--", "sh", "-c", f"head -c {size} /dev/zero >/tmp/big")
    full = own_memory("mem")
    for b, f in zip(before, full):
        check(f - b > size * 3 / 4, f"{before} became {full}")
    good("exec", "mem", "--", "rm", "/tmp/big")
    wait(lambda: all(f - now > size / 2 for f, now in zip(full, own_memory("mem"))),
         f"{full} becomes less")
    good("rm", "-f", "mem")


def test_save_restore_save_ten_times_in_a_row_is_stable():
    folder, sizes = TEMPLATE, []
    for i in range(10):
        with Vm(folder) as vm:
            check(vm.running, f"generation {i}: {vm.line}")
            last, folder = folder, os.path.join(TOP, f"gen{i}")
            vm.save(folder, diff=True)
        if i:
            shutil.rmtree(last)
        sizes.append(os.stat(os.path.join(folder, "state")).st_size)
        stored = os.stat(os.path.join(folder, "memory")).st_blocks * 512
    check(max(sizes) < 2 * min(sizes), f"states of {sizes} bytes")
    check(stored < 16 << 20, f"the last one holds {stored} bytes")
    verify(folder)
    with Vm(folder) as vm:
        equal(vm.run("echo alive"), "alive\n", "the tenth")
    shutil.rmtree(folder)


# ---- what is refused -----------------------------------------------------------------------------

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def seal(state):
    return state[:12] + struct.pack("<I", crc32c(state[16:])) + state[16:]


def flip(state, at, bits=1):
    return state[:at] + bytes([state[at] ^ bits]) + state[at + 1:]


def section(state, tag):
    at = 24
    while at < len(state):
        length = struct.unpack_from("<Q", state, at + 8)[0]
        if state[at:at + 4] == tag:
            return at + 16, length
        at += 16 + (length + 7 & ~7)
    raise Failure(f"no section {tag}")


def test_what_is_damaged_foreign_or_of_another_version_is_refused():
    """threat-model.md 9."""
    with open(os.path.join(TEMPLATE, "state"), "rb") as f:
        state = f.read()
    host, shape = section(state, b"HOST")[0], section(state, b"SHAP")[0]

    cases = {
        "is truncated": state[:-8],
        "this is not a saved state": b"no" + state[2:],
        "its checksum does not match": flip(state, len(state) // 2),
        "format version 9": state[:8] + b"\x09" + state[9:],
        "from another processor": seal(flip(state, host)),
        "describes no machine that can be": seal(flip(state, shape + 7, 0x80)),
    }
    for i, (sentence, bad) in enumerate(cases.items()):
        folder = os.path.join(TOP, f"bad{i}")
        os.mkdir(folder)
        os.link(os.path.join(TEMPLATE, "memory"), os.path.join(folder, "memory"))
        with open(os.path.join(folder, "state"), "wb") as f:
            f.write(bad)
        with Vm(folder) as vm:
            check(not vm.running and sentence in vm.line, f"{sentence}: it said {vm.line!r}")
        shutil.rmtree(folder)


def test_a_wrong_page_is_found_and_a_wrong_size_refused():
    folder = os.path.join(TOP, "page")
    with Vm(TEMPLATE) as vm:
        vm.save(folder)
    verify(folder)
    with open(os.path.join(folder, "memory"), "r+b") as f:
        f.seek(0x1000000)
        byte = f.read(1)
        f.seek(0x1000000)
        f.write(bytes([byte[0] ^ 4]))
    refused("page 4096 of its memory file is damaged", "snapshot", "inspect", "--verify", folder)
    os.truncate(os.path.join(folder, "memory"), 1 << 20)
    refused("its memory file has 1048576 bytes, not 134217728", "snapshot", "inspect", folder)
    with Vm(folder) as vm:
        check("its memory file has" in vm.line, f"it said {vm.line!r}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(harness.main("snapshots", globals(),
                          always=("test_a_template_is_made_listed_and_verified",)))
