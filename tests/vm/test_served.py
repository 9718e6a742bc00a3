# SPDX-License-Identifier: Apache-2.0
"""A hostile guest (hostile_disk.c, hostile_shares.c) whose disks are files and whose shared folders
have a server: what it says is the disks' and the server's own protocol, broken. Each case is a
machine of its own, checked as in test_hostile.py; so is the server. Nothing but what the guest
may write is written to."""
import os
import re
import signal
from harness import Failure, check, equal
from served import FIRST, Served, number
from test_hostile import NEEDS_RESET, SEED, attack, nothing, wait_for

EIO = 5
HEADS = 128


class Found:
    """What the guest told of its slots: slot -> word -> numbers, in order."""

    def __init__(self, text):
        self.text, self.slots = text, {}
        for slot, word, value in re.findall(r"^slot (\d+) (\w+) (\d+)$", text, re.M):
            self.slots.setdefault(int(slot), {}).setdefault(word, []).append(int(value))
        equal([s for s, words in self.slots.items() if "unanswered" in words], [],
              f"{text[-2000:]}; slots that left requests unanswered")

    def of(self, word):
        """Of each slot that told of it."""
        return [words[word] for words in self.slots.values() if word in words]

    def has(self, *texts):
        for t in texts:
            check(t in self.text, f"nobody said {t!r}; {self.text[-3000:]}")


def run(served, meanwhile=nothing, killed=False):
    """The attack: what the guest found, and the slots as the monitor counted."""
    def running():
        served.server.theirs.close()        # the monitor's alone from now on
        meanwhile()

    text, slots = attack(served.vm, running, nothing if killed else served.server.is_well)
    check("is dead" not in text, f"a neighbour died; {text[-3000:]}")
    if not killed:
        equal(served.server.end(), (0, ""), "status and words of the server")
    return Found(text), slots


def counted(slots, name):
    return [broken for n, _, broken in slots.values() if n == name]


def failed(slots, name):
    return [bool(status & NEEDS_RESET) for n, status, _ in slots.values() if n == name]


# ---- disks

def disk_rules(vmm):
    with Served("disk_rules", vmm) as s:
        found, slots = run(s)
        equal(found.of("missing"), [[0], [0]], f"{found.slots}; requests answered otherwise")
        equal(found.of("serves"), [[number(FIRST["root"])], [number(FIRST["disk"])]], "serves")
        found.has("blk: the guest broke a rule: a request without room for its status")
        equal(counted(slots, "blk"), [4, 4], "rules broken: one for each queue")
        with open(s.path("disk"), "rb") as f:
            equal(f.read().strip(b"\0"), FIRST["disk"], "what is on the disk")
    return f"{found.of('refused')} refused"


def disk_twice(vmm):
    with Served("disk_twice", vmm, limits=",iops=20") as s:
        found, slots = run(s)
        equal(found.of("needs"), [[NEEDS_RESET]], f"{found.slots}; status")
        found.has("blk: the guest broke a rule: head in flight twice", "alive meanwhile")
        equal(counted(slots, "blk"), [0, 1], "rules broken")
        equal(found.of("serves"), [[number(FIRST["disk"])]], "the disk, after a reset")


def disk_in_flight(case):
    def test(vmm):
        with Served(case, vmm) as s:
            found, slots = run(s)
            equal(counted(slots, "blk"), [0, 0], "rules broken")
            equal(found.of("serves"), [[number(FIRST["root"])], [number(FIRST["disk"])]], "serves")
            return found
    test.__name__ = case
    return test


def disk_resets(vmm):
    found = disk_in_flight("disk_resets")(vmm)
    equal(found.of("answered"), [[HEADS] * 4] * 2, "answered on each queue after the last reset")


def disk_flood(vmm):
    found = disk_in_flight("disk_flood")(vmm)
    equal(found.of("answered"), [[6 * HEADS]] * 2, "answered on the first queue")
    equal(found.text.count("alive meanwhile\n"), 12, "times that the neighbour worked")


# ---- shared folders

def serves_shares(found):
    equal(found.of("serves"), [[number(FIRST["ro"])]], f"{found.text[-2000:]}; serves")


def shares_malformed(vmm):
    with Served("shares_malformed", vmm) as s:
        found, slots = run(s)
        # Those that are longer than a slot, or shorter than a header, never reach the server.
        found.has("fs: the guest broke a rule: a request shorter than its header",
                  "fs: the guest broke a rule: a request longer than a slot")
        equal(found.of("error"), [[EIO, EIO]], "too long a request")
        equal(found.of("room"), [[120, 120]], "length of a reply with more room than a slot has")
        check(counted(slots, "fs")[0] >= 8, f"{counted(slots, 'fs')} rules broken")
        serves_shares(found)
        equal(failed(slots, "fs"), [False], "needs a reset")
    return f"{counted(slots, 'fs')[0]} rules broken"


def shares_random(vmm):
    try:
        with Served("shares_random", vmm, SEED) as s:
            found, slots = run(s)
            equal(found.of("init"), [[0]], "FUSE_INIT")
            good = found.of("good")[0][0]
            check(good > 50, f"only {good} requests were understood")
            serves_shares(found)
            equal(failed(slots, "fs"), [False], "needs a reset")
    except Failure as e:
        raise Failure(f"SEED={SEED}: {e}") from e
    return f"SEED={SEED}, {good} requests were understood"


def shares_flood(vmm):
    with Served("shares_flood", vmm) as s:
        found, slots = run(s)
        equal((found.of("good"), found.of("failed")), ([[HEADS]], [[0]]), "replies of the last")
        equal(found.text.count("alive meanwhile\n"), 4, "times that the neighbour worked")
        serves_shares(found)
        equal(counted(slots, "fs"), [0], "rules broken")


def shares_resets(vmm):
    with Served("shares_resets", vmm) as s:
        found, slots = run(s)
        equal((found.of("good"), found.of("failed")), ([[HEADS]], [[0]]), "replies at the end")
        serves_shares(found)
        equal(failed(slots, "fs"), [False], "needs a reset")


def shares_stalled(vmm):
    """The server stops, with all slots; resets go on, and the machine when it does."""
    with Served("shares_stalled", vmm) as s:
        os.kill(s.server.child.pid, signal.SIGSTOP)

        def meanwhile():
            wait_for(s.vm, "flood")
            os.kill(s.server.child.pid, signal.SIGCONT)

        found, _ = run(s, meanwhile)
        equal(found.of("stalled"), [[0, 0]], "answered while it stood still")
        equal(found.of("stale"), [[HEADS]], "answered after a reset, when it went on")
        serves_shares(found)
        equal(found.text.count("alive meanwhile\n"), 2, "times that the neighbour worked")


def shares_orphaned(vmm):
    """The server is killed under load: errors, at once and from then on, and nothing else."""
    with Served("shares_orphaned", vmm) as s:
        def meanwhile():
            wait_for(s.vm, "alive meanwhile")
            s.server.child.kill()

        found, slots = run(s, meanwhile, killed=True)
        found.has("fs: the server has ended; shared folders give I/O errors from now on")
        equal(found.of("serves"), [[EIO]], "error without a server")
        equal(found.of("failed")[0][1:], [HEADS] * 8, "errors, after resets")
        equal((counted(slots, "fs"), failed(slots, "fs")), ([0], [False]), "rules broken, reset")


# ---- what test_hostile.py does, with all of this there

def with_backing(case):
    def test(vmm):
        try:
            with Served(case, vmm, SEED) as s:
                _, slots = run(s)
        except Failure as e:
            raise Failure(f"SEED={SEED}: {e}") from e
        return f"{len(slots)} slots, {sum(n for _, _, n in slots.values())} rules broken"
    test.__name__ = f"{case}_with_files_and_a_server"
    return test


TESTS = [disk_rules, disk_twice, disk_resets, disk_flood, shares_malformed, shares_random,
         shares_flood, shares_resets, shares_stalled, shares_orphaned]
TESTS += [with_backing(c) for c in ("random_rings", "reset_storm")]
