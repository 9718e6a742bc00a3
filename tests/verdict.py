# SPDX-License-Identifier: Apache-2.0
"""What a test found, and the line that tells it (docs/testing.md): a test is a function that fails
by raising, or raises Skip."""
import threading
import time
import traceback


class Failure(AssertionError):
    """What a test found."""


class Skip(Exception):
    """Why a test could not run."""


class NotHere(Skip):
    """What the host lacks that the test needs, other than a KVM."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def equal(got, want, what):
    check(got == want, f"{what}: got {got!r}, not {want!r}")


class Report:
    """Prints a line for each test, from any thread, and counts those that failed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.failed = 0

    def line(self, word, name, text=""):
        with self.lock:
            self.failed += word == "not ok"
            print(f"{word} {name}{': ' if text else ''}{text}", flush=True)

    def run(self, name, test, *args):
        """False when it failed. What it returns, if anything, is told too."""
        begin = time.monotonic()
        try:
            text = test(*args)
        except Skip as e:
            self.line("skip", name, "not here: " * isinstance(e, NotHere) + str(e))
            return True
        except Failure as e:
            self.line("not ok", name, str(e))
            return False
        except Exception as e:      # whatever it is, the other tests can still say something
            traceback.print_exc()
            self.line("not ok", name, f"{type(e).__name__}: {e}")
            return False
        self.line("ok", f"{name}{f': {text}' if text else ''}, {time.monotonic() - begin:.1f} s")
        return True
