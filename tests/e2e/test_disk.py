#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks over images: what stays, what goes, what a power cut and a full host do."""
import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
import harness
from harness import (BOOT_S, ENV, RUN_S, SANDBOX, Failure, NotHere, at, check, equal, good, monitor,
                     refused, sandbox, start, tree, wait, write)
from images import app, ext4


def test_0_a_disk_has_its_size_and_vanishes():
    good("run", app(), "--", limit=BOOT_S)      # makes the template
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


def test_1_a_host_without_space_is_an_error_of_the_guest():
    """What --disk takes lies on a file system of its own, which is filled behind its back."""
    script = ("echo ready; read go; dd if=/dev/zero of=/big bs=64k count=40 conv=fsync; "
              "echo $?; echo alive >/dev/shm/f && cat /dev/shm/f")
    space = ["unshare", *(["-Ur"] if os.geteuid() else []), "-m"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        raise NotHere("unshare cannot make a mount namespace")  # test_3: another way to that error
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


def test_2_the_disk_of_a_named_sandbox_stays():
    good("create", "kept", "--image", app(), "--disk", "192M", "--disk-bps", "512M",
         "--disk-iops", "9000", *(["--disk-direct"] if can_direct() else []))
    good("start", "kept")
    with open(f"/proc/{monitor('kept')}/cmdline", encoding="utf-8") as f:
        words = f.read().split("\0")
    limits = "bps=536870912,iops=9000"
    equal(words[words.index("--root") + 1].split(",", 1)[1], "ro," + limits, "the image")
    equal(words[words.index("--disk") + 1].split(",", 1)[1],
          ("direct," if can_direct() else "") + limits, "the disk")
    # What overlayfs cannot remove from its work folder makes it read-only; damage does that, too.
    good("exec", "-u", "0", "kept", "--", "sh", "-c", "echo stays >/file; mkdir /folder /m; "
         "mount /dev/vdb /m; (cd /m/work; mkdir -p work/1/2/3/4) && umount /m && rmdir /m && sync")
    good("restart", "kept")
    equal(good("exec", "-u", "0", "kept", "--", "sh", "-c",
               "cat /file; rmdir /folder && id -u app && sync"), "stays\n1000\n", "after a restart")
    disk = os.path.join(ENV["XDG_STATE_HOME"], "sandbox/sandboxes/kept/disk")
    before = os.stat(disk).st_blocks
    good("exec", "-u", "0", "kept", "--", "sh", "-c",
         "dd if=/dev/zero of=/big bs=64k count=32 conv=fsync 2>/dev/null")
    check(os.stat(disk).st_blocks > before + 3072, "2 MiB take no space on the host")
    good("exec", "-u", "0", "kept", "--", "sh", "-c", "rm /big; sync")
    wait(lambda: os.stat(disk).st_blocks < before + 2048, "what was removed goes back to the host")
    good("stop", "kept")


def test_3_a_full_host_is_an_error_of_the_guest():
    """A limit on the size of files stands for a full disk: the monitor must live through it. Only
    the last block is beyond it, so that the guest's file system does without."""
    soft = (192 << 20) - 4096
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    good("start", "kept",
         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    r = sandbox("exec", "-u", "0", "kept", "--", "dd", "if=/dev/zero", "of=/dev/vdb", "bs=4k",
                "count=1", f"seek={soft // 4096}", "conv=fsync,notrunc")
    if r.returncode == 0 or b"nput/output error" not in r.stderr:
        raise Failure(f"status {r.returncode}, {r.stderr!r}")
    equal(good("exec", "kept", "--", "cat", "/file"), "stays\n", "the machine goes on")
    good("stop", "kept")


def test_4_what_was_flushed_survives_a_kill_of_the_monitor():
    good("start", "kept")
    loop = "i=0; while i=$((i+1)); echo data$i >/cut$i && sync /cut$i; do echo $i; done"
    p = subprocess.Popen([SANDBOX, "exec", "-u", "0", "kept", "--", "sh", "-c", loop], env=ENV,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = [p.stdout.readline() for _ in range(3)]
    equal(said, [b"1\n", b"2\n", b"3\n"], "what it has flushed")
    os.kill(monitor("kept"), signal.SIGKILL)
    rest, err = p.communicate(timeout=RUN_S)
    equal(p.returncode, 125, f"{err!r}; status of the exec")
    last = int((said + rest.splitlines())[-1])
    good("start", "kept")
    equal(good("exec", "kept", "--", "sh", "-c",
               f"for i in $(seq {last}); do cat /cut$i; done").split(),
          [f"data{i + 1}" for i in range(last)], "files")
    good("rm", "-f", "kept")


def test_5_a_disk_over_an_ext4_image_is_a_copy_of_it():
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


def test_6_such_a_disk_stays_with_its_sandbox_and_goes_to_its_copies():
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


def test_long_0_many_power_cuts():
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


def test_long_1_a_disk_shares_its_images_blocks_where_the_host_can():
    """On a file system of its own, which only root can mount."""
    if os.geteuid():
        raise NotHere("it needs root")
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
    sys.exit(harness.main("disk", globals()))
