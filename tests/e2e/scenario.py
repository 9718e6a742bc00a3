#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scenario.py NAME... - the life of a sandbox over all verbs, of several at once: a thread for each
NAME. As a program it prints `ok` or `not ok`; test_life.py and test_user.py run it.
"""
import json
import os
import subprocess
import sys
import threading
import harness
from harness import BOOT_S, check, equal, folder, good, refused, sandbox, state, tree


def commands(name):
    """exec, shell, cp."""
    r = sandbox("exec", name, "--", "sh", "-c", "hostname; echo $WHO; cat; echo err >&2; exit 7",
                stdin=b"in")
    equal((r.returncode, r.stdout.decode(), r.stderr), (7, f"{name}\n{name}\nin", b"err\n"),
          "streams, name, variables, status")
    equal(good("shell", name, stdin=b"echo shell; exit\n"), "shell\n", "shell")
    d = folder(f"{name}-in", a="one\n")
    good("cp", d, f"{name}:/root/in")
    copied = json.loads(good("cp", "--json", f"{name}:/root/in/a", f"{d}/b"))
    equal(copied[0]["to"], f"{d}/b", "what cp says")
    equal(subprocess.run(["cmp", f"{d}/a", f"{d}/b"], check=False).returncode, 0, "cp and back")


def shares(name):
    """attach, diff, apply, detach: the folder is there again after a restart."""
    d = folder(f"{name}-share", a="one\n", b="two\n")
    o = json.loads(good("attach", "--vm", name, "--json", f"{d}:/w:cow"))
    equal(o["name"], name, "what attach says")
    good("exec", name, "--", "sh", "-c", "cd /w && echo more >>a && rm b && echo n >n")
    equal(good("diff", "--list", name), "changed  a\ndeleted  b\nadded    n\n", "diff")
    check("configured, not" not in good("status", name), "what was attached is told as drift")
    equal(good("restart", name), f"{name}\n", "restart")
    equal(good("exec", name, "--", "sh", "-c", "cat /w/a; ls /w"), "one\nmore\na\nn\n",
          "changes after a restart")
    check(good("apply", "--dry-run", name).startswith("changed  a\n"), "what apply would do")
    equal(tree(d), ["a", "b"], "the host's folder after apply --dry-run")
    equal([c["change"] for c in json.loads(good("apply", "--json", name))],
          ["changed", "deleted", "added"], "apply")
    equal(tree(d), ["a", "n"], "the host's folder")
    good("detach", "--vm", name, d)
    equal(sandbox("exec", name, "--", "ls", "/w").stdout, b"", "after detach")


def looks(name):
    """ls, ps, logs, stats, inspect, status, doctor."""
    check(f"\n{name} " in good("ls") and name in good("ps", "-q").split(), "it is not listed")
    events = [json.loads(line)["event"] for line in good("logs", name).splitlines()]
    check({"created", "start", "running", "exec", "exit", "cp"} <= set(events), f"{events}")
    row = json.loads(good("stats", "--json", name))[0]
    check(row["resident_bytes"] > 1 << 20 and row["private_bytes"] > 0, f"{row}")
    equal(json.loads(good("inspect", name))[0]["config"]["cpus"], "0.9", "inspect")
    o = json.loads(good("status", "--json", name))[0]
    equal((o["state"], o["network"], o["agent"]["protocol"], o["drift"]),
          ("running", "none", 1, False), "status")
    check("seccomp" in o["keeper"]["walls"] or o["keeper"]["jail"] == "none", f"{o['keeper']}")
    for word in ("machine", "memory", "CPU", "shares", "network", "jail", "agent", "settings"):
        check(f"\n  {word} " in good("status", name), f"status without '{word}'")
    checks = json.loads(sandbox("doctor", "--json").stdout)["checks"]
    equal([c["grade"] for c in checks if c["check"] == f"sandbox {name}" and
           "without walls" not in c["found"]], ["ok"], f"doctor on {name}: {checks}")


def saves(name):
    """snapshot and fork; config and update."""
    good("snapshot", "create", name, "one")
    check("one" in good("snapshot", "ls", name), "the snapshot")
    equal(good("fork", name, "--prefix", f"{name}-kid"), f"{name}-kid-1\n", "fork")
    equal(good("exec", f"{name}-kid-1", "--", "hostname"), f"{name}-kid-1\n", "the fork")
    good("rm", "-f", f"{name}-kid-1")
    good("snapshot", "rm", "--yes", name, "one")
    good("config", "set", name, "env=LATE=1", "memory=96M")
    check("configured, not yet running: memory = 96M" in good("status", name), "drift")
    good("config", "set", name, "memory=131072k")      # what it has, in other words
    check("configured, not" not in good("status", name), "the same size is told as drift")
    equal(good("exec", name, "--", "sh", "-c", "echo $LATE"), "1\n", "a variable set late")


def life(name):
    equal(good("create", name, "--cpus", "0.9", "-e", f"WHO={name}"), f"{name}\n", "create")
    refused("already a sandbox named", "create", name, status=2)
    equal(good("start", name, limit=BOOT_S), f"{name}\n", "start")
    for part in (commands, saves, shares, looks):
        part(name)
    equal(json.loads(good("stop", "--json", name))[0]["result"], "stopped", "stop")
    equal(state(name), "stopped", "state")
    good("discard", "--yes", name)
    refused("say --yes", "rm", name, status=2)
    equal(good("rm", "--yes", name), f"{name}\n", "rm")
    equal(state(name), None, "after rm")


def lives(*names):
    """All at once; the sentence of the first that failed is raised."""
    failed = []

    def one(name):
        try:
            life(name)
        except Exception as e:      # another thread has to tell
            failed.append(f"{name}: {type(e).__name__}: {e}")

    threads = [threading.Thread(target=one, args=[n]) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not failed, "; ".join(failed))


if __name__ == "__main__":
    NAMES = sys.argv[1:]
    sys.argv[1:] = []

    def test_over_all_verbs():
        lives(*NAMES)

    sys.exit(harness.main(f"scenario as user {os.geteuid()}", globals()))
