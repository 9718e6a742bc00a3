#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Other programs' ways into a sandbox: ssh, scp, sftp, editors and git.

The image has this host's git and an sshd that is installed nowhere. A login is a dozen
processes and thousands of page faults, which take seconds where guest kernels are emulated, so
what can go through one connection does.
"""
import os
import subprocess
import sys
import harness
import toolbox
from harness import (BOOT_S, ENV, OWN, RUN_S, SANDBOX, at, check, equal, folder, good, refused,
                     sandbox, wait, write)

HOST = "web.sandbox"
MASTER = os.path.join(OWN, "m")     # the socket of the connection that tests share


def ssh(program, *args, stdin=b"", env=None):
    """ssh, scp or sftp as a person would call it."""
    conf = good("ssh-config", "--path", "web").strip()
    return subprocess.run([program, "-F", conf, "-o", f"ControlPath={MASTER}", *args],
                          env={**ENV, **(env or {})}, input=stdin, capture_output=True,
                          timeout=RUN_S, check=False)


def keys(name, *more):
    return os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes", name, "ssh", *more)


def test_00_an_image_with_an_sshd_and_git():
    pkg = os.path.join(OWN, "pkg")
    libs = toolbox.unpacked(pkg)
    tar = toolbox.archive({"usr/sbin/sshd": os.path.join(pkg, "usr/sbin/sshd"),
                           "usr/bin/git": "/usr/bin/git"}, libs,
                          [("usr/bin/git-upload-pack", "git"), ("usr/bin/git-receive-pack", "git"),
                           ("usr/lib/git-core/git", "../../bin/git")])
    good("image", "import", "--name", "tools", "-", stdin=tar)
    good("create", "web", "--image", "tools", "-e", 'WORDS=a "b" \\c', "--secret", "TOKEN=env:PATH")
    good("create", "bare")
    good("start", "web", "bare", limit=BOOT_S)


# ---- ssh -------------------------------------------------------------------------------------

def test_a_0_what_cannot_be_logged_in_to_says_why():
    refused("has no sshd; put one into it", "ssh", "bare")
    refused("there is no sandbox named 'wbe'; did you mean 'web'?", "ssh", "wbe")
    refused("ssh logs in by a name", "ssh", "-u", "1000", "web", status=2)
    refused("is no user's name", "ssh", "-u", "-oProxyCommand=x", "web", status=2)
    good("ssh-config", "web")
    refused("there is no ssh on this host", "ssh", "web", env={"PATH": OWN})


def test_a_1_keys_are_the_sandboxs_own():
    text = good("ssh-config", "web")
    check(text.startswith(f"Host {HOST}\n\tUser root\n"), text)
    for line in ("IdentityAgent none", "ForwardAgent no", "StrictHostKeyChecking yes",
                 f'UserKnownHostsFile "{keys("web", "known_hosts")}"'):
        check(f"\t{line}\n" in text, f"{text} lacks {line}")
    check("User app\n" in good("ssh-config", "-u", "app", "web"), "--user")
    good("ssh-config", "bare")
    check("User root\n" in good("ssh-config", "web"), "without it again")
    with open(keys("web", "user_key"), "rb") as one, open(keys("bare", "user_key"), "rb") as two:
        check(one.read() != two.read(), "two sandboxes have one key")
    equal([os.stat(keys("web", f)).st_mode & 0o777 for f in ("", "user_key", "host_key")],
          [0o700, 0o600, 0o600], "modes")
    equal(sorted(os.listdir(keys("web"))), ["config", "host_key", "host_key.pub", "known_hosts",
                                            "user_key", "user_key.pub"], "files")


def test_a_2_one_line_makes_all_sandboxes_known():
    path = os.path.join(OWN, "ssh_config")
    with open(path, "w", encoding="utf-8") as f:
        f.write("Host other\n\tUser me\n")
    os.chmod(path, 0o644)
    args, env = ("ssh-config", "--install"), {"SANDBOX_SSH_CONFIG": path}
    check("would put at the top" in good(*args, "--dry-run", env=env), "--dry-run")
    refused("say --yes", *args, status=2, env=env)
    good(*args, "--yes", env=env)
    check("has the line already" in good(*args, env=env), "a second time")
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    equal((lines[0][:9], lines[1:], os.stat(path).st_mode & 0o777),
          ('Include "', ["Host other", "\tUser me", ""], 0o644), "the file")
    for host, user in ((HOST, "root"), ("other", "me")):
        out = subprocess.run(["ssh", "-F", path, "-G", host], capture_output=True, text=True,
                             check=True).stdout
        check(f"\nuser {user}\n" in "\n" + out, f"{host}: {out}")


def test_a_3_a_login_has_status_streams_and_environment():
    with subprocess.Popen([SANDBOX, "ssh", "-o", "ControlMaster=yes", "-o", f"ControlPath={MASTER}",
                           "web", "--", "echo here; cat >/dev/null"], env=ENV,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as master:
        try:
            equal(master.stdout.readline(), b"here\n", "the first command")
            wait(lambda: os.path.exists(MASTER), "the shared connection")
            in_one_connection()
        finally:
            master.stdin.close()
            master.wait(timeout=RUN_S)
    equal(master.returncode, 0, "status of the first command")


def in_one_connection():
    r = ssh("ssh", HOST, 'cat; echo "$WORDS/${TOKEN-none}" >&2; exit 7', stdin=b"in\0\n")
    equal((r.returncode, r.stdout, r.stderr), (7, b"in\0\n", b'a "b" \\c/none\n'), "ssh")
    data = os.urandom(20000)
    there, back = os.path.join(OWN, "there"), os.path.join(OWN, "back")
    with open(there, "wb") as f:
        f.write(data)
    r = ssh("scp", "-q", there, f"{HOST}:/srv/file")
    equal((r.returncode, r.stderr), (0, b""), "scp")
    r = ssh("sftp", "-q", "-b", "-", HOST, stdin=f"get /srv/file {back}\n".encode())
    equal(r.returncode, 0, f"sftp: {r.stderr}")
    with open(back, "rb") as f:
        check(f.read() == data, "the file came back otherwise")


def test_long_a_4_another_key_is_not_let_in():
    other = os.path.join(OWN, "other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    conf = os.path.join(OWN, "other-config")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(good("ssh-config", "web").replace(keys("web", "user_key"), other))
    r = subprocess.run(["ssh", "-F", conf, HOST, "true"], env=ENV, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=RUN_S, check=False)
    equal(r.returncode, 255, "status")
    check(b"Permission denied (publickey)" in r.stderr, f"{r.stderr}")


def test_a_5_another_host_is_not_believed():
    """As the sandbox would be if somebody else answered in its place."""
    saved = keys("web", "host_key") + ".saved"
    os.rename(keys("web", "host_key"), saved)
    os.link(keys("bare", "host_key"), keys("web", "host_key"))
    try:
        r = sandbox("ssh", "web", "true")
    finally:
        os.rename(saved, keys("web", "host_key"))
    equal((r.returncode, r.stdout), (255, b""), "status and stdout")
    check(b"Host key verification failed" in r.stderr, f"{r.stderr}")


def test_a_6_an_editor_opens_a_folder():
    path, bin_ = folder("site", file="x"), os.path.join(OWN, "bin")
    env = {"SANDBOX_SSH_CONFIG": os.path.join(OWN, "new/config"), "PATH": bin_}
    os.mkdir(bin_)
    good("ssh-config", "web")
    refused("needs an image with an sshd", "code", path, status=2, env=env)
    check("would create sandbox 'site'" in good("code", "--image", "tools", "--dry-run", path,
                                                env=env), "--dry-run")
    out = good("code", "--vm", "web", path, env=env)
    check(f"code --remote ssh-remote+{HOST} {path}\n" in out and "--install" in out, out)
    equal(good("exec", "web", "--", "ls", path), "file\n", "the folder in the sandbox")
    with open(os.path.join(bin_, "code"), "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\necho "$*"\n')
    os.chmod(f.name, 0o755)
    r = sandbox("code", "--vm", "web", path, env=env)
    check(r.returncode == 2 and b"say --yes" in r.stderr, f"{r}")
    equal(good("code", "--yes", "--vm", "web", path, env=env),
          f"--remote ssh-remote+{HOST} {path}\n", "the editor's command line")
    out = subprocess.run(["ssh", "-F", env["SANDBOX_SSH_CONFIG"], "-G", HOST], check=True,
                         capture_output=True, text=True).stdout
    check("\nhostkeyalias sandbox\n" in out, out)


# ---- git -------------------------------------------------------------------------------------

GIT_ENV = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
           "PATH": os.path.dirname(SANDBOX) + ":" + os.environ["PATH"]}


def git(where, *args):
    r = subprocess.run(["git", "-C", where, *args], env={**ENV, **GIT_ENV}, capture_output=True,
                       timeout=BOOT_S, stdin=subprocess.DEVNULL, check=False)
    equal(r.returncode, 0, f"git {args}: {r.stderr}")
    return r.stdout.decode()


def repository(name):
    path = folder(name, kept="1\n", ignored="secret\n")
    git(path, "init", "-q", "-b", "work")
    git(path, "config", "user.name", 'A "B" \\C')
    git(path, "config", "user.email", "a@example.org")
    return path


def attach(*args):
    return good("attach", "--mode", "git", "--vm", "web", *args, env=GIT_ENV, limit=BOOT_S)


def test_b_0_what_cannot_travel_says_why():
    path = repository("empty")
    args = ("attach", "--mode", "git", "--vm", "web")
    refused("has no commit yet, and only commits travel", *args, path, status=2)
    git(path, "add", "kept")
    git(path, "commit", "-qm", "first")
    refused("is no git repository", *args, folder("plain"), status=2)
    refused("is inside of the repository", *args, folder("empty/sub"), status=2)
    refused("is none of rw, ro, cow and git", "attach", "--mode", "gti", "--vm", "web", path,
            status=2)
    git(path, "remote", "add", "sandbox-web", "/elsewhere")
    refused("the remote sandbox-web is /elsewhere already", *args, path, status=2)
    good("create", "off")
    refused("does not run, and a repository in it", *args[:-1], "off", path)
    refused("has no git; put it into the image", *args[:-1], "bare", path)
    helper = os.path.join(os.path.dirname(SANDBOX), "git-remote-sandbox")
    r = subprocess.run([helper, "x", "web"], input=b"connect git-upload-pack\n\n", env=ENV,
                       capture_output=True, timeout=RUN_S, check=False)
    check(r.returncode and b"names no folder of a sandbox" in r.stderr, f"{r}")
    r = subprocess.run([helper, "x", "web:/r"], input=b"connect sh\n\n", env=ENV,
                       capture_output=True, timeout=RUN_S, check=False)
    check(r.returncode and b"which is not known here" in r.stderr, f"{r}")


def test_b_1_only_commits_travel():
    path = repository("repo")
    write("repo/.gitignore", "ignored\n")
    git(path, "add", "kept", ".gitignore")
    git(path, "commit", "-qm", "first")
    write("repo/untracked", "x")
    check("would attach" in attach(path + ":/srv/repo", "--dry-run"), "--dry-run")
    equal(git(path, "remote"), "", "what a dry run left")
    equal(attach(path + ":/srv/repo"), "sandbox-web\n", "the remote")
    equal(good("exec", "web", "--", "sh", "-c",
               "cd /srv/repo && ls -A && echo two >>kept && git commit -qam second && "
               "git tag evil && git log -1 --format=%an", limit=BOOT_S),
          '.git\n.gitignore\nkept\nA "B" \\C\n', "in the guest")
    git(path, "fetch", "-q", "sandbox-web")
    equal(git(path, "log", "--format=%s", "sandbox-web/work"), "second\nfirst\n", "fetched")
    equal(git(path, "tag"), "", "tags of the guest's")
    check("would detach" in good("detach", "--mode", "git", "--vm", "web", path, "--dry-run"),
          "--dry-run")
    good("detach", "--mode", "git", "--vm", "web", path)
    equal(git(path, "remote"), "", "remotes after detach")


def test_long_b_2_a_push_changes_what_is_checked_out():
    path = at("repo")
    refused("whether the sandbox has commits of its own", "attach", "--mode", "git", "--vm", "web",
            path + ":/srv/repo", env=GIT_ENV)
    git(path, "fetch", "-q", "sandbox-web")
    git(path, "merge", "-q", "--ff-only", "sandbox-web/work")
    attach(path + ":/srv/repo")
    write("repo/kept", "three\n")
    git(path, "commit", "-qam", "third")
    git(path, "push", "-q", "sandbox-web", "work")
    equal(good("exec", "web", "--", "cat", "/srv/repo/kept"), "three\n", "checked out")
    good("exec", "web", "--", "sh", "-c", "echo dirty >/srv/repo/kept")
    write("repo/kept", "four\n")
    git(path, "commit", "-qam", "fourth")
    refused("or changes that are not committed", "attach", "--mode", "git", "--vm", "web",
            path + ":/srv/repo", env=GIT_ENV)
    equal(good("exec", "web", "--", "cat", "/srv/repo/kept"), "dirty\n", "what was not committed")


# ---- cp, where the root has holes ------------------------------------------------------------

def test_c_0_holes_are_not_sent():
    """Half a gigabyte through the guest's kernel would outlast the test's patience."""
    with open(at("sparse"), "wb") as f:
        f.seek(300 << 20)
        f.write(b"middle")
        f.truncate(512 << 20)
    os.utime(at("sparse"), ns=(1, 1234567890123456789))
    good("cp", at("sparse"), "web:/srv")
    good("cp", "web:/srv/sparse", at("back"))
    st = os.stat(at("back"))
    equal((st.st_size, st.st_mtime_ns), (512 << 20, 1234567890123456789), "size and time")
    check(st.st_blocks < 100, f"{st.st_blocks} blocks")
    with open(at("back"), "rb") as f:
        f.seek((300 << 20) - 3)
        equal(f.read(12), b"\0\0\0middle\0\0\0", "what is in it")


if __name__ == "__main__":
    sys.exit(harness.main("remote", globals(), always=("test_00_an_image_with_an_sshd_and_git",)))
