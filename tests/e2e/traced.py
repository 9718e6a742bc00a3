# SPDX-License-Identifier: Apache-2.0
"""A command of which some process is killed at an exact step: tests/jail/killat, from Python."""
import os
import subprocess
from harness import ENV, LONG, OUT, SANDBOX, TOP, Failure, equal

LAST = 7
KILLAT = os.path.join(OUT, "tests/jail/killat")


class Traced:
    """A command, and all processes that come of it. With @at it is armed from the beginning."""

    def __init__(self, *args, at=None, **more):
        every = ["-e", "16" if LONG else "1000"]
        now = [] if at is None else ["-n", str(at)]
        self.child = subprocess.Popen([KILLAT, *every, *now, SANDBOX, *args], env=ENV, cwd=TOP,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      bufsize=1, **more)

    def line(self):
        return self.child.stdout.readline().strip()

    def tell(self, words):
        self.child.stdin.write(words + "\n")

    def arm(self, step, who=""):
        self.tell(f"arm {step} {who}")
        equal(self.line(), "armed", "the answer of killat")

    def steps(self, *last):
        """Up to a line that begins with one of those words: the steps that were made, the one
        that was not, or None, and that line's words."""
        made, killed = [], None
        for line in self.child.stdout:
            word, number, *rest = line.split()
            if word == "step":
                made.append(" ".join(rest))
            elif word == "killed":
                killed = " ".join(rest)
            elif word in last:
                return made, killed, [word, number]
        raise Failure("killat ended")

    def end(self):
        """The steps that were made, and the one that was not, or None."""
        self.tell("end")
        return self.steps("end")[:2]

    def left(self):
        """How many processes of it live."""
        self.tell("left")
        return int(self.steps("left")[2][1])

    def close(self):
        self.child.stdin.close()
        self.child.wait(100)
        self.child.stdout.close()


def chosen(steps, last=LAST):
    """Numbers of steps, from 1 on."""
    if LONG:
        return list(range(1, len(steps) + 2))
    return [n for n, s in enumerate(steps, 1)
            if n > len(steps) - last or s not in steps[:n - 1]]
