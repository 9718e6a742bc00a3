# SPDX-License-Identifier: Apache-2.0
"""Would it pay to prefault the pages that every restored machine touches?

They are found as a monitor would record them: what three clones of the template have of its
memory after one command, from /proc/PID/pagemap; those that all of them wrote, and those that
all of them at least mapped. Then, without a guest, on a private mapping of the same file: the
processor time to touch them all one by one, against madvise(MADV_POPULATE_*) of the same pages
in as few calls as there are runs of pages, and touching them after that. A fault from a guest
costs an exit more than one from here; how many there are stands in the note, so that
anybody can put in what an exit costs on their host."""
import mmap
import os
import struct
import subprocess
import time

from common import RUNS, SANDBOX
from live import children
from machine import template

CLONES = 3
PAGE = mmap.PAGESIZE
POPULATE_READ, POPULATE_WRITE = 22, 23
PRESENT, FILE = 1 << 63, 1 << 61


def mapping(pid):
    """Begin and number of pages of the monitor's mapping of a template's memory."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            if line.rstrip().endswith("/memory"):
                begin, end = (int(x, 16) for x in line.split()[0].split("-"))
                return begin, (end - begin) // PAGE
    raise RuntimeError("no mapping of a template's memory in the monitor")


def touched():
    """(written, only mapped): pages of a clone in which a command has run."""
    with subprocess.Popen([SANDBOX, "run", "--", "sh", "-c", "echo x; read y; true"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        if not run.stdout.readline():
            raise RuntimeError("`sandbox run` said nothing")
        begin, n = mapping(children(run.pid)[0])
        with open(f"/proc/{children(run.pid)[0]}/pagemap", "rb") as f:
            f.seek(begin // PAGE * 8)
            entries = struct.unpack(f"={n}Q", f.read(8 * n))
        run.communicate(b"\n")
    return ({i for i, e in enumerate(entries) if e & PRESENT and not e & FILE},
            {i for i, e in enumerate(entries) if e & PRESENT and e & FILE})


def spans(pages):
    out = []
    for p in sorted(pages):
        if out and sum(out[-1]) == p:
            out[-1][1] += 1
        else:
            out.append([p, 1])
    return out


def cost(fd, populate, writes, reads):
    """Processor nanoseconds on a new mapping. The loops are the same with and without."""
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as m:
        begin = time.thread_time_ns()
        for how, pages in populate:
            for first, n in pages:
                m.madvise(how, first * PAGE, n * PAGE)
        for at in writes:
            m[at] = 1
        for at in reads:
            _ = m[at]
        return time.thread_time_ns() - begin


def measure(report):
    folder = template()
    clones = [touched() for _ in range(CLONES)]
    wrote = set.intersection(*(w for w, _ in clones))
    had = set.intersection(*(w | r for w, r in clones)) - wrote
    fd = os.open(os.path.join(folder, "memory"), os.O_RDONLY | os.O_CLOEXEC)
    cases = (("every clone writes", [(POPULATE_WRITE, spans(wrote))], wrote, ()),
             ("every clone writes or maps", [(POPULATE_WRITE, spans(wrote)),
                                             (POPULATE_READ, spans(had))], wrote, had))
    try:
        for what, populate, writes, reads in cases:
            writes, reads = [p * PAGE for p in sorted(writes)], [p * PAGE for p in sorted(reads)]
            pairs = [(cost(fd, populate, writes, reads), cost(fd, (), writes, reads))
                     for _ in range(RUNS)]
            report.pairs(f"pages that {what}: populate, then touch", "touch one by one",
                         [a for a, _ in pairs], [b for _, b in pairs], "ns",
                         f"{len(writes)} written, {len(reads)} only mapped; "
                         f"{min(a for a, _ in pairs) / 1e6:.2f} ms with, "
                         f"{min(b for _, b in pairs) / 1e6:.2f} ms without")
    finally:
        os.close(fd)
