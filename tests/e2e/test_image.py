#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images and disks: the store, what it takes and what it refuses, and sandboxes on an image.

The image is an OCI layout made here of busybox. It costs one template, the first case in a guest;
each other case costs a restore.
"""
import errno
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import harness
import oci
from harness import (BOOT_S, ENV, RUN_S, SANDBOX, Failure, at, check, equal, good, monitor, read,
                     refused, sandbox, start, tree, wait, write)
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
             "Cmd": ["cat", "/srv/hello"], "User": "app", "WorkingDir": "made/here"})
        good("image", "import", "--name", "app", at("layout"))
    return "app"


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


def test_b_3_a_disk_has_its_size_and_vanishes():
    before = tree(ENV["XDG_CACHE_HOME"])
    out = good("run", "-u", "0", "--disk", "64M", app(), "--", "sh", "-c",
               "echo x >/f; df -k / | tail -1")
    size = int(out.split()[1])
    if not 40000 < size < 65536:
        raise Failure(f"the root has {size} KiB")
    equal(tree(ENV["XDG_CACHE_HOME"]), before, "files in the cache")


OTHER_CACHE = """
set -e
cache=$XDG_CACHE_HOME/sandbox
mkdir "$1"
mount --bind "$cache/templates" "$1"
mount -t tmpfs -o size=80M none "$cache"
mkdir "$cache/templates"
mount --bind "$1" "$cache/templates"
shift
exec "$@"
"""


def test_b_31_a_host_without_space_is_an_error_of_the_guest():
    """What --disk takes lies on a file system of its own, which is filled behind its back."""
    script = ("echo ready; read go; dd if=/dev/zero of=/big bs=64k count=40 conv=fsync; "
              "echo $?; echo alive >/dev/shm/f && cat /dev/shm/f")
    space = ["unshare", *(["-Ur"] if os.geteuid() else []), "-m"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        return                          # test_b_5 has another way to the same error
    p = subprocess.Popen([*space, "sh", "-c", OTHER_CACHE, "sh", at("templates"), SANDBOX, "run",
                          "-u", "0", "--disk", "64M", app(), "--", "sh", "-c", script], env=ENV,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready = p.stdout.readline()
    try:
        with open(f"/proc/{p.pid}/root{ENV['XDG_CACHE_HOME']}/sandbox/fill", "wb", 0) as f:
            while ready:
                f.write(bytes(4096))
    except OSError as e:
        equal(e.errno, errno.ENOSPC, f"{e}; error of the host")
    out, err = p.communicate(b"go\n", timeout=RUN_S)
    equal((p.returncode, ready + out), (0, b"ready\n1\nalive\n"), f"{err!r}; status and stdout")
    check(b"nput/output error" in err, f"{err!r}")


def can_direct():
    try:
        os.close(os.open(write("direct", b""), os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True


def test_b_4_the_disk_of_a_named_sandbox_stays():
    good("create", "kept", "--image", app(), "--disk", "192M", "--disk-bps", "512M",
         "--disk-iops", "9000", *(["--disk-direct"] if can_direct() else []))
    good("start", "kept")
    with open(f"/proc/{monitor('kept')}/cmdline", encoding="utf-8") as f:
        words = f.read().split("\0")
    limits = "bps=536870912,iops=9000"
    equal(words[words.index("--root") + 1].split(",", 1)[1], "ro," + limits, "the image")
    equal(words[words.index("--disk") + 1].split(",", 1)[1],
          ("direct," if can_direct() else "") + limits, "the disk")
    good("exec", "-u", "0", "kept", "--", "sh", "-c", "echo stays >/file; mkdir /folder; sync")
    good("restart", "kept")
    equal(good("exec", "kept", "--", "sh", "-c", "cat /file; echo /folder; id -u"),
          "stays\n/folder\n1000\n", "after a restart")
    disk = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes/kept/disk")
    before = os.stat(disk).st_blocks
    good("exec", "-u", "0", "kept", "--", "sh", "-c",
         "dd if=/dev/zero of=/big bs=64k count=32 conv=fsync 2>/dev/null")
    check(os.stat(disk).st_blocks > before + 3072, "2 MiB take no space on the host")
    good("exec", "-u", "0", "kept", "--", "sh", "-c", "rm /big; sync")
    wait(lambda: os.stat(disk).st_blocks < before + 2048, "what was removed goes back to the host")
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
    os.kill(monitor("kept"), signal.SIGKILL)
    rest, err = p.communicate(timeout=RUN_S)
    equal(p.returncode, 125, f"{err!r}; status of the exec")
    last = int((said + rest.splitlines())[-1])
    good("start", "kept")
    equal(good("exec", "kept", "--", "sh", "-c",
               f"for i in $(seq {last}); do cat /cut$i; done").split(),
          [f"data{i + 1}" for i in range(last)], "files")
    good("rm", "-f", "kept")


def ext4():
    """The digest of an image that is ext4, of 24 MiB; made once."""
    path = at("ext4.img")
    if not os.path.exists(path):
        with tarfile.open(fileobj=io.BytesIO(oci.tar(oci.base()))) as t:
            t.extractall(at("ext4"))
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-d", at("ext4"), path, "24M"], check=True,
                       env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}, capture_output=True)
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        good("image", "import", "--format", "ext4", "--sha256", digest, "--name", "ext4", path)
    return "ext4"


def test_b_7_a_disk_over_an_ext4_image_is_a_copy_of_it():
    script = ("grep ' / ' /proc/mounts | tail -1; cat /sys/block/vda/size; df -k / | tail -1; "
              "ln /bin/busybox /new; stat -c %h /new; ls -d /lost+found; grep -c localhost /etc/hosts")
    out = good("run", "--image", ext4(), "--disk", "256M", "--", "sh", "-c", script).splitlines()
    equal(out[0].split()[:3], ["dev/vdb", "/", "ext4"], "the root")
    equal(out[1], "0", "the image is no disk")
    check(200 << 10 < int(out[2].split()[1]) < 256 << 10, f"{out[2]}; its size")
    check(int(out[3]) > 1, f"{out[3]} names")
    equal(out[4:], ["/lost+found", "2"], "the rest")
    good("image", "verify", "ext4")
    refused("which has 24 MiB; ask for more", "run", "--image", "ext4", "--disk", "20M", "--",
            "true", status=125)


def test_b_8_such_a_disk_stays_with_its_sandbox_and_goes_to_its_copies():
    good("create", "whole", "--image", ext4(), "--disk", "64M")
    good("start", "whole")
    path = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes/whole/disk")
    equal(os.stat(path).st_size, 64 << 20, "length")
    check(os.stat(path).st_blocks < 24 << 11, "the copy has blocks where the image has none")
    good("exec", "whole", "--", "sh", "-c", "echo stays >/file; rm /bin/seq; sync")
    good("fork", "whole", "--count", "1", "--prefix", "part")
    good("exec", "part-1", "--", "sh", "-c", "echo other >/file; sync")
    good("restart", "whole", "part-1")
    script = "cat /file; ls /bin/seq; df -k / | tail -1"
    for name, want in ("whole", "stays"), ("part-1", "other"):
        out = sandbox("exec", name, "--", "sh", "-c", script)
        check(b"No such file" in out.stderr, f"{out.stderr!r}; of what was removed")
        lines = out.stdout.decode().splitlines()
        equal(lines[0], want, f"{name} after a restart")
        check(50 << 10 < int(lines[1].split()[1]) < 64 << 10, f"{lines[1]}; its size")
    good("rm", "-f", "whole", "part-1")


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


def test_long_2_many_power_cuts():
    good("create", "cut", "--image", app(), "--disk", "128M")
    loop = "i={}; while :; do i=$((i+1)); echo data$i >/cut$i; sync /cut$i; echo $i; done"
    done = 0
    for n in range(8):
        good("start", "cut", limit=BOOT_S)
        p = start("exec", "-u", "0", "cut", "--", "sh", "-c", loop.format(done))
        first = int(p.stdout.readline())
        time.sleep(0.3 * n)
        os.kill(monitor("cut"), signal.SIGKILL)
        done = int((p.communicate(timeout=RUN_S)[0].split() or [first])[-1])
        good("start", "cut")
        equal(good("exec", "cut", "--", "sh", "-c",
                   f"for i in $(seq {done}); do cat /cut$i; done").split(),
              [f"data{i + 1}" for i in range(done)], "files")
        good("stop", "cut")
    good("rm", "-f", "cut")


def test_long_3_a_disk_shares_its_images_blocks_where_the_host_can():
    """On a file system of its own, which only root can mount."""
    if os.geteuid():
        print("# sharing of blocks: not tested, it needs root")
        return
    os.mkdir(at("xfs"))
    with open(at("xfs.img"), "wb") as f:
        f.truncate(400 << 20)
    subprocess.run(["/usr/sbin/mkfs.xfs", "-q", "-m", "reflink=1", at("xfs.img")], check=True)
    subprocess.run(["mount", "-o", "loop", at("xfs.img"), at("xfs")], check=True)
    env = {"XDG_STATE_HOME": at("xfs", "state"), "XDG_DATA_HOME": at("xfs", "data")}

    def used():
        os.sync()
        s = os.statvfs(at("xfs"))
        return (s.f_blocks - s.f_bfree) * s.f_frsize

    try:
        for path in env.values():
            os.mkdir(path)
        ext4()
        with open(at("ext4", "much"), "wb") as f:
            f.write(os.urandom(32 << 20))
        subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-b", "4096", "-d", at("ext4"),
                        at("much.img"), "64M"], check=True, capture_output=True)
        with open(at("much.img"), "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        good("image", "import", "--format", "ext4", "--sha256", digest, "--name", "much",
             at("much.img"), env=env)
        one = used()
        check(one > 32 << 20, f"{one}; of the image alone")
        good("create", "x", "--image", "much", "--disk", "128M", env=env)
        good("start", "x", env=env, limit=BOOT_S)
        good("exec", "x", "--", "sh", "-c", "echo x >/new; sync", env=env)
        check(used() < one + (8 << 20), f"{used()} after {one}; with a disk")
        good("snapshot", "create", "x", "one", env=env)
        good("exec", "x", "--", "sh", "-c", "echo y >/new; sync", env=env)
        good("rollback", "--yes", "x", "one", env=env)
        equal(good("exec", "x", "--", "cat", "/new", env=env), "x\n", "after a rollback")
        with open(at("xfs", "state/sandbox/sandboxes/x/snapshots/one/disk"), "rb") as f:
            check(f.seek(0, os.SEEK_END) == 128 << 20, "the snapshot's disk")
        check(used() < one + (32 << 20), f"{used()} after {one}; with a snapshot, memory included")
    finally:
        sandbox("rm", "-f", "x", env=env)
        wait(lambda: not subprocess.run(["umount", at("xfs")], check=False,
                                        capture_output=True).returncode, "the last user to go")


if __name__ == "__main__":
    sys.exit(harness.main("image", globals(), machines=lambda name: name[5:7] != "a_"))
