#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of whoever saves a machine, at every step of a save.

tests/jail/killat stops the processes of a sandbox at each system call that changes a file, and
kills one there. What was saved before stays as it was; what was to be is whole or not there.

With TEST_LONG all steps are taken, the sixteenth of pages that are written one after the other
among them, and at each all processes are killed, too. Otherwise those that are the first of their
kind by their program, and the last ones, where all is on disk and gets its name.
"""
import os
import sys
import threading
import harness
from harness import BOOT_S, LONG, OWN, at, check, equal, folder, good, sandbox, wait
from traced import Traced, chosen


def started(name):
    traced = Traced("start", name)
    equal(traced.line(), "started 0", f"start of {name}")
    return traced


def shares(name):
    folder(name, a="one\n", b="two\n")
    return ["-v", at(name) + ":/w:cow"]


def boxes(name):
    return os.path.join(OWN, "state/sandbox/sandboxes", name)


def verify(what):
    check("verified" in good("snapshot", "inspect", "--verify", what), what)


def names(box):
    return sorted(line.split()[0] for line in good("snapshot", "ls", box).splitlines()[1:])


def ended(box):
    """Nobody owns it any more."""
    wait(lambda: harness.state(box) in ("crashed", "stopped"), f"the end of {box}")


def kill_at(box, step, who):
    """One save that is killed before that step, if it comes to it."""
    traced = started(box)
    try:
        traced.arm(step, who)
        r = sandbox("snapshot", "create", box, "new")
        steps, killed = traced.end()
        what = f"{box}, killed at step {step} ({killed}) after {steps[-1:]}"
        if killed is None:
            equal((r.returncode, r.stderr), (0, b""), f"{what}; a save that nobody killed")
            good("stop", "-t", "0", box)
        else:
            check(r.returncode == 0 or r.stderr.count(b"\n") == 1, f"{what}: it said {r.stderr}")
            ended(box)
        verify(f"{box}/old")
        check(names(box) in (["old"], ["new", "old"]), f"{what}: there are {names(box)}")
        if "new" in names(box):
            verify(f"{box}/new")
            good("snapshot", "rm", "--yes", box, "new")
        else:
            check(r.returncode != 0, f"{what}: it is not there, but nobody said so")
        sandbox("gc")       # or that of the other thread, which has this box locked then
        kept = os.path.join(boxes(box), "snapshots")
        wait(lambda: os.listdir(kept) == ["old"], f"{what}: after gc {os.listdir(kept)}")
    finally:
        traced.close()


def in_two(two, kill, steps):
    """Which steps there are may change a little from time to time."""
    faults = []
    check(len(steps) > 6, f"only {len(steps)} steps")

    def work(box):
        try:
            while steps and not faults:
                kill(box, steps.pop(0))
        except Exception as e:      # whatever it is, the other one has to end
            faults.append(e)

    threads = [threading.Thread(target=work, args=(box,)) for box in two]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if faults:
        raise faults[0]


def prepare(box):
    """Saved once; what that takes."""
    good("create", box, *shares("w-" + box), "--disk", "32M")
    good("start", box, limit=BOOT_S)
    good("exec", box, "--", "sh", "-c", "echo x >/w/a; echo y >/root/y; sync")
    good("stop", "-t", "10", box)
    traced = started(box)
    try:
        traced.arm(0)
        good("snapshot", "create", box, "old")
        steps = traced.end()[0]
        good("stop", "-t", "0", box)
        return steps
    finally:
        traced.close()


def test_a_saver_that_is_killed_at_any_step_leaves_the_old_snapshot_and_none_or_a_whole_one():
    steps = [prepare(box) for box in ("odd", "even")][0]
    for program in ("exe", "sandbox-vmm", "sandbox-fsd"):
        check(any(s.startswith(program + " ") for s in steps), f"no step of {program}: {steps}")
    for who in ("", "all") if LONG else ("",):
        in_two(("odd", "even"), lambda box, step, who=who: kill_at(box, step, who), chosen(steps))
    good("rm", "-f", "odd", "even")


# ---- rollback ----------------------------------------------------------------------------------

AFTER = "echo after >/w/a; echo on-disk-after >/root/y; sync"


def on_disk(box):
    """What it has of before, of each part; that there is nothing half-made."""
    text = good("diff", box)        # finishes what a killed rollback began, as a start does
    with open(os.path.join(boxes(box), "disk"), "rb") as f:
        disk = b"on-disk-after" not in f.read()
    check(("+x" in text) != ("+after" in text), f"the share is neither: {text}")
    equal([n for n in os.listdir(boxes(box)) if n.endswith((".new", ".old", ".gone"))], [],
          "what is left")
    return ["+x" in text, disk]


def change(box):
    good("start", box)
    good("exec", box, "--", "sh", "-c", AFTER)
    good("stop", "-t", "10", box)


def kill_rollback_at(box, step):
    traced = started(box)
    try:
        traced.arm(step)
        r = sandbox("rollback", "--yes", box, "old")
        steps, killed = traced.end()
        what = f"rollback killed at step {step} ({killed}) after {steps[-1:]}"
        sandbox("stop", "-t", "0", box)
        ended(box)
        before = on_disk(box)
        equal(before[0], before[1], f"{what}: share and disk are of before")
        check(before[0] or r.returncode != 0, f"{what}: status 0, but it was not done")
        check(killed or before[0], f"{what}: nobody killed it, but it was not done")
    finally:
        traced.close()
    if before[0]:
        change(box)


def test_a_rollback_that_is_killed_at_any_step_is_done_or_not_done():
    for box in ("left", "right"):
        prepare(box)
        change(box)
        traced = started(box)
        traced.arm(0)
        good("rollback", "--yes", box, "old")
        steps = traced.end()[0]
        good("stop", "-t", "10", box)
        traced.close()
        change(box)
    in_two(("left", "right"), kill_rollback_at, chosen(steps) if LONG else
           [n for n, s in enumerate(steps, 1) if "rename" in s])
    good("rm", "-f", "left", "right")


if __name__ == "__main__":
    sys.exit(harness.main("saver", globals()))
