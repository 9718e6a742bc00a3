#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything as an ordinary user who may open /dev/kvm, if the tests run as root: the scenario
over all verbs, by a user without any capability. In a mount namespace of its own /dev/kvm is
a node that belongs to this user, and the source tree is where everybody may enter; nothing of
the host changes. Otherwise all the other tests are that already.
"""
import os
import subprocess
import sys
import harness
from harness import BOOT_S, NotHere, HERE, SANDBOX, at, check

USER = 54321        # nobody's

SCRIPT = r"""
set -e
top=$1 tree=$2 user=$3 python=$4
mount -t tmpfs -o mode=755 none "$top/dev"
mknod -m 600 "$top/dev/kvm" c 10 232
chown "$user" "$top/dev/kvm"
mount --bind "$top/dev/kvm" /dev/kvm
mount --bind "$tree" "$top/tree"
cd "$top/home"
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --bounding-set=-all \
    "$python" "$top/tree/tests/e2e/scenario.py" ordinary
"""


def may_enter(path):
    """Everybody, all the way down?"""
    while os.stat(path).st_mode & 0o5 == 0o5:
        if path == "/":
            return True
        path = os.path.dirname(path)
    return False


def prepare(tree):
    """Folders of the user's, and the templates that there are: made from the same files."""
    os.chmod(at(), 0o755)
    for name in ("dev", "tree", "home", "out"):
        os.mkdir(at(name))
    cache = harness.ENV["XDG_CACHE_HOME"]
    if os.path.isdir(cache):
        subprocess.run(["cp", "-a", "--sparse=always", cache, at("out", f"test-cache-{USER}")],
                       check=True)
    for path in (at("home"), at("out")):
        subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": at("home"), "O": at("out"),
            "SANDBOX": at("tree", os.path.relpath(SANDBOX, tree)), "PYTHONDONTWRITEBYTECODE": "1",
            "UMASK": "077"}


def test_an_ordinary_user_over_all_verbs():
    if os.geteuid() != 0:
        raise NotHere("it needs root, and as an ordinary user all the other tests are that")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        raise NotHere("unshare cannot make a mount namespace")
    tree = os.path.dirname(os.path.dirname(HERE))
    if not all(os.stat(f).st_mode & 0o5 == 0o5 for f in (tree, HERE, SANDBOX)):
        raise NotHere("it needs a source tree that others may read")
    env = prepare(tree)
    vmm = os.environ.get("SANDBOX_VMM")
    if vmm:
        env["SANDBOX_VMM"] = at("tree", os.path.relpath(vmm, tree))
    python = sys.executable if may_enter(os.path.realpath(sys.executable)) else "/usr/bin/python3"
    r = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh",
                        at(), tree, str(USER), python], env=env, capture_output=True, text=True,
                       timeout=2 * BOOT_S, check=False)
    check(r.returncode == 0 and r.stdout.startswith(f"ok scenario as user {USER}"),
          f"status {r.returncode}: {r.stdout[:600]} {r.stderr[:600]}")


if __name__ == "__main__":
    sys.exit(harness.main("user", globals()))
