#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of any process of a sandbox, at exact steps of each verb's life.

For each step that changes a file, whichever process makes it: the command ends and says what
happened, no process stays that nobody owns, and what is left of it in folders goes with the next
command. test_saver.py does the same for what is saved, test_life.py at moments that are random.

With TEST_LONG all steps are taken, otherwise those that are the first of their kind by program,
and the last ones.
"""
import os
import signal
import subprocess
import sys
import harness
from harness import BOOT_S, OWN, TOP, at, check, equal, folder, good, sandbox, state, wait
from traced import Traced, chosen

STORE = os.path.join(OWN, "state/sandbox")
SELF = "sandbox"        # the program of the command itself


def left_behind():
    """What is in folders or mounted and belongs to nobody."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        found = [line for line in f if OWN in line or TOP in line]
    for where in ("cow", "run", "sandboxes"):
        path = os.path.join(STORE, where)
        found += [f"{where}/{n}" for n in (os.listdir(path) if os.path.isdir(path) else [])
                  if where != "sandboxes" or n.startswith(".")]
    return found + harness.runtime()


def traced(step, *args):
    """Run it, armed; (status, sentence, steps, killed). Whoever is left has to end by itself."""
    t = Traced(*args, at=step, stderr=subprocess.PIPE)
    try:
        made, killed, (word, number) = t.steps("started", "failed")
        status = 0 if word == "started" else os.waitstatus_to_exitcode(int(number))
        return t, status, made, killed
    except BaseException:
        t.close()
        raise


def sentence(t):
    """What it said, after its end."""
    t.close()
    with t.child.stderr:
        return t.child.stderr.read()


def reported(what, status, said, killed):
    """Whoever lost one of its processes says so, in one sentence; whoever was killed cannot."""
    if status == -signal.SIGKILL:
        check(killed, f"{what}: killed, but by whom?")
    elif status:
        equal(said.count("\n"), 1, f"{what}: status {status}, and it said {said!r}; sentences")
    else:
        equal(said, "", f"{what}: status 0, and it said")


def swept(what):
    good("gc")
    wait(lambda: not left_behind(), f"{what}: left behind {left_behind()}")


# ---- run: all that there is goes with it -------------------------------------------------------

RUN = ["run", "--", "true"]


def run_killed_at(step):
    t, status, made, killed = traced(step, *RUN)
    what = f"run killed at step {step} ({killed}) after {made[-1:]}"
    try:
        wait(lambda: t.left() == 0, f"{what}: the end of all processes", 100)
    finally:
        said = sentence(t)
    reported(what, status, said, killed)
    check(status in (0, 125, -signal.SIGKILL), f"{what}: status {status}")
    if killed and not killed.startswith(SELF + " "):
        check(status != -signal.SIGKILL, f"{what}: the command was killed instead")
    swept(what)
    return made


def test_a_run_of_which_a_process_is_killed_leaves_nothing():
    RUN[1:1] = ["-v", folder("shared", a="1\n") + ":/w:cow"]
    good(*RUN, limit=BOOT_S)
    steps = run_killed_at(0)
    for program in (SELF, "sandbox-vmm", "sandbox-fsd"):
        check(any(s.startswith(program + " ") for s in steps), f"no step of {program}: {steps}")
    for step in chosen(steps, 2):
        run_killed_at(step)
    with open(at("shared", "a"), encoding="utf-8") as f:
        equal(f.read(), "1\n", "the folder of the host")


# ---- verbs of named sandboxes ------------------------------------------------------------------

def usable(what, name):
    """Whatever became of it, it can be made, started and used, or removed at least."""
    check(state(name) in (None, "created", "starting", "running", "stopped", "crashed"),
          f"{what}: it is {state(name)}")
    sandbox("rm", "-f", name)
    wait(lambda: state(name) is None, f"{what}: {name} goes")
    swept(what)


def verb_killed_at(step, prepare, *verb):
    for words in prepare:
        good(*words)
    t, status, made, killed = traced(step, *verb)
    what = f"{verb[0]} killed at step {step} ({killed}) after {made[-1:]}"
    try:
        if status == 0 and verb[0] == "start":
            r = sandbox("exec", "box", "--", "echo", "x")
            if r.returncode == 0:
                equal(r.stdout, b"x\n", f"{what}: it runs")
            else:
                equal(r.stderr.count(b"\n"), 1, f"{what}: {r.stderr!r}; sentences")
        usable(what, "box")
        wait(lambda: t.left() == 0, f"{what}: the end of all processes", 100)
    finally:
        said = sentence(t)
    reported(what, status, said, killed)
    return made


def each_step(prepare, *verb):
    steps = verb_killed_at(0, prepare, *verb)
    for step in chosen(steps, 2):
        verb_killed_at(step, prepare, *verb)


CREATE = ["create", "box", "--disk", "32M"]


def test_create_start_and_rm_of_which_a_process_is_killed_leave_nothing():
    each_step([], *CREATE)
    each_step([CREATE], "rm", "-f", "box")
    each_step([CREATE], "start", "box")


if __name__ == "__main__":
    sys.exit(harness.main("killed", globals()))
