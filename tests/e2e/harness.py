# SPDX-License-Identifier: Apache-2.0
"""What tests of the command on real machines have in common: a place of their own, the command
run in it, and the loop over a module's tests.

    from harness import SANDBOX, TOP, ENV, Failure, equal, check, sandbox, good, refused, start
    def test_something(): ...
    if __name__ == "__main__":
        sys.exit(harness.main("word", globals()))

A test is a function test_*, and fails by raising (verdict.py). Tests run in the order of the file;
digits or one letter after `test_` are for the order of what is printed nowhere. One that is called
test_long_* runs with TEST_LONG only. Arguments are parts of the names to run.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.dirname(HERE))
from verdict import Failure, NotHere, Report, check, equal  # noqa: E402

OUT = os.path.join(os.path.dirname(os.path.dirname(HERE)), os.environ.get("O", "build"))
SANDBOX = os.path.abspath(os.environ.get("SANDBOX", os.path.join(OUT, "sandbox")))
LONG = os.environ.get("TEST_LONG", "0") not in ("", "0")
BOOT_S = 600        # of a boot: half a minute where guest kernels are emulated, more under load
RUN_S = 240

# Whatever the caller's is: tests look at modes.
os.umask(int(os.environ.get("UMASK", "022"), 8))
# A folder for the test's files, and one for the program's own: what contains that is guarded.
TOP = os.path.realpath(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
OWN = os.path.realpath(tempfile.mkdtemp(prefix="e2e-own-", dir="/tmp"))
# The cache outlives the test: all tests restore the same templates.
ENV = dict(os.environ, XDG_CACHE_HOME=os.path.join(OUT, f"test-cache-{os.geteuid()}"),
           XDG_STATE_HOME=f"{OWN}/state", XDG_RUNTIME_DIR=f"{OWN}/run",
           XDG_CONFIG_HOME=f"{OWN}/config", XDG_DATA_HOME=f"{OWN}/data")


# ---- the command -----------------------------------------------------------------------------

def sandbox(*args, stdin=b"", limit=RUN_S, env=None, cwd=TOP, **more):
    """Run it to its end; bytes."""
    return subprocess.run([SANDBOX, *args], env={**ENV, **(env or {})}, cwd=cwd, input=stdin,
                          capture_output=True, timeout=limit, check=False, **more)


def good(*args, **more):
    """stdout of one that goes well and says nothing else."""
    r = sandbox(*args, **more)
    equal((r.returncode, r.stderr), (0, b""), f"{' '.join(args)[:200]}; status and stderr")
    return r.stdout.decode()


def refused(sentence, *args, status=1, **more):
    """It fails with that status, says so in one line, and prints nothing."""
    r = sandbox(*args, **more)
    text = r.stderr.decode()
    equal((r.returncode, r.stdout), (status, b""), f"{args}, which said {text!r}; status, stdout")
    check(sentence in text, f"{args} said {text!r}, not {sentence!r}")
    check(text.count("\n") == 1, f"{args} said more than one line: {text!r}")


def start(*args, cwd=TOP, stdin=subprocess.DEVNULL):
    return subprocess.Popen([SANDBOX, *args], env=ENV, cwd=cwd, stdin=stdin,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def state(name):
    return {s["name"]: s["state"] for s in json.loads(good("ls", "--json"))}.get(name)


def inspect(name):
    return json.loads(good("inspect", name))[0]


def monitor(name):
    """The process of that sandbox's machine."""
    with open(os.path.join(ENV["XDG_STATE_HOME"], f"sandbox/sandboxes/{name}/state"),
              encoding="utf-8") as f:
        return json.load(f)["monitor"]


def runtime():
    """What runs, or did, and was not swept."""
    path = os.path.join(ENV["XDG_RUNTIME_DIR"], "sandbox")
    return os.listdir(path) if os.path.isdir(path) else []


# ---- files and processes ---------------------------------------------------------------------

def at(*names):
    return os.path.join(TOP, *names)


def write(path, data):
    """@path may be one below TOP."""
    with open(at(path), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return at(path)


def read(*names):
    with open(at(*names), encoding="utf-8") as f:
        return f.read()


def folder(name, **files):
    os.makedirs(at(name))
    for file, text in files.items():
        write(os.path.join(name, file), text)
    return at(name)


def tree(path):
    return sorted(os.path.relpath(os.path.join(d, n), path) for d, ds, fs in os.walk(path)
                  for n in ds + fs)


def wait(until, what, seconds=RUN_S):
    end = time.monotonic() + seconds
    while not until():
        check(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.05)


def alive(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# ---- the loop --------------------------------------------------------------------------------

def title(name):
    return re.sub(r"^test_(long_)?(\d+[a-z]?_|[a-z]_\d+_|[yz]_)?", "", name).replace("_", " ")


def tidy():
    """Whatever a failed test left."""
    names = sandbox("ls", "-a", "-q").stdout.decode().split()
    if names:
        sandbox("rm", "-f", *names)
    for path in (TOP, OWN):
        subprocess.run(["chmod", "-R", "u+rwX", path], check=False)
        shutil.rmtree(path, ignore_errors=True)


def main(word, module, machines=lambda name: True, always=()):
    """Run @module's tests. @machines: does that one need a KVM? @always: names of tests that
    others build on, which are never left out."""
    report, words = Report(), sys.argv[1:]
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # of a time limit: tidy up first
    os.makedirs(ENV["XDG_CACHE_HOME"], exist_ok=True)
    os.mkdir(ENV["XDG_RUNTIME_DIR"], 0o700)
    try:
        for name, test in list(module.items()):
            if not name.startswith("test_") or (name.startswith("test_long_") and not LONG):
                continue
            if name not in always and not all(w in name for w in words):
                continue
            if machines(name) and not kvm:
                report.line("skip", f"{word}: {title(name)}", "/dev/kvm cannot be opened")
                continue
            report.run(f"{word}: {title(name)}", test)
    finally:
        tidy()
    return report.failed != 0
