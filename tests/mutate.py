#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mutate.py [NAME...] - take each marked guard away, one at a time, and see a test die.

A guard is a line with `/* guard: NAME */` whose removal leaves C that compiles. Without names all
are tried; the unit tests are what has to fail: those of the guard's own file first, and if none of
them dies, all. Prints `ok`, or `not ok` for a guard that nothing misses. Works on a copy of the
tree, in a folder that is removed at the end.
MAKE_ARGS are passed to make, as in MAKE_ARGS='CC=ccache\\ gcc'.
"""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GUARD = re.compile(r"guard: ([\w-]+) \*/")
FOLDERS = ("vmm", "devices", "agent", "firmware", "cli")
SECONDS = 300
BUILD_SECONDS = 1800       # the whole tree, once


def guards():
    """(file, line number, name) of every one."""
    for folder in FOLDERS:
        for root, _, names in os.walk(os.path.join(TOP, folder)):
            for name in sorted(names):
                path = os.path.join(root, name)
                if not name.endswith(".c"):
                    continue
                with open(path, encoding="utf-8") as f:
                    for number, line in enumerate(f):
                        found = GUARD.search(line)
                        if found:
                            yield os.path.relpath(path, TOP), number, found.group(1)


def run(copy, *argv, seconds=SECONDS):
    """As subprocess.run(); at a timeout the tests' own processes end, too."""
    with subprocess.Popen(argv, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as p:
        try:
            out, err = p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(argv, p.returncode, out, err)


def dying(copy, suites):
    """Names of the tests in these suites that fail."""
    tested = run(copy, "build/unit", "-j2", "--filter", suites)
    return re.findall(r"^\[FAIL\] ([\w:]+):", tested.stdout + tested.stderr, re.M)


def make(copy):
    return run(copy, "make", "WERROR=0", "build/unit",
               *shlex.split(os.environ.get("MAKE_ARGS", "")), seconds=BUILD_SECONDS)


def missed(copy, path, number):
    """What happens without the line; None if nothing does."""
    full = os.path.join(copy, path)
    with open(full, encoding="utf-8") as f:
        lines = f.readlines()
    kept = lines[number]
    lines[number] = "\n"
    try:
        with open(full, "w", encoding="utf-8") as f:
            f.writelines(lines)
        built = make(copy)
        if built.returncode:
            return "it does not compile: " + built.stderr.strip().splitlines()[-1]
        own = os.path.basename(path)[:-2]
        try:
            died = dying(copy, own + "*/*") or dying(copy, own.split("_")[0] + "*/*") or \
                dying(copy, "*/*")
        except subprocess.TimeoutExpired:
            return "a test does not end"
        return f"{len(died)} tests die, such as {died[0]}" if died else None
    finally:
        lines[number] = kept
        with open(full, "w", encoding="utf-8") as f:
            f.writelines(lines)


def main():
    wanted = [g for g in guards() if not sys.argv[1:] or g[2] in sys.argv[1:]]
    if not wanted:
        sys.exit("there is no such guard")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "tree")
        shutil.copytree(TOP, copy, ignore=shutil.ignore_patterns("build*", ".git"), symlinks=True)
        if make(copy).returncode:
            sys.exit("the tree does not build")
        for path, number, name in wanted:
            what = missed(copy, path, number)
            bad = what is None or what.startswith("it does not")
            failed += bad
            print(f"{'not ok' if bad else 'ok'} guard {name} ({path}): "
                  f"{what or 'nobody misses it'}", flush=True)
    return 1 if failed else 0


sys.exit(main())
