#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shared folders on real machines: `sandbox run -v`, and named sandboxes.

All machines are restored from one template, kept in the build folder between runs. Each
function test_* is a test; its name is what is printed. An argument is a part of the names to run.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(os.path.dirname(os.path.dirname(HERE)), os.environ.get("O", "build"))
SANDBOX = os.path.abspath(os.environ.get("SANDBOX", os.path.join(OUT, "sandbox")))
BOOT_S = 600        # for the first one, which makes the template
RUN_S = 180

ENV = dict(os.environ)
TOP = ""            # a folder of this test's own


class Failure(AssertionError):
    """What a test found."""


def equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: got {got!r}, not {want!r}")


def check(ok, what):
    if not ok:
        raise Failure(what)


def folder(name, **files):
    path = os.path.join(TOP, name)
    os.makedirs(path)
    for file, text in files.items():
        write(os.path.join(path, file), text)
    return path


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def tree(path):
    return sorted(os.path.relpath(os.path.join(d, n), path) for d, ds, fs in os.walk(path)
                  for n in ds + fs)


def sandbox(*args, cwd=None, limit=RUN_S, stdin=None):
    return subprocess.run([SANDBOX, *args], env=ENV, cwd=cwd or TOP, capture_output=True,
                          stdin=stdin or subprocess.DEVNULL, timeout=limit, check=False)


def start(*args, cwd=None):
    return subprocess.Popen([SANDBOX, "run", *args], env=ENV, cwd=cwd or TOP,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def out(r, what):
    """stdout of a command that went well."""
    equal((r.returncode, r.stderr), (0, b""), what)
    return r.stdout.decode()


def sh(*flags, script, **more):
    return out(sandbox("run", *flags, "--", "sh", "-c", script, **more), f"run {flags}")


def fails(r, status, sentence):
    text = r.stderr.decode()
    equal((r.returncode, r.stdout), (status, b""), f"status and stdout ({text!r})")
    check(sentence in text, f"{text!r} does not say {sentence!r}")


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
    p = start("-v", f"{d}:/w:rw,cache=none", "-w", "/w", "--", "sh", "-c",
              "echo g >n; stat -c %u a; read x; cat a; ls; read x; cat made")
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
    fails(sandbox("run", *flags, "-v", f"{d}:/more", "--", "true"), 125, "at most 64 folders")


def test_clones_of_one_template_have_shares_of_their_own():
    ps = [(i, start("-v", f"{folder(f'clone{i}', n=str(i))}:/w{i}", "--", "sh", "-c",
                    f"cat /w{i}/n; ls -d /w?; echo {i} >/w{i}/o")) for i in range(3)]
    for i, p in ps:
        text, err = p.communicate(timeout=RUN_S)
        equal((p.returncode, text.decode(), err), (0, f"{i}/w{i}\n", b""), f"clone {i}")
        equal(read(TOP, f"clone{i}/o"), f"{i}\n", "its file")


# ---- named sandboxes -----------------------------------------------------------------------

def test_a_named_sandboxs_changes_are_reviewed_applied_and_dropped():
    d = folder("named", a="one\n", b="two\n", c="three\n")
    out(sandbox("create", "web", "-v", f"{d}:/w:cow"), "create")
    out(sandbox("start", "web", limit=BOOT_S), "start")
    out(sandbox("exec", "web", "--", "sh", "-c",
                "cd /w; echo more >>a; rm b; echo n >n; echo x >>c"), "exec")
    equal(tree(d), ["a", "b", "c"], "the host's folder before")
    equal(out(sandbox("diff", "--list", "web"), "diff --list"),
          "changed  a\ndeleted  b\nchanged  c\nadded    n\n", "the list")
    text = out(sandbox("diff", "web", "a"), "diff")
    check("--- a/a\n+++ b/a\n" in text and "\n+more\n" in text and "b/n" not in text, text)
    write(os.path.join(d, "c"), "the host's\n")
    r = sandbox("apply", "web")
    equal((r.returncode, r.stdout.decode()),
          (1, "changed  a\ndeleted  b\nadded    n\n"), "apply with a conflict")
    check(b"apply: c was changed on the host meanwhile" in r.stderr, r.stderr)
    equal((tree(d), read(d, "a"), read(d, "c")), (["a", "c", "n"], "one\nmore\n",
                                                  "the host's\n"), "the host's folder after")
    fails(sandbox("discard", "web"), 2, "web is running")
    out(sandbox("stop", "web"), "stop")
    out(sandbox("discard", "web"), "discard")
    equal(out(sandbox("diff", "web"), "diff"), "", "nothing is left of it")
    out(sandbox("rm", "--yes", "web"), "rm")


def test_a_folder_comes_and_goes_while_the_guest_runs():
    d, other = folder("live", a="one\n"), folder("other")
    out(sandbox("create", "box"), "create")
    out(sandbox("start", "box", limit=BOOT_S), "start")
    for _ in range(2):
        out(sandbox("attach", f"{d}:/l:ro", "--vm", "box"), "attach, and once more")
    fails(sandbox("attach", f"{d}:/l:rw"), 2, "detach it first: 'sandbox detach --vm box")
    fails(sandbox("attach", f"{other}:/l"), 2, "/l in the guest is the host's")
    fails(sandbox("attach", "--vm", "box", "/etc"), 2, "/etc is guarded")
    out(sandbox("attach", other), "attach another one, at its own path")
    equal(out(sandbox("exec", "box", "--", "sh", "-c", f"cat /l/a; echo x 2>/dev/null >/l/n || "
                      f"echo {other}/made; echo y >{other}/made"), "exec"),
          f"one\n{other}/made\n", "the guest")
    equal((tree(d), tree(other)), (["a"], ["made"]), "the folders")
    out(sandbox("detach", other), "detach")
    equal(sandbox("exec", "box", "--", "ls", f"{other}/made").returncode, 1, "it is gone")
    out(sandbox("restart", "box", limit=BOOT_S), "restart")
    equal(out(sandbox("exec", "box", "--", "sh", "-c", "cat /l/a; ls -d /l"),
              "exec after a restart"), "one\n/l\n", "mounted again")
    out(sandbox("rm", "--yes", "--force", "box"), "rm")


# ---- trouble -------------------------------------------------------------------------------

def test_the_death_of_the_server_ends_the_run():
    d = folder("killed", a="one")
    p = start("-v", f"{d}:/w", "--", "sh", "-c", "echo up; while cat /w/a; do :; done >/dev/null;"
              "echo over")
    equal(p.stdout.readline(), b"up\n", "the guest")
    server = child(p.pid, "sandbox-fsd")
    check(server, "there is no sandbox-fsd")
    os.kill(server, signal.SIGKILL)
    begin = time.monotonic()
    text, err = p.communicate(timeout=60)
    check(p.returncode == 125 and b"sandbox-fsd, was killed by signal 9" in err,
          f"status {p.returncode}, {text!r}, {err!r}")
    check(time.monotonic() - begin < 30, "it took long")


def test_the_servers_end_with_the_run():
    d = folder("ends", a="one")
    p = start("-v", f"{d}:/w:cow", "--", "sh", "-c", "echo x >/w/a; echo up; sleep 300")
    equal(p.stdout.readline(), b"up\n", "the guest")
    server = child(p.pid, "sandbox-fsd")
    p.kill()
    p.communicate(timeout=60)
    for _ in range(300):
        if not os.path.exists(f"/proc/{server}"):
            break
        time.sleep(0.1)
    check(not os.path.exists(f"/proc/{server}"), "sandbox-fsd lives on")
    sh("-v", f"{d}:/w:cow", script="true")
    equal(state(), [], "the next run sweeps what a killed one left")


def test_links_do_not_lead_out():
    """security.md 11."""
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


def test_refusals_cost_nothing():
    d = folder("refused")
    os.symlink("/etc", os.path.join(d, "conf"))
    begin = time.monotonic()
    fails(sandbox("run", "-v", "conf:/w", "--", "true", cwd=d), 125, "/etc is guarded")
    fails(sandbox("run", "-v", ".:/w", "-v", f"{d}:/x:ro", "--", "true", cwd=d), 125, "overlap")
    check(time.monotonic() - begin < 10, "something was started")


def main():
    global TOP
    words = sys.argv[1:]
    failed = 0
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skip share: /dev/kvm cannot be opened")
        return 0
    with tempfile.TemporaryDirectory(prefix="share-", dir="/tmp") as top:
        TOP = os.path.realpath(top)
        # Not beside it: what contains the program's own folders is guarded.
        with tempfile.TemporaryDirectory(prefix="share-own-", dir="/tmp") as own:
            ENV.update(XDG_CACHE_HOME=os.path.join(OUT, f"test-cache-{os.geteuid()}"),
                       XDG_STATE_HOME=os.path.join(own, "state"),
                       XDG_RUNTIME_DIR=os.path.join(own, "run"),
                       XDG_CONFIG_HOME=os.path.join(own, "config"))
            os.makedirs(ENV["XDG_CACHE_HOME"], exist_ok=True)
            os.mkdir(ENV["XDG_RUNTIME_DIR"], 0o700)
            for name, test in sorted(globals().items()):
                title = name[5:].replace("_", " ")
                if not name.startswith("test_") or (words and not any(w in name for w in words)):
                    continue
                try:
                    test()
                    print(f"ok share: {title}", flush=True)
                except (Failure, OSError, subprocess.TimeoutExpired) as e:
                    failed += 1
                    print(f"not ok share: {title}: {e}", flush=True)
    return failed != 0


sys.exit(main())
