# SPDX-License-Identifier: Apache-2.0
"""The file server, through the host kernel's own client, against the same folder itself.

One process and one thread, so that it is latency that counts. Each pair is the same work on
the mount and on the folder behind it, on fresh names. Data is in the host's page cache, and is
read with O_DIRECT at the mount, so that each read is a request. The guest's client does the
same work with the same requests; its emulated kernel would hide the server.

measure_peer: the same requests, one after the other, to sandbox-fsd through its window and to
Debian's virtiofsd through vhost-user (fuse_trip.c), both without cache; as root, which that one
needs to be.
"""
import mmap
import os
import subprocess
import tempfile
import time

from common import OUT, RUNS, tool

FILES, CHUNK, BYTES = 2000, 1 << 20, 128 << 20


def seconds(work, folder):
    begin = time.perf_counter()
    work(folder)
    return time.perf_counter() - begin


def create(folder):
    for i in range(FILES):
        os.close(os.open(f"{folder}/f{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def stat(folder):
    for i in range(FILES):
        os.stat(f"{folder}/f{i}")


def walk(folder):
    with os.scandir(folder) as entries:
        for e in entries:
            e.stat()


def rename(folder):
    for i in range(FILES):
        os.rename(f"{folder}/f{i}", f"{folder}/g{i}")


def unlink(folder):
    for i in range(FILES):
        os.unlink(f"{folder}/g{i}")


def write(folder):
    block = bytes(CHUNK)
    fd = os.open(f"{folder}/data", os.O_CREAT | os.O_WRONLY)
    for at in range(0, BYTES, CHUNK):
        os.pwrite(fd, block, at)
    os.close(fd)


def read(folder, chunk=CHUNK, count=BYTES // CHUNK, flags=0):
    fd = os.open(f"{folder}/data", os.O_RDONLY | flags)
    with mmap.mmap(-1, chunk) as block:
        for i in range(count):
            os.preadv(fd, [block], i * chunk % BYTES)
    os.close(fd)


META = (("create and close a file", create), ("stat a file by name", stat),
        ("list a folder with stat of each", walk), ("rename a file", rename),
        ("unlink a file", unlink))


def mount(top, number):
    """A mount whose client believes nothing for longer than a request."""
    there = f"{top}/mnt"
    server = subprocess.Popen([f"{OUT}/sandbox-fsd", "--mount", there, "--cache", "none",
                               "--share", f"0:rw:{top}/rw",
                               "--share", f"1:cow:{top}/low:{top}/up"])
    for _ in range(500):
        if os.path.isdir(f"{there}/{number}"):
            return server
        time.sleep(0.01)
    server.kill()
    raise RuntimeError("the mount did not come up")


def one_run(top, times):
    for mode, folder in (("rw", f"{top}/mnt/0"), ("cow", f"{top}/mnt/1")):
        for what, work in META:
            plain = seconds(work, f"{top}/plain")
            times.setdefault((mode, what), []).append((seconds(work, folder), plain))
    for what, work in (("write 1 MiB", write),
                       ("read 1 MiB", lambda d: read(d, flags=os.O_DIRECT * ("mnt" in d))),
                       ("read 4 KiB", lambda d: read(d, 4096, 8192, os.O_DIRECT * ("mnt" in d)))):
        plain = seconds(work, f"{top}/plain")
        times.setdefault(("rw", what), []).append((seconds(work, f"{top}/mnt/0"), plain))
    os.unlink(f"{top}/plain/data")
    os.unlink(f"{top}/mnt/0/data")


def measure(report):
    times = {}
    with tempfile.TemporaryDirectory() as top:
        for name in ("mnt", "rw", "low", "up", "plain"):
            os.mkdir(f"{top}/{name}")
        server = mount(top, 0)
        try:
            for _ in range(RUNS):
                one_run(top, times)
        finally:
            server.terminate()
            server.wait()
    for (mode, what), pairs in times.items():
        count = {"write 1 MiB": 128, "read 1 MiB": 128, "read 4 KiB": 8192}.get(what, FILES)
        ours, theirs = zip(*pairs)
        per_second = count / sorted(ours)[len(ours) // 2]
        report.pairs(f"file server, {mode}: {what}", "the same in the folder itself", ours, theirs,
                     "s", f"{per_second:.0f} per second")


VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
TRIPS = 2000


def trips(*words):
    out = subprocess.run([tool("fuse_trip"), *words, str(TRIPS)], check=True, timeout=300,
                         stdout=subprocess.PIPE, text=True).stdout
    return {name: int(ns) for name, ns in (line.split() for line in out.splitlines())}


def peer_trips(folder, path):
    peer = subprocess.Popen([VIRTIOFSD, f"--socket-path={path}", "-o", f"source={folder}",
                             "-o", "cache=none", "-o", "log_level=err", "-f"])
    try:
        while not os.path.exists(path):
            if peer.poll() is not None:
                raise RuntimeError(f"virtiofsd ended with status {peer.returncode}")
            time.sleep(0.01)
        return trips("vhost", path, "-")
    finally:
        peer.kill()
        peer.wait()
        if os.path.exists(path):
            os.unlink(path)


def measure_peer(report):
    if os.geteuid() or not os.path.exists(VIRTIOFSD):
        raise RuntimeError(f"{VIRTIOFSD} is not there, or this is not root")
    with tempfile.TemporaryDirectory() as top:
        os.mkdir(f"{top}/shared")
        with open(f"{top}/shared/file", "wb") as f:
            f.write(bytes(CHUNK))
        pairs = [(trips("window", f"{OUT}/sandbox-fsd", f"{top}/shared"),
                  peer_trips(f"{top}/shared", f"{top}/socket")) for _ in range(RUNS)]
    for name in pairs[0][0]:
        report.pairs(f"file server, request by request: {name}", "Debian's virtiofsd",
                     [a[name] for a, _ in pairs], [b[name] for _, b in pairs], "ns")
