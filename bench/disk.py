# SPDX-License-Identifier: Apache-2.0
"""Random blocks of 4 KiB on the block device, against fio with io_uring on the same file.

The guest is a program without a kernel that runs at the processor's own speed (guest/blk.c), so
what is measured is the device: notification, rings, io_uring, and back. O_DIRECT on both
sides where the file system has it."""
import json
import os
import subprocess
import time

from common import OUT, RUNS, VMM, tool

SIZE = 256 << 20
COUNT = {1: 20000, 32: 60000}
SECONDS = 2


def make(path):
    with open(path, "wb") as f:
        piece = os.urandom(1 << 20)
        for _ in range(SIZE >> 20):
            f.write(piece)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False


def guest(path, direct, write, depth):
    """Requests per second."""
    line = f"write={write} depth={depth} count={COUNT[depth]}"
    p = subprocess.Popen([VMM, "--kernel", tool("guest/blk"), "--memory", "64M", "--console",
                          "--append", line, "--disk", path + (",direct" if direct else "")],
                         stderr=subprocess.PIPE, text=True)
    try:
        begin = None
        for text in p.stderr:
            if text == "begin\n":
                begin = time.monotonic()
            elif text == "end\n":
                return COUNT[depth] / (time.monotonic() - begin)
        raise RuntimeError("the guest program failed")
    finally:
        p.kill()
        p.wait()
        p.stderr.close()


def fio(path, direct, write, depth):
    out = subprocess.run(
        ["fio", "--name=x", "--ioengine=io_uring", f"--filename={path}", "--bs=4k",
         f"--rw=rand{'write' if write else 'read'}", f"--iodepth={depth}", f"--size={SIZE}",
         f"--direct={int(direct)}", "--norandommap", f"--runtime={SECONDS}", "--time_based",
         "--invalidate=0", "--output-format=json"],
        check=True, stdout=subprocess.PIPE, timeout=120).stdout
    return json.loads(out[out.index(b"{"):])["jobs"][0]["write" if write else "read"]["iops"]


def measure(report):
    path = os.path.join(OUT, "bench.disk")
    try:
        direct = make(path)
        for write in (0, 1):
            for depth in (1, 32):
                pairs = [(guest(path, direct, write, depth), fio(path, direct, write, depth))
                         for _ in range(RUNS)]
                report.pairs(f"disk: random 4 KiB {'writes' if write else 'reads'}, depth {depth}"
                             f"{', O_DIRECT' if direct else ''}", "fio, io_uring, same file",
                             [a for a, _ in pairs], [b for _, b in pairs], "per second",
                             "more is better")
    finally:
        if os.path.exists(path):
            os.unlink(path)
