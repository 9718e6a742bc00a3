#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shared folders on real machines: `sandbox run -v`, and named sandboxes.

All machines are restored from one template, kept in the build folder between runs.
"""
import os
import shutil
import signal
import subprocess
import sys
import time
import harness
from harness import (BOOT_S, ENV, LONG, OUT, RUN_S, TOP, check, equal, folder, good, read,
                     refused, sandbox, start, tree, write)

POSIX = os.path.join(OUT, "tests/fs/posix")


def sh(*flags, script, **more):
    return good("run", *flags, "--", "sh", "-c", script, **more)


def child(pid, name):
    """The process of that name below @pid."""
    for task in os.listdir(f"/proc/{pid}/task"):
        for one in read(f"/proc/{pid}/task/{task}/children").split():
            if os.path.basename(os.readlink(f"/proc/{one}/exe")) == name:
                return int(one)
            found = child(int(one), name)
            if found:
                return found
    return None


def state():
    """What is left in the state folder, without the folders that are always there."""
    names = tree(ENV["XDG_STATE_HOME"])
    return [n for n in names if n not in ("sandbox", "sandbox/cow", "sandbox/run",
                                          "sandbox/sandboxes")]


# ---- modes ---------------------------------------------------------------------------------

def test_0_cow_leaves_the_host_as_it_was_and_nothing_behind():
    d = folder("cow", a="one", b="two")
    os.mkdir(os.path.join(d, "sub"))
    text = sh("-v", ".:/w:cow", cwd=d, limit=BOOT_S,
              script="pwd; echo new >>a; rm b; echo x >sub/x; chmod 0 sub; cat a; ls")
    equal(text, "/w\nonenew\na\nsub\n", "the guest's view")
    equal((tree(d), read(d, "a"), read(d, "b")), (["a", "b", "sub"], "one", "two"), "the host's")
    equal(state(), [], "left in the state folder")


def test_read_only_holds_against_the_guests_root():
    d = folder("ro", a="one")
    text = sh("-v", f"{d}:/w:ro", script="""cd /w; echo x 2>/dev/null >n || echo 1
        mount -o remount,rw /w && echo x 2>/dev/null >n || echo 2
        h=/run/sandbox-shares; mount -o remount,rw $h; cd $h/0
        rm a 2>/dev/null || echo 3; chmod 777 a 2>/dev/null || echo 4
        mount -t virtiofs sandbox /mnt; echo x 2>/dev/null >>/mnt/0/a || echo 5; cat /w/a""")
    equal(text, "1\n2\n3\n4\n5\none", "what the guest was told")
    equal((tree(d), read(d, "a"), os.stat(os.path.join(d, "a")).st_mode & 0o777),
          (["a"], "one", 0o644), "the host's folder")


def test_writes_arrive_with_the_right_owner_and_host_changes_are_seen():
    d = folder("rw", a="one")
    # Without a cache: with one, what the host does is seen within a second, and a test cannot
    # know whether that has passed in the guest.
    p = start("run", "-v", f"{d}:/w:rw,cache=none", "-w", "/w", "--", "sh", "-c",
              "echo g >n; stat -c %u a; read x; cat a; ls; read x; cat made",
              stdin=subprocess.PIPE)
    for line in ("0\n",):
        equal(p.stdout.readline().decode(), line, "the owner in the guest")
    equal((read(d, "n"), os.stat(os.path.join(d, "n")).st_uid), ("g\n", os.geteuid()), "n")
    write(os.path.join(d, "a"), "two\n")
    p.stdin.write(b"\n")
    p.stdin.flush()
    equal([p.stdout.readline() for _ in range(3)], [b"two\n", b"a\n", b"n\n"], "the guest sees")
    write(os.path.join(d, "made"), "by the host\n")
    rest, err = p.communicate(b"\n", timeout=RUN_S)
    equal((p.returncode, rest, err), (0, b"by the host\n", b""), "the end")


def test_a_number_of_a_user_owns_the_files():
    d = folder("owner", a="one")
    equal(sh("-v", f"{d}:/w", "-u", "1000", script="cd /w; stat -c %u a; echo x >>a; echo y >n"),
          "1000\n", "the owner in the guest")
    equal((read(d, "a"), os.stat(os.path.join(d, "n")).st_uid), ("onex\n", os.geteuid()), "files")


def test_sixty_four_shares_at_once():
    flags = []
    for i in range(64):
        d = folder(f"many/{i}", n=f"{i}\n")
        flags += ["-v", f"{d}:/s/{i}"]
    text = sh(*flags, script="cat /s/*/n; echo back >/s/41/out")
    equal(sorted(map(int, text.split())), list(range(64)), "what the guest read")
    equal(read(TOP, "many/41/out"), "back\n", "what it wrote")
    d = folder("many/64")
    refused("at most 64 folders", "run", *flags, "-v", f"{d}:/more", "--", "true", status=125)


def test_what_calls_do_is_right_in_a_guest():
    """The cases of tests/fs/posix*.c, by the guest's own client. All of them with TEST_LONG."""
    flags = ["-v", f"{folder('calls/bin')}:/b:ro"]
    shutil.copy(POSIX, os.path.join(TOP, "calls/bin/posix"))
    for mode in ("rw", "cow", "ro"):
        d = folder(f"calls/{mode}")
        subprocess.run([POSIX, "prepare", d], check=True)
        flags += ["-v", f"{d}:/{mode}:{mode}"]
    before = tree(os.path.join(TOP, "calls/cow"))
    change, look = ("", "") if LONG else ("'renaming folders' mapping nameless locks",
                                          "facts listing")
    text = sh(*flags, limit=BOOT_S, script=f"cd /; /b/posix run rw {change} || echo rw failed; "
              f"/b/posix run cow {change}; /b/posix read ro {look} || echo ro failed")
    # Hard links of the lower folder come apart (docs/shares.md).
    bad = [line for line in text.splitlines() if not line.startswith(("ok ", "not ok two names"))]
    check(not bad, " | ".join(bad))
    check(text.count("ok ") >= (80 if LONG else 12), text)
    equal(tree(os.path.join(TOP, "calls/cow")), before, "the lower folder")


def test_clones_of_one_template_have_shares_of_their_own():
    ps = [(i, start("run", "-v", f"{folder(f'clone{i}', n=str(i))}:/w{i}", "--", "sh", "-c",
                    f"cat /w{i}/n; ls -d /w?; echo {i} >/w{i}/o")) for i in range(3)]
    for i, p in ps:
        text, err = p.communicate(timeout=RUN_S)
        equal((p.returncode, text.decode(), err), (0, f"{i}/w{i}\n", b""), f"clone {i}")
        equal(read(TOP, f"clone{i}/o"), f"{i}\n", "its file")


# ---- named sandboxes -----------------------------------------------------------------------

def test_a_named_sandboxs_changes_are_reviewed_applied_and_dropped():
    d = folder("named", a="one\n", b="two\n", c="three\n")
    good("create", "web", "-v", f"{d}:/w:cow")
    good("start", "web", limit=BOOT_S)
    good("exec", "web", "--", "sh", "-c", "cd /w; echo more >>a; rm b; echo n >n; echo x >>c")
    equal(tree(d), ["a", "b", "c"], "the host's folder before")
    equal(good("diff", "--list", "web"),
          "changed  a\ndeleted  b\nchanged  c\nadded    n\n", "the list")
    text = good("diff", "web", "a")
    check("--- a/a\n+++ b/a\n" in text and "\n+more\n" in text and "b/n" not in text, text)
    broken = folder("broken", diff="#!/bin/sh\nexec 5<&3; read x <&5\n[ \"$x\" != one ] || exit 2\n"
                    "printf '1\\n2\\n+fine\\n'; exit 1\n")
    os.chmod(os.path.join(broken, "diff"), 0o755)
    r = sandbox("diff", "web", env={"PATH": f"{broken}:{ENV['PATH']}"})
    check(r.returncode == 1 and b"sandbox: diff: a: diff(1) could not compare" in r.stderr and
          r.stdout.count(b"+fine") == 3, f"one that cannot be compared hides others: {r}")
    write(os.path.join(d, "c"), "the host's\n")
    r = sandbox("apply", "web")
    equal((r.returncode, r.stdout.decode()),
          (1, "changed  a\ndeleted  b\nadded    n\n"), "apply with a conflict")
    check(b"apply: c was changed on the host meanwhile" in r.stderr, r.stderr)
    equal((tree(d), read(d, "a"), read(d, "c")), (["a", "c", "n"], "one\nmore\n",
                                                  "the host's\n"), "the host's folder after")
    refused("web is running", "discard", "web", status=2)
    good("stop", "web")
    refused("this would drop all that sandbox 'web' changed", "discard", "web", status=2)
    good("discard", "--yes", "web")
    equal(good("diff", "web"), "", "nothing is left of it")
    good("rm", "--yes", "web")


def test_a_folder_comes_and_goes_while_the_guest_runs():
    d, other = folder("live", a="one\n"), folder("other")
    good("create", "box")
    good("start", "box", limit=BOOT_S)
    for _ in range(2):
        good("attach", f"{d}:/l:ro", "--vm", "box")
    refused("detach it first: 'sandbox detach --vm box", "attach", f"{d}:/l:rw", status=2)
    refused("/l in the guest is the host's", "attach", f"{other}:/l", status=2)
    refused("/etc is guarded", "attach", "--vm", "box", "/etc", status=2)
    good("attach", other)
    equal(good("exec", "box", "--", "sh", "-c", f"cat /l/a; echo x 2>/dev/null >/l/n || "
               f"echo {other}/made; echo y >{other}/made"), f"one\n{other}/made\n", "the guest")
    equal((tree(d), tree(other)), (["a"], ["made"]), "the folders")
    good("detach", other)
    equal(sandbox("exec", "box", "--", "ls", f"{other}/made").returncode, 1, "it is gone")
    good("restart", "box", limit=BOOT_S)
    equal(good("exec", "box", "--", "sh", "-c", "cat /l/a; ls -d /l"), "one\n/l\n",
          "mounted again")
    good("rm", "--yes", "--force", "box")


# ---- the server's jail ----------------------------------------------------------------------

def test_the_walls_of_the_server_are_told():
    d = folder("walls", a="one")
    report = harness.json.loads(good("run", "--json", "--jail=strict", "-v", f"{d}:/w:ro", "-v",
                                     f"{folder('walls2')}:/x:cow", "--", "cat", "/w/a"))
    walls = ["mount", "ipc", "uts", "net", "pid", "root", "caps", "seccomp", "uring", "enclosed",
             "landlock"]
    equal(report["jail"]["server"],
          {"walls": ["user"] * bool(os.geteuid()) + walls, "missing": []}, "walls")
    equal(report["stdout"], "one", "the file behind them")


def test_the_server_has_the_jail_that_was_asked_for():
    d, ours = folder("none", a="one"), os.readlink("/proc/self/ns/net")
    for jail, own in ("none", False), ("auto", True):
        p = start("run", f"--jail={jail}", "-v", f"{d}:/w", "--", "sh", "-c", "echo up; sleep 99")
        equal(p.stdout.readline(), b"up\n", "the guest")
        theirs = os.readlink(f"/proc/{child(p.pid, 'sandbox-fsd')}/ns/net")
        equal(theirs != ours, own, f"--jail={jail}: a network namespace of its own")
        p.kill()
        p.communicate(timeout=RUN_S)


# ---- trouble -------------------------------------------------------------------------------

def test_the_death_of_the_server_ends_the_run():
    d = folder("killed", a="one")
    p = start("run", "-v", f"{d}:/w", "--", "sh", "-c", "echo up; while cat /w/a; do "
              ":; done >/dev/null; echo over")
    equal(p.stdout.readline(), b"up\n", "the guest")
    server = child(p.pid, "sandbox-fsd")
    check(server, "there is no sandbox-fsd")
    os.kill(server, signal.SIGKILL)
    begin = time.monotonic()
    text, err = p.communicate(timeout=RUN_S)
    check(p.returncode == 125 and b"sandbox-fsd, was killed by signal 9" in err,
          f"status {p.returncode}, {text!r}, {err!r}")
    check(time.monotonic() - begin < 100, "it took long")


def groups(pid):
    """Folders of the control groups that were made for its sandbox."""
    found = set()
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if "/sandbox-" in path:
            top = "/sys/fs/cgroup"
            found.update(place + path for place in (f"{top}/{names}", f"{top}/unified", top)
                         if os.path.isdir(place + path))
    return found


def test_the_servers_end_with_the_run():
    d = folder("ends", a="one")
    p = start("run", "-v", f"{d}:/w:cow", "--", "sh", "-c", "echo x >/w/a; echo up; sleep 300")
    equal(p.stdout.readline(), b"up\n", "the guest")
    server = child(p.pid, "sandbox-fsd")
    limited, other = groups(server), groups(child(p.pid, "sandbox-vmm"))
    p.kill()
    p.communicate(timeout=RUN_S)
    for _ in range(300):
        if not os.path.exists(f"/proc/{server}"):
            break
        time.sleep(0.1)
    check(not os.path.exists(f"/proc/{server}"), "sandbox-fsd lives on")
    equal(limited, other, "the control groups of both")
    sh("-v", f"{d}:/w:cow", script="true")
    equal(state(), [], "the next run sweeps what a killed one left")
    equal([g for g in limited if os.path.exists(g)], [], "control groups, too")


def test_links_do_not_lead_out():
    """threat-model.md 11."""
    folder("jail")
    d = folder("jail/in", a="one")
    folder("jail/out", secret="secret")
    os.symlink("../out", os.path.join(d, "up"))
    os.symlink(os.path.join(TOP, "jail/out"), os.path.join(d, "abs"))
    text = sh("-v", f"{d}:/w", "-w", "/w", script="""
        cat up/secret abs/secret ../out/secret 2>/dev/null
        ln -s / root; ls root/w; ln -s ../../../../../../etc/passwd p; head -c 4 p
        cat /run/sandbox-shares/../out/secret /run/sandbox-shares/0/../../out/secret 2>/dev/null
        mkdir m; mv m up/m 2>/dev/null; echo x 2>/dev/null >up/x; ln a up/hard 2>/dev/null
        mknod dev c 1 3 2>/dev/null || echo no; cp a s; chmod 4755 s; stat -c %a s""")
    equal(text, "a\nabs\nroot\nup\nrootno\n755\n", "what the guest saw")
    equal(tree(os.path.join(TOP, "jail/out")), ["secret"], "the folder beside the share")
    equal(os.stat(os.path.join(d, "s")).st_mode & 0o7777, 0o755, "no set-id on the host")
    check(os.path.islink(os.path.join(d, "root")), "a link is a link")


def test_guarded_places_and_overlaps_need_yes():
    home = folder("home")
    for name in (".ssh/old", ".aws", ".config/gh", "project", "links"):
        os.makedirs(os.path.join(home, name))
    os.symlink("../.ssh", f"{home}/links/keys")
    more = {"env": {"HOME": home}, "status": 2}
    for place, sentence in (
            (home, "is guarded"), (f"{home}/.ssh", "is guarded"), (f"{home}/.aws", "is guarded"),
            (f"{home}/.ssh/old", f"lies in {home}/.ssh"), (f"{home}/links/keys", "is guarded"),
            (f"{home}/.config", f"contains {home}/.config/gh"), ("/", "/ is guarded"),
            ("/etc", "/etc is guarded"), (TOP, f"contains {home}")):
        refused(sentence, "create", "--dry-run", "g", "-v", f"{place}:/x", **more)
    # What the program itself believes: a guest that writes there is started as it likes next time.
    for own, name in (("data", "XDG_DATA_HOME"), ("config", "XDG_CONFIG_HOME")):
        os.makedirs(f"{home}/{own}/sandbox")
        for place in ("", "/sandbox"):
            refused(f"{home}/{own}/sandbox", "create", "--dry-run", "g", "-v",
                    f"{home}/{own}{place}:/x", env={**more["env"], name: f"{home}/{own}"}, status=2)
    both = ["-v", f"{home}/project:/x", "-v", f"{home}/links:/y"]
    inside = ["-v", f"{home}/project:/x", "-v", f"{home}/project:/y:ro"]
    good("create", "--dry-run", "g", *both, env=more["env"])
    refused("overlap", "create", "--dry-run", "g", *inside, **more)
    for words in (["-v", f"{home}/.ssh:/x"], inside):
        good("create", "--dry-run", "g", "--yes", *words, env=more["env"])


def test_refusals_cost_nothing():
    d = folder("refused")
    os.symlink("/etc", os.path.join(d, "conf"))
    begin = time.monotonic()
    refused("/etc is guarded", "run", "-v", "conf:/w", "--", "true", cwd=d, status=125)
    refused("overlap", "run", "-v", ".:/w", "-v", f"{d}:/x:ro", "--", "true", cwd=d, status=125)
    check(time.monotonic() - begin < 30, "something was started")


if __name__ == "__main__":
    sys.exit(harness.main("share", globals()))
