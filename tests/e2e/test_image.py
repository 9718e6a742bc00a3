#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images: the store, what it takes and what it refuses, and sandboxes on an image. Disks over them
are test_disk.py's.

The first case in a guest costs a template, each other one a restore.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import harness
import oci
from harness import (BOOT_S, ENV, RUN_S, Failure, at, check, equal, good, read, refused, sandbox,
                     start, wait, write)
from images import app
from registry import Registry


def damage(path, where):
    """One bit of a file, as a disk would lose it: its times and mode stay."""
    before = os.stat(path)
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(where)
        byte = f.read(1)
        f.seek(where)
        f.write(bytes([byte[0] ^ 1]))
    os.chmod(path, before.st_mode & 0o777)
    return before


# ---- the store: no machine needed

def test_a_0_the_same_input_gives_the_same_digest():
    data = oci.tar(oci.base())
    one = good("image", "import", "--name", "base", write("base.tar", data))
    two = good("image", "import", "--name", "again", "-", stdin=data)
    equal(one, two, "digests")
    if len(one) != len("sha256:") + 64 + 1:
        raise Failure(f"printed {one!r}")
    listed = json.loads(good("image", "ls", "--json"))
    equal([x["name"] for x in listed], ["again", "base"], "names")
    equal({x["id"] for x in listed}, {one[7:].strip()}, "ids")
    other = good("image", "import", "-", stdin=oci.tar(oci.base() + [oci.plain("more")]))
    if other == one:
        raise Failure("other files, the same digest")


def test_a_1_names_come_and_go():
    ident = good("image", "path", "base").split("/")[-2]
    good("image", "tag", ident[:8], "third")
    refused("say --yes if it shall be done", "image", "rm", "again", status=2)
    equal(good("image", "rm", "--dry-run", "again"), "would remove image 'again'\n", "--dry-run")
    good("image", "rm", "--yes", "again", "base")
    equal(good("image", "path", "third").split("/")[-2], ident, "the image of the third name")
    refused("has 1 names", "image", "rm", "--yes", ident, status=2)
    good("image", "rm", "--yes", "third")
    refused("there is no image 'third'", "image", "path", "third")
    refused("there is no image", "image", "path", ident[:12])
    refused("no name for an image", "image", "tag", "x", "../x", status=2)


def test_a_2_an_image_of_a_folder():
    os.makedirs(at("tree/etc"))
    write("tree/etc/one", b"1")
    os.link(at("tree/etc/one"), at("tree/etc/two"))
    os.symlink("/etc/one", at("tree/link"))
    good("image", "import", "--name", "tree", at("tree"))
    out = subprocess.run(["fsck.erofs", "--extract=" + at("out"), "--overwrite",
                          good("image", "path", "tree").strip()], capture_output=True, check=False)
    equal(out.returncode, 0, f"fsck.erofs: {out.stdout} {out.stderr}")
    equal(sorted(os.listdir(at("out"))), ["dev", "etc", "link", "proc", "run", "sys", "tmp"],
          "folders")
    with open(at("out/etc/two"), "rb") as f:
        equal(f.read(), b"1", "a file")
    equal(os.readlink(at("out/link")), "/etc/one", "a link")


def test_a_3_a_ready_file_system_needs_its_digest():
    path = good("image", "path", "tree").strip()
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    refused("needs --sha256", "image", "import", "--format", "erofs", path, status=2)
    refused("not the one of --sha256", "image", "import", "--format", "erofs", "--sha256",
            "0" * 64, path)
    raw = good("image", "import", "--format", "erofs", "--sha256", digest, path)
    equal(raw.strip()[7:], good("image", "path", "tree").split("/")[-2], "the same image")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as f:      # another file system
        with open(path, "rb") as image:
            f.write(image.read())
        f.flush()
        equal(good("image", "import", "--format", "erofs", "--sha256", digest, f.name), raw,
              "from elsewhere")


def test_a_4_an_archive_that_lies_stays_in_its_image():
    os.makedirs(at("victim"))
    lies = [oci.link("way", at("victim")), oci.plain("way/in", b"x"),
            oci.plain("../" * 20 + at("victim/up"), b"x"), oci.plain(at("victim/abs"), b"x"),
            oci.link("self", "self"), {"name": "hard", "type": b"1", "linkname": "/etc/passwd"}]
    for n in range(4):
        good("image", "import", "--name", "lies", "-", stdin=oci.tar(lies[n:n + 1]))
    good("image", "import", "-", stdin=oci.tar(lies[:4]))
    equal(os.listdir(at("victim")), [], "files outside")
    refused("too many links", "image", "import", "-",
            stdin=oci.tar([lies[4], oci.plain("self/x")]))
    refused("which is not there", "image", "import", "-", stdin=oci.tar(lies[5:]))
    refused("the archive is damaged", "image", "import", "-",
            stdin=oci.tar([oci.plain("f", b"x" * 4000)])[:2000])
    refused("no whole tar archive", "image", "import", "-", stdin=b"#!/bin/sh\n" * 100)
    good("image", "rm", "--yes", "lies")


def test_a_5_a_damaged_blob_of_a_layout_is_refused():
    layout = oci.Layout(at("bad"), [oci.tar([oci.plain("f", b"x" * 1000)])], {})
    damage(layout.blob_path(layout.layers[0]), 20)
    refused("is damaged", "image", "import", at("bad"))
    layout.write("index.json", '{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}')
    refused("is no SHA-256 digest", "image", "import", at("bad"))


def test_a_6_a_damaged_image_is_not_used():
    good("image", "import", "--name", "hurt", "-", stdin=oci.tar([oci.plain("f", b"x" * 9000)]))
    path = good("image", "path", "hurt").strip()
    good("image", "verify", "hurt")
    before = damage(path, 5000)
    refused("is damaged", "run", "hurt", "--", "true", status=125)
    refused("is damaged", "run", "--image", "hurt", "--", "true", status=125)
    refused("is damaged", "image", "verify")
    found = {x["check"]: x for x in json.loads(sandbox("doctor", "--json").stdout)["checks"]}
    equal(found["images"]["grade"], "warn", f"{found['images']}; the doctor's grade")
    check("1 of them damaged, such as hurt" in found["images"]["found"], f"{found['images']}")
    damage(path, 5000)
    good("image", "verify", "hurt")
    damage(path, 5000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))     # a liar
    refused("is damaged", "run", "hurt", "--", "true", status=125)
    manifest = os.path.join(os.path.dirname(path), "manifest")
    with open(manifest, "r+", encoding="utf-8") as f:
        text = f.read().replace('"config": {}', '"config": {"user": "0"}')
        f.seek(0)
        f.write(text)
    refused("the manifest of image", "run", "hurt", "--", "true", status=125)
    good("image", "rm", "--yes", "hurt")


def test_a_7_the_word_before_the_dashes_is_the_image():
    refused("there is no image 'true'", "run", "true", "--", "x", status=125)
    refused("both --image a and 'b --' name an image", "run", "--image", "a", "b", "--", "c",
            status=125)
    refused("there is no command", "run", "tree", "--", status=125)


def drafts():
    return [x for x in os.listdir(at(ENV["XDG_DATA_HOME"], "sandbox/images"))
            if x.startswith("tmp-")]


def test_a_8_a_maker_that_dies_leaves_nothing_for_long():
    p = start("image", "import", "--name", "half", "-", stdin=subprocess.PIPE)
    p.stdin.write(oci.tar([oci.plain("f", b"x" * (1 << 20))])[:600 << 10])
    p.stdin.flush()
    wait(drafts, "a draft")
    p.kill()
    p.communicate()
    refused("there is no image 'half'", "image", "path", "half")
    equal(len(drafts()), 1, "drafts")
    good("image", "import", "--name", "half", "-", stdin=oci.tar([oci.plain("f", b"whole")]))
    equal(drafts(), [], "drafts")
    good("image", "rm", "--yes", "half")


def test_a_9_several_may_make_the_same_image_at_once():
    data = write("same.tar", oci.tar(oci.base()))
    all_of = [start("image", "import", "--name", f"same{n % 2}", data) for n in range(6)]
    said = {p.communicate(timeout=RUN_S) + (p.returncode,) for p in all_of}
    equal(len(said), 1, f"{said}; answers")
    out, err, status = said.pop()
    equal((err, status), (b"", 0), "stderr and status")
    good("image", "verify", out.decode().strip())
    equal(drafts(), [], "drafts")
    good("image", "rm", "--yes", "same0", "same1")


def test_a_10_an_image_is_pulled_from_a_registry():
    layout = oci.Layout(at("far"), [oci.tar(oci.base()), oci.tar([oci.plain("far", b"away")])],
                        {"Env": ["A=b"], "Cmd": ["true"]})
    near = good("image", "import", "--name", "near", at("far"))
    with Registry(layout) as r:
        equal(good("image", "pull", f"{r.name}/team/tool:one"), near, "digests")
        equal(good("image", "pull", f"{r.name}/tool@{layout.manifest['digest']}"), near, "digests")
        equal(good("image", "path", "tool:one"), good("image", "path", "tool"), "paths")
        listed = json.loads(good("image", "ls", "--json"))
        check(f"{r.name}/team/tool:one" not in {x["source"] for x in listed},
              "an image that is there is not replaced")
        good("image", "rm", "--yes", "tool", "tool:one", "near")
        good("image", "pull", "--name", "n", f"{r.name}/team/tool")
        equal([(x["name"], x["source"], x["config"]) for x in json.loads(good("image", "ls",
               "--json")) if x.get("name") == "n"],
              [("n", f"{r.name}/team/tool", {"cmd": ["true"], "env": ["A=b"]})], "the manifest")
        last_line("skopeo failed", f"{r.name}/team/tool:two")
        damage(layout.blob_path(layout.layers[1]), 20)
        last_line("skopeo failed", f"{r.name}/team/tool:one")
    equal(drafts(), [], "drafts")
    refused("no image of a registry", "image", "pull", "--", "-x", status=2)
    good("image", "rm", "--yes", "n")


def test_a_11_a_sandbox_keeps_to_its_image():
    data = oci.tar(oci.base() + [oci.plain("own")])
    one = good("image", "import", "--name", "root", "-", stdin=data).strip()
    good("create", "pinned", "--image", "root")
    config = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes/pinned/config")
    equal(read(config), f"image = root@{one}\n", "the configuration")
    refused("is the root of sandbox 'pinned'", "image", "rm", "--yes", "root", status=2)
    good("image", "import", "--name", "root", "-", stdin=oci.tar(oci.base() + [oci.plain("more")]))
    good("image", "rm", "--yes", "root")
    refused("is the root of sandbox 'pinned'", "image", "rm", "--yes", one, status=2)
    equal(good("image", "path", f"any@{one}").split("/")[-2], one[7:], "by a name and digest")
    good("image", "rm", "-f", one)
    refused("there is no image 'root@", "start", "pinned")
    good("rm", "-f", "pinned")


def last_line(sentence, ref):
    """A pull that fails; what is above the sentence is skopeo's own."""
    r = sandbox("image", "pull", ref)
    equal((r.returncode, r.stdout), (1, b""), f"{r.stderr!r}; status and stdout")
    check(sentence in r.stderr.decode().splitlines()[-1], f"{r.stderr!r}")


# ---- sandboxes on it

def test_b_0_entrypoint_and_command_are_the_images():
    equal(good("run", app(), "--", limit=BOOT_S), "hello\n", "what the image runs")


def test_b_1_environment_user_and_folder_are_the_images():
    script = ("id -u; pwd; echo $GREETING; echo /*; echo /opq/*; "
              "stat -c %u:%g:%a /srv/mine /bin/setid .; grep -c localhost /etc/hosts")
    equal(good("run", app(), "--", "sh", "-c", script),
          "1000\n/made/here\nhi\n/bin /dev /etc /made /opq /proc /run /srv /sys /tmp\n/opq/new\n"
          "1000:50:640\n0:0:4755\n0:0:755\n2\n", "the guest's view")
    equal(good("run", "-u", "0", "-w", "/", "-e", "GREETING=ho", app(), "--", "sh", "-c",
               "id -u; pwd; echo $GREETING; echo x >/etc/new && cat /etc/new"), "0\n/\nho\nx\n",
          "flags win, and the root can be written")


def test_b_11_another_entrypoint_or_none():
    equal(good("run", "--entrypoint", "echo", app(), "--", "a", "b"), "a b\n", "another one")
    equal(good("run", "--entrypoint", "", app(), "--", "pwd"), "/made/here\n", "none")
    refused("there is no command", "run", "--entrypoint", "", app(), "--", status=125)


def test_b_2_a_read_only_root_and_tmpfs():
    script = ("touch /x; touch /srv/mine; for f in /tmp/a /run/b /data/c; do echo 1 >$f; done; "
              "df -k /data | tail -1")
    r = sandbox("run", "-u", "0", "--read-only", "--tmpfs", "/data:size=4M", app(), "--",
                "sh", "-c", script)
    equal(r.returncode, 0, f"{r.stderr!r}; status")
    equal(r.stderr.count(b"Read-only file system"), 2, f"{r.stderr!r}; refusals")
    equal(r.stdout.split()[1], b"4096", "size of the tmpfs")


def test_long_0_two_builds_have_one_digest():
    """From Debian's packages, twice: minutes, and a network."""
    one = good("image", "build", "--profile", "minimal", limit=1800)
    equal(good("image", "build", "--profile", "minimal", "--name", "twice", limit=1800), one,
          "digests")
    listed = json.loads(good("image", "ls", "--json"))
    packages = [x for x in listed if x.get("name") == "twice"][0]["packages"]
    if not any(p.startswith("bash 5") for p in packages):
        raise Failure(f"packages {packages[:5]}")
    equal(good("run", "twice", "--", "bash", "-c", "echo $BASH_VERSINFO", limit=BOOT_S), "5\n",
          "bash")


PROMISES = {
    "debian": "apt-get --version; less --version; ps --version; make --version",
    "python": "python3 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'print(6 * 7)' && "
              "pip --version && python3 -v -c 'import json; "
              "print(open(json.__cached__, \"rb\").read(8)[4])' 2>&1 | "
              "grep -e '^0' -e 'json/__init__.py$' | grep -c -e '^0' -e matches | grep 2",
    "node": "node -p '6 * 7' && npm --version",
    "dev": "set -e; git --version; tmux -V; rg --version; curl --version; ssh -V; make --version; "
           "echo 'int main(void) { return 0; }' >/tmp/a.c; cc -o /tmp/a /tmp/a.c; /tmp/a",
}


def test_long_1_profiles_have_what_they_promise():
    for profile, script in PROMISES.items():
        good("image", "build", "--profile", profile, limit=1800)
        r = sandbox("run", "-m", "1G", "--image", profile, "--", "sh", "-ec", script, limit=1800)
        equal(r.returncode, 0, f"{profile}: {r.stdout[-300:]!r} {r.stderr[-300:]!r}; status")


if __name__ == "__main__":
    sys.exit(harness.main("image", globals(), machines=lambda name: name[5:7] != "a_"))
