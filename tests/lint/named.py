#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""named.py - each test that docs/threat-model.md names is there.

In the tables of "What must hold" and "By stage" a test is named in backquotes, its words with
spaces or, in front of a colon, its suite; a suite alone stands for all of it. Names are those that
test programs print, which are those of functions with spaces for their underscores.
"""
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WHERE = ("tests/unit/*.c", "tests/vm/*.py", "tests/vm/*.c", "tests/e2e/*.py", "tests/fs/*",
         "tests/jail/*")


def words():
    """All that the tests' sources hold, with spaces for underscores."""
    text = []
    for pattern in WHERE:
        for path in glob.glob(os.path.join(TOP, pattern)):
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text.append(f.read())
    return re.sub(r"[_\s]+", " ", "\n".join(text))


def named(page):
    """What is in backquotes in the two parts of the page."""
    for title in ("## What must hold", "### By stage"):
        part = page[page.index(title):]
        part = part[:part.index("\n#", 1)]
        for line in part.splitlines():
            cell = line.split(" | ")[-1] if line.startswith("| ") else ""
            yield from re.findall(r"`([^`]+)`", cell)


def main():
    with open(os.path.join(TOP, "docs/threat-model.md"), encoding="utf-8") as f:
        page = f.read()
    have, faults, n = words(), 0, 0
    for name in named(page):
        what = name.split(": ")[-1]
        n += 1
        plain = re.escape(what.replace("_", " "))
        found = rf"\b{plain}\b" if " " in what else rf"\bTest\({plain},"
        if not os.path.exists(os.path.join(TOP, what)) and not re.search(found, have):
            print(f"docs/threat-model.md: there is no test '{name}'")
            faults += 1
    if n < 40:
        print(f"docs/threat-model.md names only {n} tests where it should name more")
        faults += 1
    return 1 if faults else 0


sys.exit(main())
