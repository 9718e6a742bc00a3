#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of named sandboxes: limits that hold, configuration, what is refused before anything
starts, what is told, many at once, and processes that are killed at any moment.

KILLS=N is how many processes the fuzz kills (8, or 100 with TEST_LONG), MANY=N how many sandboxes
are started from one template (4, or 30).
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import harness
import scenario
from harness import (BOOT_S, ENV, LONG, RUN_S, alive, at, check, equal, folder, good, inspect,
                     read, refused, runtime, sandbox, start, state, wait, write)

KILLS = int(os.environ.get("KILLS", "100" if LONG else "8"))
MANY = int(os.environ.get("MANY", "30" if LONG else "4"))
BOXES = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes")
CONFIG = os.path.join(ENV["XDG_CONFIG_HOME"], "sandbox/config")
UNITS = os.path.join(ENV["XDG_CONFIG_HOME"], "systemd/user")

# ---- what needs no machine ----------------------------------------------------------------------

DRY = [         # every verb that changes something, and what it says
    (["create", "new"], "would create sandbox 'new'"),
    (["start", "box"], "would start sandbox 'box'"),
    (["stop", "box"], "would stop sandbox 'box'"),
    (["restart", "box"], "would start sandbox 'box'"),
    (["rm", "box"], "would remove sandbox 'box'"), (["gc"], "would remove "),
    (["update", "box", "-m", "96M"],
     "would configure sandbox 'box' as\nenv = A=1\nmemory = 96M"),
    (["config", "set", "box", "cpus=1"], "would configure sandbox 'box' as"),
    (["config", "set", "cpus=1"], "would set in [defaults] of "),
    (["attach", "--vm", "box", "DIR"], "would attach DIR:DIR:rw,cache=auto to sandbox 'box'"),
    (["detach", "--vm", "box", "DIR"], "would detach DIR from sandbox 'box'"),
    (["template", "build"], "would make "),
    (["apply", "box"], ""), (["discard", "box"], ""),
]


def everything():
    """What is kept, as a text to compare. Sweeping locks and last uses are nobody's business."""
    found = []
    for top in (ENV["XDG_STATE_HOME"], ENV["XDG_CONFIG_HOME"], at("dir")):
        for path, dirs, files in os.walk(top):
            dirs.sort()
            for f in sorted(files):
                if not f.endswith(".lock"):
                    with open(os.path.join(path, f), "rb") as data:
                        found.append((os.path.join(path, f), data.read()))
    return found


def test_00_a_dry_run_says_what_would_be_done_and_changes_nothing():
    d = folder("dir", a="1\n")
    good("create", "box", "-e", "A=1")
    before = everything()
    for args, text in DRY:
        args = [a.replace("DIR", d) for a in args]
        out = good(*args, "--dry-run")
        check(out.startswith(text.replace("DIR", d)), f"{args} --dry-run said {out!r}")
        equal(everything(), before, f"{args} --dry-run; what is kept")


def test_00_json_is_json_whatever_the_verb():
    d = at("dir")
    for args in (["ls"], ["ps"], ["status"], ["status", "box"], ["stats"], ["inspect", "box"],
                 ["config", "show"], ["config", "show", "box"], ["config", "paths"],
                 ["gc", "--dry-run"], ["diff", "box"], ["apply", "box"], ["discard", "box"],
                 ["stop", "box"],
                 ["update", "box", "-e", "B=2"], ["attach", "--vm", "box", d],
                 ["snapshot", "ls", "box"], ["template", "ls"],
                 ["image", "ls"], ["start", "--dry-run", "box"], ["restart", "--dry-run", "box"]):
        for place in (1, len(args)):    # flags are flags, wherever they stand
            out = good(*args[:place], "--json", *args[place:])
            check(isinstance(json.loads(out), (dict, list)), f"{args}: {out!r}")
    for args in (["create", "--json", "new"], ["rm", "--yes", "new", "--json"],
                 ["detach", "--vm", "box", d, "--json"]):
        check(isinstance(json.loads(good(*args)), (dict, list)), f"{args}")
    for line in good("logs", "--json", "box").splitlines():
        check("event" in json.loads(line), line)
    refused("has no snapshot 'x'", "snapshot", "rm", "box", "x", "--yes")
    refused("there is no image 'x'", "image", "rm", "x", "--yes")


def test_00_statuses_are_the_same_for_all_verbs():
    """2 is called wrongly or refused, 1 any other failure; 125 is exec's and run's."""
    for verb in ("start", "stop", "restart", "rm", "logs", "status", "update", "diff",
                 "apply", "discard"):
        yes = ["--yes"] if verb in ("rm", "discard") else []
        refused("there is no sandbox named 'nobody'", verb, *yes, "nobody", status=1)
        refused("is no name for a sandbox", verb, *yes, "../x", status=2)
        refused(f"{verb}: there is no flag --nonsense", verb, "--nonsense", "box", status=2)
    for verb in ("exec", "run"):
        refused("there is no flag --nonsense", verb, "--nonsense", "box", "true", status=125)
    refused("does not run (created)", "exec", "box", "--", "true", status=125)
    refused("this would remove box and all that is kept of it", "rm", "box", status=2)


def test_01_what_the_host_cannot_give_is_refused_before_anything_is_made():
    """With what was asked for, and what there is."""
    mine = len(os.sched_getaffinity(0))
    for args, asked, there in (
            (["-m", "9000g"], "9000g asked for", "this host has "),
            (["--cpus", "31.5"], "31.5 asked for", f"this host has {mine}"),
            (["--cpus", "0.001"], "0.001 asked for", "at least 0.01"),
            (["--disk", "15t"], "15 TiB asked for", " are free at "),
            (["--pin", "1000"], "1000 asked for", "this process may use "),
            (["--pin", "x"], "'x' is not a list of CPUs", ""),
            (["--network", "public"], "'public' is not in this version", ""),
            (["-v", "/no/such:/w"], "there is no folder /no/such", "")):
        if "31.5" in args and mine >= 32:
            continue
        for verb in (["create", "big"], ["update", "box"], ["run", "--name", "big"], ["run"]):
            end = ["--", "true"] if verb[0] == "run" else []
            r = sandbox(*verb, *args, *end)
            text = r.stderr.decode()
            if verb[0] == "update" and "--disk" in args:
                continue        # what is there keeps its size; the rest is the disk's own affair
            equal((r.returncode, r.stdout), (125 if end else 2, b""), f"{verb} {args}: {text}")
            check(asked in text and there in text, f"{verb} {args} said {text!r}")
    refused("already a sandbox named 'box'", "create", "box", status=2)
    refused("--ttl is for a sandbox that is kept", "run", "--ttl", "5s", "--", "true", status=125)
    equal(sorted(os.listdir(BOXES)), ["box"], "the store")
    equal(runtime(), [], "sockets")


def test_01_a_start_is_refused_as_a_whole_when_the_host_has_become_smaller():
    """What was possible when the sandbox was made need not be when it is started."""
    path = os.path.join(BOXES, "box/config")
    text = read(path)
    write(path, text + "memory = 9000g\n")
    refused("memory: 9000g asked for, but this host has", "start", "box", status=2)
    equal((state("box"), runtime()), ("damaged", []), "state")
    write(path, text)
    equal(state("box"), "created", "state afterwards")


def test_02_autostart_writes_a_unit_and_takes_it_away():
    unit, link = (os.path.join(UNITS, p + "sandbox-auto.service")
                  for p in ("", "default.target.wants/"))
    good("create", "auto", "--autostart")
    text = read(unit)
    check(re.search(r'^ExecStart=".*/sandbox" start auto$', text, re.M), text)
    check(f'Environment="XDG_STATE_HOME={ENV["XDG_STATE_HOME"]}"' in text, text)
    equal(os.path.realpath(link), unit, "the link that enables it")
    if shutil.which("systemd-analyze"):
        r = subprocess.run(["systemd-analyze", "verify", "--user", unit], capture_output=True,
                           text=True, check=False, env=ENV)
        check("sandbox-auto.service" not in r.stderr, f"systemd-analyze: {r.stderr}")
    check(json.loads(good("status", "--json", "auto"))[0]["autostart"], "status")
    good("config", "set", "auto", "autostart=")
    check(not os.path.lexists(link) and not os.path.exists(unit), "the unit stayed")
    good("update", "--autostart", "auto")
    check(os.path.exists(unit), "no unit after update")
    good("rm", "--yes", "auto")
    check(not os.path.lexists(link) and not os.path.exists(unit), "the unit outlives the sandbox")


def test_03_config_keeps_what_it_is_not_about():
    good("config", "set", "memory=96M", "env=A=1")
    write(CONFIG, "# mine\n" + read(CONFIG) + "\n[sandbox x]\ncpus = 1\n")
    good("config", "set", "env=B=2", "memory=128M")
    lines = read(CONFIG).splitlines()
    equal((lines[0], lines[-2:]), ("# mine", ["[sandbox x]", "cpus = 1"]), "other lines")
    equal(sorted(lines[2:5]), ["env = A=1", "env = B=2", "memory = 128M"], "[defaults]")
    good("config", "set", "--project", at("dir"), "memory=64M")
    equal(good("config", "show", cwd=at("dir")).count("memory = 64M"), 1, "in the project")
    equal(good("config", "show").count("memory = 128M"), 1, "elsewhere")
    before = read(CONFIG)
    for args, why in ((["memory=900g"], "this host has"), (["memroy=1g"], "did you mean 'memory'?"),
                      (["cold=perhaps"], "'cold' is true or false"),
                      (["memory"], "is not KEY=VALUE")):
        r = sandbox("config", "set", *(args if "=" in args[0] else ["cpus=1", *args]))
        equal(r.returncode, 2, f"{args}: {r.stderr}")
        check(why in r.stderr.decode(), f"{args} said {r.stderr!r}")
        equal(read(CONFIG), before, f"the file after a refused {args}")
    write(CONFIG, before + "nonsense\nfoo = 1\n")
    n = before.count("\n")
    r = sandbox("config", "lint")
    equal([line.split(": ")[0] for line in r.stdout.decode().splitlines()],
          [f"{CONFIG} line {n + 1}", f"{CONFIG} line {n + 2}"], "lines that lint names")
    refused(f"line {n + 1}: 'nonsense' is not 'key = value'", "create", "y", status=2)
    bad = [c for c in json.loads(sandbox("doctor", "--json").stdout)["checks"]
           if c["check"] == "configuration"][0]
    check(bad["grade"] == "fail" and f"line {n + 1}" in bad["found"], f"doctor: {bad}")
    os.unlink(CONFIG)
    # A link to a file elsewhere stays one.
    write("dotfile", "[defaults]\n")
    os.symlink(at("dotfile"), CONFIG)
    good("config", "set", "cpus=1")
    equal((os.path.islink(CONFIG), read("dotfile")), (True, "[defaults]\ncpus = 1\n"), "a link")
    os.unlink(CONFIG)


# ---- limits that hold ---------------------------------------------------------------------------

def cpu_seconds(pid):
    fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_04_limits_of_cpus_processes_and_cpu_time_hold():
    last = max(os.sched_getaffinity(0))
    good("create", "lim", "--pin", str(last), "--pids-limit", "6")
    good("start", "lim", limit=BOOT_S)
    o = inspect("lim")
    for pid in (o["monitor_pid"], o["keeper_pid"],
                json.loads(good("status", "--json", "lim"))[0]["keeper"]["server_pid"]):
        equal(os.sched_getaffinity(pid), {last}, f"CPUs of process {pid}")
    r = sandbox("exec", "lim", "--", "sh", "-c",
                "for i in 1 2 3 4 5 6 7; do sleep 99 & done; echo end")
    check(r.returncode != 0 and b"end" not in r.stdout, f"8 processes with --pids-limit 6: {r}")
    good("update", "--restart", "always", "--cpus", "0.2", "lim")
    monitor = inspect("lim")["monitor_pid"]
    p = start("exec", "lim", "--", "sh", "-c", "echo here; while :; do :; done")
    equal(p.stdout.readline(), b"here\n", "the loop")
    time.sleep(1)       # what was saved up is used
    before, since = cpu_seconds(monitor), time.monotonic()
    time.sleep(3)
    share = (cpu_seconds(monitor) - before) / (time.monotonic() - since)
    check(0 < share < 0.32, f"{share:.2f} of a CPU with --cpus 0.2")
    equal([b["cpus"] for b in json.loads(good("ls", "--json")) if b["name"] == "lim"], [0.2], "ls")
    check("0.2 CPU of the host's" in good("status", "lim"), "status")
    good("stop", "-t", "0", "lim")
    p.communicate(timeout=RUN_S)


# ---- ends ---------------------------------------------------------------------------------------

def test_05_a_guest_that_does_not_listen_is_ended_after_the_grace_period():
    good("create", "deaf")
    good("start", "deaf", limit=BOOT_S)
    monitor = inspect("deaf")["monitor_pid"]
    os.kill(monitor, signal.SIGSTOP)        # deaf: neither agent nor monitor hears anything
    o = json.loads(sandbox("status", "--json", "deaf").stdout)[0]
    check("error" in o["agent"], f"the agent of a machine that stands: {o['agent']}")
    begin = time.monotonic()
    good("stop", "-t", "1s", "deaf")
    took = time.monotonic() - begin
    check(took < 20, f"stop -t 1s took {took:.1f} s")
    check(not alive(monitor), "the monitor lives on")
    equal((state("deaf"), runtime()), ("stopped", []), "state and sockets")
    good("rm", "--yes", "deaf")


def test_05_a_start_that_gets_a_signal_has_not_started():
    """Or it has, and the signal was too late; but what is said to run does not end then."""
    good("create", "hit")
    for pause in (0, 0.1, 0.3):
        p = start("start", "hit")
        wait(lambda p=p: state("hit") == "starting" or p.poll() is not None, "it starts")
        time.sleep(pause)       # further on: the guest is asked who it is
        p.send_signal(signal.SIGTERM)
        text, err = p.communicate(timeout=BOOT_S)
        if p.returncode:
            equal((p.returncode, text, err), (128 + signal.SIGTERM, b"", b""), "interrupted")
            wait(lambda: state("hit") in ("created", "stopped"), f"it is {state('hit')}")
        else:
            equal(good("exec", "hit", "--", "echo", "x"), "x\n", "what was started")
            good("stop", "-t", "0", "hit")
    good("start", "hit", limit=BOOT_S)
    good("rm", "-f", "hit")


def test_05_a_start_waits_for_the_end_of_a_stop():
    good("create", "again")
    good("start", "again", limit=BOOT_S)
    p = start("stop", "again")
    wait(lambda: sandbox("exec", "again", "--", "true").returncode, "it is being stopped")
    good("start", "again", limit=BOOT_S)
    equal((p.wait(timeout=RUN_S), p.communicate()[1]), (0, b""), "the stop")
    equal(good("exec", "again", "--", "echo", "x"), "x\n", "what was started after it")
    good("rm", "-f", "again")


def test_06_three_at_once_over_all_verbs():
    scenario.lives("ann", "bob", "cyd")


# ---- many ---------------------------------------------------------------------------------------

def test_07_many_from_one_template():
    many = [f"m{i}" for i in range(MANY)]
    ps = [start("create", name, "-m", "128M") for name in many]
    equal([p.wait(timeout=RUN_S) for p in ps], [0] * MANY, "creates at once")
    for p in ps:
        p.communicate()
    begin = time.monotonic()
    good("start", *many, limit=3 * BOOT_S)
    took = time.monotonic() - begin
    ids = {good("exec", name, "--", "cat", "/etc/machine-id", limit=BOOT_S) for name in many}
    equal(len(ids), len(many), "machine ids")
    rows = [r for r in json.loads(good("stats", "--json")) if r["name"] in many]
    equal(len(rows), MANY, "rows of stats")
    own = sum(r["private_bytes"] or 0 for r in rows) / len(rows) / (1 << 20)
    print(f"# {MANY} started in {took:.1f} s, {own:.1f} MiB of their own each", flush=True)
    check(own < 64, f"{own:.1f} MiB of their own each, of 128")
    good("rm", "-f", *many, limit=3 * BOOT_S)


# ---- kill -9 ------------------------------------------------------------------------------------

class Kills:
    """Verbs at random on a few names, and a process that is killed in the midst of each."""

    names = ("f0", "f1", "f2")

    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.seen = set()       # monitors and servers
        self.dir = folder("kills", a="1\n")

    def verb(self, name):
        return self.rnd.choice((
            ["create", name], ["create", name, "--autostart"], ["start", name], ["start", name],
            ["stop", "-t", "1s", name], ["rm", "-f", name], ["exec", name, "--", "true"],
            ["run", "--name", name, "--", "true"], ["restart", "-t", "1s", name],
            ["config", "set", name, "env=A=1", "idle-timeout=1h"],
            ["update", "--restart", "always", "-e", "B=2", name],
            ["attach", "--vm", name, self.dir], ["detach", "--vm", name, self.dir],
            ["cp", self.dir, f"{name}:/tmp"], ["snapshot", "create", name, "s"],
            ["fork", name, "--prefix", f"{name}x"]))

    def victim(self, p, name):
        """The command itself, or a process of the sandbox."""
        kind = self.rnd.choice(("command", "command", "keeper", "monitor", "server"))
        r = sandbox("status", "--json", name)
        for o in json.loads(r.stdout) if r.returncode == 0 else []:
            server = o.get("keeper", {}).get("server_pid")
            self.seen.update(x for x in (o.get("monitor_pid"), server) if x)
            return {"command": p.pid, "keeper": o.get("keeper_pid"),
                    "monitor": o.get("monitor_pid"), "server": server}[kind]
        return p.pid

    def round(self):
        name = self.rnd.choice(self.names)
        verb = self.verb(name)
        p = start(*verb)
        time.sleep(self.rnd.random() * self.rnd.choice((0.02, 0.2, 1)))
        pid = self.victim(p, name)
        try:
            if pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.communicate(timeout=RUN_S)
        return verb

    def consistent(self, what):
        for s in json.loads(good("ls", "--json")):
            check(s["state"] in ("created", "starting", "running", "stopped", "crashed"),
                  f"after {what}: {s}")
            if s["state"] == "running":
                r = sandbox("inspect", s["name"])
                keeper = json.loads(r.stdout)[0]["keeper_pid"] if r.returncode == 0 else None
                check(not keeper or alive(keeper) or state(s["name"]) != "running",
                      f"after {what}: {s['name']} runs without its keeper")
        units = os.listdir(UNITS) if os.path.isdir(UNITS) else []
        for u in units:
            name = re.fullmatch(r"sandbox-(.*)\.service", u)
            check(not name or os.path.isdir(os.path.join(BOXES, name[1])),
                  f"after {what}: {u} is about no sandbox")


def test_08_whatever_is_killed_the_store_is_consistent():
    k = Kills(int(os.environ.get("SEED", "1")))
    for i in range(KILLS):
        verb = k.round()
        k.consistent(f"{i + 1} kills, the last of {verb}")
    mine = [s["name"] for s in json.loads(good("ls", "--json")) if s["name"] != "box"]
    for name in k.names:        # whatever they have become, they can be used
        sandbox("create", name)
        sandbox("detach", "--vm", name, k.dir)
        good("start", name, limit=BOOT_S)
        equal(good("exec", name, "--", "echo", "x"), "x\n", f"{name} after the kills")
    good("rm", "-f", *set(mine) | set(k.names), limit=BOOT_S)
    good("gc")
    equal(sorted(os.listdir(BOXES)), ["box"], "left in the store")
    wait(lambda: not [p for p in k.seen if alive(p)], "machines without a keeper live on")


def test_99_nothing_is_left():
    good("rm", "--force", "box", "lim")
    equal(json.loads(good("ls", "--json")), [], "sandboxes")
    wait(lambda: not runtime(), f"left in the runtime folder: {runtime()}")
    units = [u for _, _, fs in os.walk(UNITS) for u in fs]
    equal(units, [], "units of systemd")


if __name__ == "__main__":
    FIRST = "test_00_a_dry_run_says_what_would_be_done_and_changes_nothing"
    sys.exit(harness.main("life", globals(), always=(FIRST, "test_99_nothing_is_left")))
