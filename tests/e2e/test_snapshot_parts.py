#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a machine has outside of its memory, in snapshots: shared folders, changes of copy-on-write
ones, a disk, an image.

One sandbox has all of it but the image; the tests build on each other.
"""
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import harness
import oci
from harness import BOOT_S, LONG, OWN, RUN_S, at, check, equal, folder, good, read, refused, \
    start, tree, wait, write
from test_snapshots import flip, seal, section

# What goes on through all of this: a process that waits at a pipe, with files open in each share
# and on the disk, to which it writes each word that comes.
WORK = """
echo new >/w/added; echo changed >/w/a; rm /w/b; chmod 700 /w/d
ln /w/added /w/second; ln -s a /w/link; mkfifo /w/d/fifo; echo on the disk >/root/file
(exec 3>>/host/log 4>>/w/log 5>>/root/log 6<>/w/d/fifo; while read w <&6; do
 echo $w >&3; echo $w >&4; echo $w >&5; done) </dev/null >/dev/null 2>&1 &
echo first >/w/d/fifo
while ! [ -s /root/log ]; do sleep 0.1; done
"""
SEEN = "cat /w/a /w/added /root/file; ls /w /w/d; stat -c %h /w/added; " \
       "stat -c %a /w/d"
WAS = "changed\nnew\non the disk\n/w:\na\nadded\nd\nlink\nlog\nsecond\n\n/w/d:\nfifo\n" \
      "kept\n2\n700\n"


def sh(name, script):
    return good("exec", name, "--", "sh", "-c", script)


def goes_on(name, word, what):
    """What SEEN says, and the process of WORK writes the word in three places."""
    said = sh(name, f"{SEEN}; echo {word} >/w/d/fifo; n=0; until grep -q {word} /root/log || "
              "[ $n = 50 ]; do sleep 0.1; n=$((n+1)); done; tail -n 1 /w/log /root/log")
    equal(said, WAS + f"==> /w/log <==\n{word}\n\n==> /root/log <==\n{word}\n", what)
    equal(read("host", "log").split()[-1], word, what)


def test_a_1_a_snapshot_of_shares_and_a_disk():
    folder("host", log="")
    folder("lower", a="one\n", b="two\n")
    os.mkdir(at("lower/d"))
    write("lower/d/kept", "kept\n")
    good("create", "dev", "-v", at("host") + ":/host", "-v", at("lower") + ":/w:cow", "--disk",
         "32M", "--tmpfs", "/scratch")
    good("start", "dev", limit=BOOT_S)
    sh("dev", WORK)
    check("paused for" in good("snapshot", "create", "dev", "one"), "the report")
    check("verified" in good("snapshot", "inspect", "--verify", "dev/one"), "inspect")
    goes_on("dev", "saved", "the one that was saved")


def test_a_2_a_rollback_takes_all_of_it_back():
    sh("dev", "echo later >/w/a; rm -r /w/added /w/d; echo b >/w/b; "
       "echo gone >/root/file; sync")
    good("rollback", "--yes", "dev", "one")
    goes_on("dev", "back", "after the rollback")
    equal(read("lower", "a"), "one\n", "the host's file")
    equal(good("diff", "--list", "dev").split("\n")[:3],
          ["changed  a", "added    added", "deleted  b"], "the changes")


def test_a_3_a_rollback_that_cannot_be_changes_nothing():
    box = os.path.join(OWN, "state/sandbox/sandboxes/dev")
    good("snapshot", "create", "dev", "bad")
    refused("say --yes if it shall be done", "rollback", "dev", "bad", status=2)
    with open(os.path.join(box, "snapshots/bad/sums"), "r+b") as f:
        f.seek(4096)
        f.write(b"damage")
    refused("damaged", "rollback", "--yes", "dev", "bad")
    goes_on("dev", "refused", "after a refused rollback")
    # One that fails when the machine has ended already: what was on disk stays.
    good("snapshot", "rm", "--yes", "dev", "bad")
    good("snapshot", "create", "dev", "bad")
    with open(os.path.join(box, "snapshots/bad/state"), "r+b") as f:
        saved = f.read()
        f.seek(0)
        f.write(seal(flip(saved, section(saved, b"HOST")[0])))
    sh("dev", "echo later >/w/a; echo later >/root/file; sync")
    refused("from another processor", "rollback", "--yes", "dev", "bad")
    good("start", "dev", limit=BOOT_S)
    equal(sh("dev", "cat /w/a /root/file"), "later\nlater\n", "after a rollback that failed")
    equal([n for n in os.listdir(box) if ".new" in n or ".old" in n], [], "what is left")
    good("rollback", "--yes", "dev", "one")
    os.truncate(os.path.join(box, "snapshots/bad/state"), 60)
    listed = json.loads(good("snapshot", "ls", "--json", "dev"))
    check("truncated" in listed[0].pop("fault") and "fault" not in listed[1], f"{listed}")
    equal([s["name"] for s in listed], ["bad", "one"], "snapshots listed")
    good("snapshot", "rm", "--yes", "dev", "bad")


def test_a_4_the_keeper_serves_while_a_machine_is_saved():
    """Its file server stands still, so the save does; the next one waits for it."""
    server = json.loads(good("status", "--json", "dev"))[0]["keeper"]["server_pid"]
    os.kill(server, signal.SIGSTOP)
    try:
        two = [start("snapshot", "create", "dev", f"both{i}") for i in range(2)]
        box = os.path.join(OWN, "state/sandbox/sandboxes/dev/snapshots")
        wait(lambda: any(n.startswith("tmp-") and "fs" in os.listdir(os.path.join(box, n))
                         for n in os.listdir(box)), "the save comes to the server")
        check("reseeded" in good("logs", "--console", "dev"), "the keeper's answer")
        equal([p.poll() for p in two], [None, None], "the saves")
    finally:
        os.kill(server, signal.SIGCONT)
    equal([p.wait(60) for p in two], [0, 0], "the saves")
    good("snapshot", "rm", "--yes", "dev", "both0", "both1")


def hurt(part, offset=None, length=None):
    """One bit, or the end."""
    path = at("hurt", part)
    if length is not None:
        os.truncate(path, length)
        return
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 1]))


def test_a_5_each_part_that_is_damaged_is_named():
    """What a restore does not read to its end, a rollback does, which ends what runs."""
    one = os.path.join(OWN, "state/sandbox/sandboxes/dev/snapshots/one")
    (upper,) = os.listdir(os.path.join(one, "cow"))
    changed = f"cow/{upper}/tree/a"
    with open(os.path.join(one, "sums"), "rb") as f:
        page = next(i for i, word in enumerate(struct.iter_unpack("<I", f.read())) if word[0])
    size = {n: os.stat(os.path.join(one, n)).st_size for n in ("shares", "fs", "disk", "memory")}
    cases = [("its disk file is damaged", False, "disk", 5 << 20, None),
             ("its cow folder is damaged", False, changed, 3, None),
             ("its cow folder is damaged", False, changed, None, 1),
             (f"page {page} of its memory file is damaged", False, "memory", page << 12, None)]
    for part in ("shares", "fs"):
        cases += [(f"its {part} file is damaged", True, part, size[part] - 1, None),
                  (f"its {part} file has 4 bytes, not {size[part]}", True, part, None, 4)]
    for part in ("disk", "memory"):
        cases += [(f"its {part} file has {size[part] // 2} bytes, not {size[part]}", True, part,
                   None, size[part] // 2)]
    cases += [("its parts file: the state is damaged", True, "parts", 60, None),
              ("its parts file: the state is truncated", True, "parts", None, 60)]
    for sentence, at_once, *what in cases:
        subprocess.run(["cp", "-a", one, at("hurt")], check=True)
        hurt(*what)
        refused(sentence, "snapshot", "inspect", "--verify", at("hurt"))
        refused(sentence, "rollback", "--yes", "dev", at("hurt"))
        if at_once:
            refused(sentence, "run", "--from", at("hurt"), "--", "true", status=125)
        shutil.rmtree(at("hurt"))
    goes_on("dev", "unhurt", "after all of them")


def has_socket(p):
    fds = f"/proc/{p.pid}/fd"
    return any(os.readlink(os.path.join(fds, n)).startswith("socket:") for n in os.listdir(fds))


def waits_for_lock(path):
    """Somebody waits for the lock that this process has on that folder."""
    with open("/proc/locks", encoding="ascii") as f:
        return re.search(f"-> FLOCK .*:{os.stat(path).st_ino} ", f.read())


def test_a_6_commands_wait_for_a_rollback():
    """Those that asked before it began, and those that came when there was no machine."""
    one = os.path.join(OWN, "state/sandbox/sandboxes/dev/snapshots/one")
    was, lock = harness.monitor("dev"), os.open(one, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)     # as who removes it
        back = start("rollback", "--yes", "dev", "one")
        wait(lambda: waits_for_lock(one), "the rollback has come to the snapshot")
        before = [start("exec", "dev", "--", "cat", "/w/a"),
                  start("snapshot", "create", "dev", "s")]
        for p in before:
            wait(lambda p=p: has_socket(p), "it has asked")
        fcntl.flock(lock, fcntl.LOCK_SH)     # now neither it nor this one would be removed
        refused("a rollback to snapshot 'one' is under way", "snapshot", "rm", "--yes", "dev",
                "one", status=2)
    finally:
        os.close(lock)
    wait(lambda: not harness.alive(was), "the end of the machine that was")
    check(back.poll() is None, "the rollback is not over")
    after = [start("exec", "dev", "--", "cat", "/w/a"), start("snapshot", "create", "dev", "t")]
    said = [(p.args[1:3], p.communicate(timeout=RUN_S), p.returncode)
            for p in [back, *before, *after]]
    equal([s for s in said if s[2] or s[1][1]], [], "commands and a rollback")
    equal([said[1][1][0], said[3][1][0]], [b"changed\n"] * 2, "the share after the rollback")
    good("snapshot", "rm", "--yes", "dev", "s", "t")


def test_b_1_a_fork_has_changes_and_a_disk_of_its_own():
    equal(good("fork", "dev", "--prefix", "kid"), "kid-1\n", "fork")
    goes_on("kid-1", "kid", "the fork")
    sh("kid-1", "echo kid >/w/a; echo kid >/root/file; sync")
    goes_on("dev", "parent", "the parent")
    good("restart", "kid-1", limit=BOOT_S)
    equal(sh("kid-1", "cat /w/a /root/file; tail -n 1 /root/log; pidof sh | wc -w; "
                      "grep -c ' /scratch tmpfs' /proc/mounts"),
          "kid\nkid\nkid\n1\n1\n", "started again, it keeps its disk, and has what a start gives")
    good("rm", "-f", "kid-1")


def saved(name):
    """What of a snapshot has to be the same when it is saved again."""
    where = os.path.join(OWN, "state/sandbox/sandboxes/dev/snapshots", name)
    with open(os.path.join(where, "shares"), "rb") as f:
        return tree(os.path.join(where, "cow")), f.read()


def test_b_2_saved_restored_and_saved_again_it_is_the_same():
    sizes, before = [], "one"
    for i in range(10 if LONG else 3):
        good("rollback", "--yes", "dev", before)
        goes_on("dev", f"again{i}", f"generation {i}")
        good("snapshot", "create", "dev", f"gen{i}")
        equal(saved(f"gen{i}"), saved("one"), f"generation {i}")
        before, box = f"gen{i}", os.path.join(OWN, "state/sandbox/sandboxes/dev/snapshots")
        sizes.append([os.stat(os.path.join(box, before, n)).st_size for n in ("fs", "state")])
    check("verified" in good("snapshot", "inspect", "--verify", f"dev/{before}"), "the last one")
    for each in zip(*sizes):
        check(max(each) < 2 * min(each), f"sizes of fs and state: {sizes}")
    good("snapshot", "rm", "--yes", "dev", *(f"gen{i}" for i in range(len(sizes))))


def test_b_3_many_go_on_from_it_at_once():
    """Each with changes and a disk of its own."""
    script = "cat /w/a /root/file; echo $0 >/w/a; echo $0 >/root/file; cat /w/a /root/file"
    all_of = [start("run", "--from", "dev/one", "-v", at("lower") + ":/w:cow", "--", "sh", "-c",
                    script, str(i)) for i in range(20 if LONG else 4)]
    for i, p in enumerate(all_of):
        out, err = p.communicate(timeout=RUN_S)
        equal((p.returncode, out.decode(), err), (0, f"changed\non the disk\n{i}\n{i}\n", b""),
              f"number {i}")
    equal(read("lower", "a"), "one\n", "the host's file")


# Requests without an end: a line in each kind of share, and on the disk, then the next.
BUSY = """
(exec 3>>/host/busy 4>>/w/busy 5>>/root/busy; i=0; while :; do echo $i >&3; echo $i >&4;
 echo $i >&5; i=$((i+1)); done) </dev/null >/dev/null 2>&1 &
echo $! >/tmp/busy
until [ -s /root/busy ]; do sleep 0.1; done
"""


def writes_on():
    n = read("host", "busy").count("\n")
    wait(lambda: read("host", "busy").count("\n") > n + 2, "the next lines")


def test_b_4_requests_that_are_under_way_are_neither_lost_nor_done_twice():
    sh("dev", BUSY)
    good("snapshot", "create", "dev", "busy")
    writes_on()
    good("rollback", "--yes", "dev", "busy")
    writes_on()
    sh("dev", "kill $(cat /tmp/busy)")
    for name in ("/w/busy", "/root/busy"):       # taken back with the machine
        n = [int(w) for w in sh("dev", f"cat {name}").split()]
        check(len(n) > 2 and n == list(range(len(n))), f"{name}: {n[:9]}..{n[-9:]}")
    n = [int(w) for w in read("host", "busy").split()]
    (again,) = [i for i in range(1, len(n)) if n[i] != n[i - 1] + 1]
    check(n[:again] == list(range(again)) and n[again] <= again, f"/host/busy, which stays: {n}")
    check(n[again:] == list(range(n[again], n[-1] + 1)), f"/host/busy after the rollback: {n}")
    good("rollback", "--yes", "dev", "one")
    good("snapshot", "rm", "--yes", "dev", "busy")


def test_c_1_other_shares_can_be_given():
    folder("other", x="other\n")
    equal(good("run", "--from", "dev/one", "--", "sh", "-c", "cat /root/file; ls -A /host /w; "
               "echo x >/root/file"), "on the disk\n/host:\n\n/w:\n", "none given")
    equal(good("run", "--from", "dev/one", "-v", at("lower") + ":/w:cow", "-v", at("other") +
               ":/host:ro", "--", "sh", "-c", "cat /w/a /host/x; ls /host; echo x >/w/a; "
               "touch /host/y 2>/dev/null || echo ro"), "changed\nother\nx\nro\n", "others given")
    equal(read("lower", "a"), "one\n", "the host's file")
    refused("the disk that the saved machine has", "run", "--from", "dev/one", "--disk", "64M",
            "--", "true", status=125)
    equal(os.listdir(os.path.join(OWN, "state/sandbox/cow")), [], "what is left")


def test_c_2_a_rollback_shares_what_is_shared_now():
    good("attach", at("other") + ":/other", "--vm", "dev")
    good("detach", at("host"), "--vm", "dev")
    there = read("host", "log")
    good("rollback", "--yes", "dev", "one")
    equal(sh("dev", "cat /other/x; ls -A /host; cat /w/a; echo no >/w/d/fifo; until grep -q no "
             "/root/log; do sleep 0.1; done"), "other\nchanged\n", "shares after a rollback")
    equal(read("host", "log"), there, "what is shared no longer")
    good("detach", at("other"), "--vm", "dev")
    good("rm", "-f", "dev")


def test_d_an_image_in_snapshots():
    good("image", "import", "--name", "base", write("base.tar", oci.tar(oci.base())))
    good("create", "img", "--image", "base", "-v", at("other") + ":/other")
    good("start", "img", limit=BOOT_S)
    sh("img", "echo one >/file")
    good("snapshot", "create", "img", "one")
    sh("img", "echo two >/file")
    good("rollback", "--yes", "img", "one")
    equal(sh("img", "cat /file /other/x"), "one\nother\n", "rolled back")
    good("fork", "img", "--prefix", "kid")
    equal(sh("kid-1", "cat /file /other/x"), "one\nother\n", "the fork")
    equal(good("run", "--from", "img/one", "--", "sh", "-c", "cat /file"), "one\n", "run")
    good("image", "import", "--name", "empty", write("empty.tar", oci.tar([oci.plain("file")])))
    refused("another image", "run", "--from", "img/one", "--image", "empty", "--", "true",
            status=125)
    good("rm", "-f", "img", "kid-1")


if __name__ == "__main__":
    sys.exit(harness.main("snapshot parts", globals()))
