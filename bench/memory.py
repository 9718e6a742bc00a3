# SPDX-License-Identifier: Apache-2.0
"""What machines take, from smaps: ten clones of one template, restored, asked once, idle.

A monitor's own private pages are compared with those of bare_kvm, which has no device, thread or
event loop; a clone's private guest pages with the guest memory that the template holds
(its blocks on disk), which is what ten machines without a common template would each have."""
import os
import statistics

from common import RUNS, tool
from machine import Monitor, Process, memory, template

CLONES = 10


def spread(values):
    return f"median {statistics.median(values):.0f} KiB, {min(values)} to {max(values)}"


def bare_own(guest_bytes):
    with Process([tool("bare_kvm"), "FD", str(guest_bytes >> 20)]) as p:
        p.wait_mark("run")
        return memory(p.pid, guest_bytes)[0]


def measure(report):
    snapshot = template()
    stat = os.stat(os.path.join(snapshot, "memory"))
    held = stat.st_blocks // 2          # KiB
    clones = []
    try:
        for _ in range(CLONES):
            clones.append(Monitor("--restore", snapshot))
            clones[-1].wait_mark("run")
            clones[-1].ping()
        seen = [memory(c.pid, stat.st_size) for c in clones]
    finally:
        for c in clones:
            c.close()
    own, private, shared = ([x[i] for x in seen] for i in range(3))
    bare = [bare_own(stat.st_size) for _ in range(max(RUNS, 1))]
    report.pairs("monitor's own private memory, idle clone", "bare ioctls", own,
                 [bare[i % len(bare)] for i in range(CLONES)], "KiB",
                 f"{spread(own)}; beside the guest's")
    report.pairs("clone's private guest memory", "the template's", private, [held] * CLONES,
                 "KiB", spread(private))
    report.pairs("clone's guest pages shared with the template", "all that it has touched",
                 shared, [p + s for p, s in zip(private, shared)], "KiB",
                 f"{CLONES} clones at once")
