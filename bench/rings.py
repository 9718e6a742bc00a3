# SPDX-License-Identifier: Apache-2.0
"""Throughput of the socket device both ways, against one copy through a Unix socket.

vsock_rings is the device and its loop with a thread that drives the rings at native speed in
plain memory: what a guest can get where its kernel is not emulated, without that kernel's
own share. It ends in such a socket, so the socket alone is what it cannot beat."""
import json
import os
import subprocess

from common import RUNS, tool

MIB = os.environ.get("BENCH_MIB", "1024")


def cases(name):
    out = subprocess.run([tool(name), MIB], check=True, stdout=subprocess.PIPE, text=True,
                         timeout=600).stdout
    return {x["case"]: x for x in map(json.loads, out.splitlines())}


def measure(report):
    pairs = [(cases("vsock_rings"), cases("unix_copy")) for _ in range(RUNS)]
    for case in pairs[0][0]:
        ours = [a[case]["gbit_per_s"] for a, _ in pairs]
        for against in ("unix socket", "memcpy"):
            report.pairs(f"vsock {case}, bytes per second", against, ours,
                         [b[against]["gbit_per_s"] for _, b in pairs], "Gbit/s",
                         "more is better")
