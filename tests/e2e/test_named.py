#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Named sandboxes on real machines, over all their verbs, three at once.

All machines are restored from one template, kept in the build folder between runs.
"""
import json
import os
import signal
import subprocess
import sys
import time
import harness
from harness import (BOOT_S, ENV, OWN, RUN_S, TOP, alive, check, equal, good, inspect, refused,
                     runtime, sandbox, start, state, wait)

# ---- made once, used by the tests ------------------------------------------------------------


def test_00_three_are_made_and_started():
    for name in ("one", "two", "three"):
        equal(good("create", name, "-e", f"WHO={name}", "--idle-timeout", "1h"), f"{name}\n",
              "create")
        equal(state(name), "created", "state")
    equal(good("start", "one", limit=BOOT_S), "one\n", "start")
    both = [start("start", n) for n in ("two", "three")]
    for p in both:
        out, err = p.communicate(timeout=RUN_S)
        equal((p.returncode, err), (0, b""), f"start: {out}")
    for name in ("one", "two", "three"):
        equal(state(name), "running", "state")
        equal(good("exec", name, "--", "sh", "-c", 'hostname; echo "$WHO"'), f"{name}\n{name}\n",
              "host name and environment")


def test_01_start_is_idempotent_and_names_are_taken():
    equal(json.loads(good("start", "--json", "one"))[0]["result"], "ran already", "start")
    refused("already a sandbox named 'one'", "create", "one", status=2)
    refused("did you mean 'one'?", "stop", "oen")
    refused("is no name for a sandbox", "create", "../one", status=2)
    refused("this host has", "create", "big", "-m", "900g", status=2)
    refused("stop it first", "rm", "--yes", "one", status=2)
    refused("say --yes", "rm", "one", status=2)
    refused("--memory", "create", "x", "--memroy", "1g", status=2)


def test_02_exec_passes_streams_and_status():
    data = os.urandom(300000)
    r = sandbox("exec", "one", "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=data)
    equal((r.returncode, r.stderr, r.stdout == data), (7, b"err\n", True), "exec")
    equal(sandbox("exec", "one", "--", "no-such").returncode, 127, "not found")
    equal(sandbox("exec", "one", "--", "sh", "-c", "kill -9 $$").returncode, 137, "a signal")
    r = sandbox("exec", "--timeout", "10s", "one", "--", "sh", "-c", "echo part; sleep 99")
    equal((r.returncode, r.stdout), (124, b"part\n"), "--timeout")
    refused("there is no command", "exec", "one", status=125)
    refused("put flags before 'one'", "exec", "one", "-e", "A=1", "--", "env", status=125)
    refused("there is no sandbox named 'nobody'", "exec", "nobody", "--", "true", status=125)
    d = json.loads(good("exec", "--json", "-e", "WHO=me", "-w", "/tmp", "-u", "12:34", "one", "--",
                      "sh", "-c", "echo $WHO $PWD $(id -u):$(id -g)"))
    equal(d["stdout"], "me /tmp 12:34\n", "environment, folder, user")


def test_03_many_commands_at_once_in_three():
    ps = [(i, start("exec", n, "--", "sh", "-c", f"echo {i}; exit {i}"))
          for i, n in enumerate(("one", "two", "three") * 3)]
    for i, p in ps:
        out, err = p.communicate(timeout=RUN_S)
        equal((p.returncode, out, err), (i, f"{i}\n".encode(), b""), "one of many")


def test_04_files_live_as_long_as_the_sandbox_runs():
    good("exec", "two", "--", "sh", "-c", "echo kept >/root/file")
    equal(good("exec", "two", "--", "cat", "/root/file"), "kept\n", "from one exec to the next")
    equal(good("shell", "two", stdin=b"cat /root/file; exit\n"), "kept\n", "shell")
    equal(sandbox("exec", "one", "--", "cat", "/root/file").returncode, 1, "in another one")


def test_04a_a_session_keeps_folder_and_variables():
    good("exec", "--session", "s", "one", "--", "cd /tmp; export V='a b'; W=1")
    out = good("exec", "--session", "s", "one", "--", "echo $PWD $V ${W-unset}")
    equal(out, "/tmp a b unset\n", "the session")
    equal(sandbox("exec", "--session", "s", "one", "--", "sh", "-c", "exit 9").returncode, 9,
          "status")
    equal(good("exec", "--session", "t", "one", "--", "pwd"), "/\n", "another session")
    refused("a secret must not be kept", "exec", "--session", "s", "--secret", "HOME", "one",
            "--", "true", status=125)


def test_05_cp_keeps_trees_as_they_are():
    src = os.path.join(TOP, "src")
    os.makedirs(os.path.join(src, "sub"))
    with open(os.path.join(src, "a"), "wb") as f:
        f.write(os.urandom(70000))
    os.symlink("../nowhere", os.path.join(src, "link"))
    with open(os.path.join(src, "holes"), "wb") as f:
        f.truncate(4 << 20)
    os.chmod(os.path.join(src, "a"), 0o640)
    for name in ("a", "sub"):
        os.utime(os.path.join(src, name), (1e9, 1e9))
    good("cp", src, "one:/root")
    good("cp", "one:/root/src", os.path.join(TOP, "back"))
    back = os.path.join(TOP, "back")
    equal(sorted(os.listdir(back)), sorted(os.listdir(src)), "names")
    equal(subprocess.run(["diff", "-r", "--no-dereference", src, back], check=False).returncode, 0,
          "diff")
    st = os.stat(os.path.join(back, "a"))
    equal((st.st_mode & 0o7777, st.st_mtime), (0o640, 1e9), "mode and time")
    equal(os.stat(os.path.join(back, "sub")).st_mtime, 1e9, "time of a folder")
    check(os.stat(os.path.join(back, "holes")).st_blocks < 512, "holes were filled")
    tar = sandbox("cp", "one:/root/src", "-").stdout
    good("cp", "-", "two:/tmp", stdin=tar)
    equal(good("exec", "two", "--", "readlink", "/tmp/src/link"), "../nowhere\n", "by a stream")
    refused("there is no /nope", "cp", "one:/nope", TOP)
    refused("neither is in a sandbox", "cp", src, TOP, status=2)


def test_06_a_hostile_guest_writes_nothing_outside():
    """What the guest packs is read by agent/unpack.c; its rules have unit tests of their own."""
    good("exec", "three", "--", "sh", "-c",
       "mkdir -p /srv/x && ln -s /etc /srv/x/l && echo evil >/srv/x/f && chmod 4777 /srv/x/f")
    target = os.path.join(TOP, "x")
    os.makedirs(os.path.join(TOP, "outside"))
    os.makedirs(target)
    os.symlink("../outside", os.path.join(target, "f2"))
    good("exec", "three", "--", "sh", "-c", "mkdir /srv/x/f2; echo evil >/srv/x/f2/in")
    refused("exists", "cp", "three:/srv/x/.", target, status=2)
    equal(os.listdir(os.path.join(TOP, "outside")), [], "outside")
    good("cp", "three:/srv/x/f", TOP)
    equal(os.stat(os.path.join(TOP, "f")).st_mode & 0o7000, 0, "set-id")


def test_07_secrets_are_written_nowhere():
    word = "xyzzy" + os.urandom(8).hex()
    out = good("exec", "--secret", "TOKEN=env:HOST_TOKEN", "three", "--", "sh", "-c",
               "echo ${#TOKEN}", env={"HOST_TOKEN": word})
    equal(out, f"{len(word)}\n", "in the process")
    good("create", "four", "--secret", "TOKEN=env:HOST_TOKEN", env={"HOST_TOKEN": word})
    found = subprocess.run(["grep", "-rl", word, OWN], capture_output=True, check=False).stdout
    equal(found, b"", "files with the secret")
    refused("which is not set here", "exec", "--secret", "NOT_THERE", "three", "--", "true",
            status=125)
    good("rm", "--yes", "four")


def test_08_events_and_stats():
    lines = [json.loads(l) for l in good("logs", "one").splitlines()]
    kinds = [l["event"] for l in lines]
    equal(kinds[:3], ["created", "start", "running"], "first events")
    check("exec" in kinds and "exit" in kinds and "cp" in kinds, f"{set(kinds)}")
    check([l for l in lines if l["event"] == "exit" and l["status"] == 7], "status of an exit")
    rows = {r["name"]: r for r in json.loads(good("stats", "--json"))}
    equal(set(rows), {"one", "two", "three"}, "who runs")
    check(rows["one"]["resident_bytes"] > 1 << 20, f"{rows['one']}")
    equal(good("ps", "-q"), "one\nthree\ntwo\n", "ps -q")


def test_09_dry_runs_change_nothing():
    before = good("ls", "--json")
    for args in (("create", "--dry-run", "new"), ("stop", "--dry-run", "one"),
                 ("rm", "--dry-run", "one"), ("restart", "--dry-run", "one"),
                 ("cp", "--dry-run", "/etc", "one:/x")):
        check(good(*args).startswith("would "), f"{args}")
    equal(good("ls", "--json"), before, "after the dry runs")


def test_10_poweroff_inside_is_a_stop_and_a_kill_is_a_crash():
    sandbox("exec", "two", "--", "poweroff", "-f")
    wait(lambda: state("two") == "stopped", "two did not stop")
    equal(inspect("two")["reason"], "the guest powered itself off", "reason")
    os.kill(inspect("three")["monitor_pid"], signal.SIGKILL)
    wait(lambda: state("three") == "crashed", "three did not crash")
    check("killed by signal 9" in inspect("three")["reason"], inspect("three")["reason"])
    keeper, monitor = (inspect("one")[k] for k in ("keeper_pid", "monitor_pid"))
    os.kill(keeper, signal.SIGKILL)
    wait(lambda: not alive(monitor), "the monitor lives on")
    equal(state("one"), "crashed", "one")
    check("ended without a word" in inspect("one")["reason"], inspect("one")["reason"])
    refused("does not run (crashed)", "exec", "one", "--", "true", status=125)


def test_11_an_end_ends_what_is_attached():
    good("start", "one")
    p = start("exec", "one", "--", "sh", "-c", "echo here; sleep 999")
    equal(p.stdout.readline(), b"here\n", "it runs")
    equal(good("stop", "one"), "one\n", "stop")
    out, err = p.communicate(timeout=RUN_S)
    equal((p.returncode, out), (125, b""), "the attached command")
    check(b"sandbox 'one' stopped while the command ran: it was stopped" in err, f"{err}")
    equal(json.loads(good("stop", "--json", "one"))[0]["result"], "did not run", "a second stop")


def test_12_times_end_a_sandbox():
    good("create", "idle", "--idle-timeout", "2s")
    good("create", "short", "--ttl", "2s")
    good("start", "idle", "short")
    for name, why in (("idle", "--idle-timeout"), ("short", "--ttl")):
        wait(lambda n=name: state(n) == "stopped", f"{name} runs on")
        check(why in inspect(name)["reason"], inspect(name)["reason"])
    good("rm", "--yes", "idle", "short")


def test_13_run_with_a_name_keeps_it():
    equal(good("run", "--name", "kept", "--", "sh", "-c", "echo x >/f; echo hi"), "hi\n", "run")
    equal(good("exec", "kept", "--", "cat", "/f"), "x\n", "afterwards")
    equal(good("run", "--name", "gone", "--rm", "--", "echo", "hi"), "hi\n", "run --rm")
    equal((state("kept"), state("gone")), ("running", None), "states")
    equal(good("restart", "kept"), "kept\n", "restart")
    equal(sandbox("exec", "kept", "--", "cat", "/f").returncode, 1,
          "memory does not outlive a stop")
    good("rm", "--force", "kept")


def test_13a_settings_are_changed_checked_and_compared():
    good("create", "conf", "-m", "128M")
    good("start", "conf")
    check("it runs as configured" in good("status", "conf"), "drift of a fresh one")
    refused("did you mean 'memory'?", "config", "set", "conf", "memroy=1g", status=2)
    refused("this host has", "config", "set", "conf", "memory=900g", status=2)
    equal(good("config", "show", "conf"), "memory = 128M\n", "what a refused change left")
    good("config", "set", "conf", "memory=96M", "env=A=1")
    check("configured, not yet running: memory = 96M" in good("status", "conf"), "drift")
    equal(good("exec", "conf", "--", "sh", "-c", "echo $A"), "1\n", "an environment holds at once")
    refused("say --yes", "update", "conf", status=2)
    good("update", "--restart", "never", "conf")
    equal(inspect("conf")["running_config"]["memory"], "128M", "what runs")
    good("update", "--restart", "always", "conf")
    equal(inspect("conf")["running_config"]["memory"], "96M", "what runs")
    good("rm", "-f", "conf")
    os.makedirs(os.path.join(ENV["XDG_CONFIG_HOME"], "sandbox"))
    path = os.path.join(ENV["XDG_CONFIG_HOME"], "sandbox", "config")
    with open(path, "w", encoding="utf-8") as f:
        f.write("[defaults]\nmemory = 96M\n[sandbox x]\nfoo = 1\n")
    equal(sandbox("config", "lint").stdout.decode().split(";")[0],
          f"{path} line 4: there is no setting 'foo'", "lint")
    good("create", "dflt")
    equal(good("config", "show", "dflt"), "memory = 96M\n", "defaults")
    good("rm", "--yes", "dflt")
    os.unlink(path)


def test_14_of_parallel_creates_one_wins():
    ps = [start("create", "race") for _ in range(8)]
    equal(sorted(p.wait(timeout=RUN_S) for p in ps), [0] + [2] * 7, "statuses")
    for p in ps:
        p.communicate()
    ps = [start("start", "race") for _ in range(4)]
    equal([p.wait(timeout=RUN_S) for p in ps], [0] * 4, "starts")
    for p in ps:
        p.communicate()
    good("rm", "-f", "race")


def test_99_nothing_is_left():
    good("stop", "--all")
    good("rm", "--force", "one", "two", "three")
    equal(json.loads(good("ls", "--json")), [], "sandboxes")
    wait(lambda: not runtime(), f"left in the runtime folder: {runtime()}")


if __name__ == "__main__":
    sys.exit(harness.main("named", globals()))
