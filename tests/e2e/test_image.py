#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images and disks: the store, what it takes and what it refuses, and sandboxes on an image.

The image is an OCI layout made here of busybox. It costs one template, the first case in a guest;
each other case costs a restore.
"""
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import harness
import oci
from harness import (BOOT_S, ENV, RUN_S, SANDBOX, Failure, at, equal, good, refused, sandbox,
                     tree, write)


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
    good("image", "rm", "again", "base")
    equal(good("image", "path", "third").split("/")[-2], ident, "the image of the third name")
    refused("has 1 names", "image", "rm", ident)
    good("image", "rm", "third")
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
    good("image", "rm", "lies")


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
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))     # a thorough liar
    refused("is damaged", "image", "verify")
    manifest = os.path.join(os.path.dirname(path), "manifest")
    with open(manifest, "r+", encoding="utf-8") as f:
        text = f.read().replace('"config": {}', '"config": {"user": "0"}')
        f.seek(0)
        f.write(text)
    refused("the manifest of image", "run", "hurt", "--", "true", status=125)
    good("image", "rm", "hurt")


def test_a_7_the_word_before_the_dashes_is_the_image():
    refused("there is no image 'true'", "run", "true", "--", "x", status=125)
    refused("both --image a and 'b --' name an image", "run", "--image", "a", "b", "--", "c",
            status=125)
    refused("there is no command", "run", "tree", "--", status=125)


# ---- sandboxes on it

def app():
    """The image; made once."""
    if not os.path.exists(at("layout")):
        oci.Layout(at("layout"), [
            oci.tar(oci.base() + [oci.plain("gone"), oci.folder("opq"), oci.plain("opq/old"),
                                  oci.plain("srv/mine", b"m", uid=1000, gid=50, mode=0o640),
                                  oci.plain("bin/setid", b"", mode=0o4755)]),
            oci.tar([oci.plain(".wh.gone"), oci.plain("opq/new"), oci.plain("opq/.wh..wh..opq"),
                     oci.plain("srv/hello", b"hello\n")])],
            {"Env": ["PATH=/bin", "GREETING=hi"], "Entrypoint": ["/bin/env"],
             "Cmd": ["cat", "/srv/hello"], "User": "app", "WorkingDir": "/srv"})
        good("image", "import", "--name", "app", at("layout"))
    return "app"


def test_b_0_entrypoint_and_command_are_the_images():
    equal(good("run", app(), "--", limit=BOOT_S), "hello\n", "what the image runs")


def test_b_1_environment_user_and_folder_are_the_images():
    script = "id -u; pwd; echo $GREETING; echo /*; echo /opq/*; stat -c %u:%g:%a mine /bin/setid"
    equal(good("run", app(), "--", "sh", "-c", script),
          "1000\n/srv\nhi\n/bin /dev /etc /opq /proc /run /srv /sys /tmp\n/opq/new\n"
          "1000:50:640\n0:0:4755\n", "the guest's view")
    equal(good("run", "-u", "0", "-w", "/", "-e", "GREETING=ho", app(), "--", "sh", "-c",
               "id -u; pwd; echo $GREETING; echo x >/etc/new && cat /etc/new"), "0\n/\nho\nx\n",
          "flags win, and the root can be written")


def test_b_2_a_read_only_root_and_tmpfs():
    script = ("touch /x; touch /srv/mine; for f in /tmp/a /run/b /data/c; do echo 1 >$f; done; "
              "df -k /data | tail -1")
    r = sandbox("run", "-u", "0", "--read-only", "--tmpfs", "/data:size=4M", app(), "--",
                "sh", "-c", script)
    equal(r.returncode, 0, f"{r.stderr!r}; status")
    equal(r.stderr.count(b"Read-only file system"), 2, f"{r.stderr!r}; refusals")
    equal(r.stdout.split()[1], b"4096", "size of the tmpfs")


def test_b_3_a_disk_has_its_size_and_vanishes():
    before = tree(ENV["XDG_CACHE_HOME"])
    out = good("run", "-u", "0", "--disk", "64M", app(), "--", "sh", "-c",
               "echo x >/f; df -k / | tail -1")
    size = int(out.split()[1])
    if not 40000 < size < 65536:
        raise Failure(f"the root has {size} KiB")
    equal(tree(ENV["XDG_CACHE_HOME"]), before, "files in the cache")


def test_b_4_the_disk_of_a_named_sandbox_stays():
    good("create", "kept", "--image", app(), "--disk", "192M")
    good("start", "kept")
    good("exec", "-u", "0", "kept", "--", "sh", "-c", "echo stays >/file; mkdir /folder; sync")
    good("restart", "kept")
    equal(good("exec", "kept", "--", "sh", "-c", "cat /file; echo /folder; id -u"),
          "stays\n/folder\n1000\n", "after a restart")
    good("stop", "kept")


def test_b_5_a_full_host_is_an_error_of_the_guest():
    """A limit on the size of files stands for a full disk: the monitor must live through it."""
    soft = 128 << 20
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    good("start", "kept",
         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    r = sandbox("exec", "-u", "0", "kept", "--", "dd", "if=/dev/zero", "of=/dev/vdb", "bs=4k",
                "count=1", f"seek={(160 << 20) // 4096}", "conv=fsync,notrunc")
    if r.returncode == 0 or b"nput/output error" not in r.stderr:
        raise Failure(f"status {r.returncode}, {r.stderr!r}")
    equal(good("exec", "kept", "--", "cat", "/file"), "stays\n", "the machine goes on")
    good("stop", "kept")


def test_b_6_what_was_flushed_survives_a_kill_of_the_monitor():
    good("start", "kept")
    loop = "i=0; while :; do i=$((i+1)); echo data$i >/cut$i; sync /cut$i; echo $i; done"
    p = subprocess.Popen([SANDBOX, "exec", "-u", "0", "kept", "--", "sh", "-c", loop], env=ENV,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = [p.stdout.readline() for _ in range(3)]
    with open(os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes/kept/state"),
              encoding="utf-8") as f:
        os.kill(json.load(f)["monitor"], signal.SIGKILL)
    rest, err = p.communicate(timeout=RUN_S)
    equal(p.returncode, 125, f"{err!r}; status of the exec")
    last = int((said + rest.splitlines())[-1])
    good("start", "kept")
    equal(good("exec", "kept", "--", "sh", "-c",
               f"for i in $(seq {last}); do cat /cut$i; done").split(),
          [f"data{i + 1}" for i in range(last)], "files")
    good("rm", "-f", "kept")


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


if __name__ == "__main__":
    sys.exit(harness.main("image", globals(), machines=lambda name: name[5:7] != "a_"))
