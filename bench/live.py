# SPDX-License-Identifier: Apache-2.0
"""Commands.

measure_run: `sandbox run -- true` as a user types it (restore, execute, end, clean up), against
exec -> agent ready of cold boots in this run, ours and QEMU's; and the share of its processor
time that went elsewhere than into vCPU threads, which is what the monitor's loop and the command
line cost.

measure_exec: a ping and an execution of `busybox true` on a live machine, each over a new
connection, against the same agent on a Unix socket of this machine."""
import json
import os
import shutil
import subprocess
import tempfile
import time

import boot
from common import AGENT, RUNS, SANDBOX
from machine import (INHERIT_FROM_EXEC, Counter, Monitor, ThreadClock, template, threads_ns,
                     trips)

TRUE = ("busybox", "true")
SAMPLE_S = 0.001        # between two looks for the vCPU thread, or at it


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(x) for x in f.read().split()]
    except FileNotFoundError:
        return []


def vcpu_clocks(pid):
    """Of the vCPU threads of the monitors that @pid has started; none before they run."""
    return [ThreadClock(monitor, tid) for monitor in children(pid)
            for name, tid in threads_ns(monitor) if name.startswith("vcpu")]


def run_true():
    """Wall ns, processor ns of the command and its monitor, that of the vCPU threads."""
    clocks = []
    gate, opened = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(gate, 1)        # until it is counted
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execv(SANDBOX, [SANDBOX, "run", "--", "true"])
    total = Counter(pid, INHERIT_FROM_EXEC)
    begin = time.monotonic_ns()
    os.write(opened, b"g")
    while True:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        clocks = clocks or vcpu_clocks(pid)
        for c in clocks:
            c.look()
        time.sleep(SAMPLE_S)
    wall = time.monotonic_ns() - begin
    os.close(gate)
    os.close(opened)
    if status or not clocks:
        raise RuntimeError(f"`sandbox run -- true` ended with wait status {status}, "
                           f"{len(clocks)} vCPUs seen")
    # One clock for both where it can be had: time stolen from this machine is in neither or both.
    ns = total.close() or int((used.ru_utime + used.ru_stime) * 1e9)
    return {"wall": wall, "cpu": ns, "vcpu": sum(c.close() for c in clocks)}


def measure_run(report):
    template()
    # On a busy machine a boot takes minutes, in which the load changes: runs on both sides of it.
    runs = [run_true() for _ in range(RUNS // 2)]
    boot.cold_boots()
    runs += [run_true() for _ in range(RUNS - RUNS // 2)]
    cpu = [r["cpu"] for r in runs]
    outside = [max(0, r["cpu"] - r["vcpu"]) for r in runs]
    report.pairs("`sandbox run -- true`: processor time outside vCPU threads", "all of it",
                 outside, cpu, "ns", f"{min(outside) / 1e6:.1f} to {max(outside) / 1e6:.1f} ms: "
                 "command line, set-up, the monitor's loop")
    boots = [boot.cold_boots()[i % len(boot.cold_boots())] for i in range(RUNS)]
    note = f"{len(boot.cold_boots())} boots"
    for i, peer in ((0, "cold boot to agent ready"),
                    (1, "QEMU microvm's cold boot to agent ready")):
        report.pairs("`sandbox run -- true`", peer, [r["wall"] for r in runs],
                     [b[i]["ready"] for b in boots], "ns", note)
        report.pairs("`sandbox run -- true`: processor time", peer, cpu,
                     [b[i]["ready_cpu"] for b in boots], "ns", note)


def host_agent(folder):
    """The guest's agent, here, on a socket."""
    path = os.path.join(folder, "agent")
    child = subprocess.Popen([AGENT, "--listen-unix", path], stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    while not os.path.exists(path):
        if child.poll() is not None:
            raise RuntimeError("the agent does not start on this machine")
        time.sleep(0.01)
    return child, path


def measure_exec(report):
    folder = tempfile.mkdtemp(prefix="sandbox-bench-")
    agent, path = host_agent(folder)
    pairs = []
    try:
        with Monitor("--restore", template()) as vm:
            vm.wait_mark("run")
            vm.exec_trips(1, *TRUE)     # what only the first one after a restore costs
            for _ in range(RUNS):
                pairs.append((json.loads(vm.exec_trips(1, *TRUE)),
                              json.loads(trips(path, "0", 1, *TRUE))))
    finally:
        agent.kill()
        agent.wait()
        shutil.rmtree(folder)
    for key, what in (("ping", "round trip of a ping, live machine"),
                      ("exec", "round trip of `exec true`, live machine")):
        report.pairs(what, "the same agent on the host", [a[key] for a, _ in pairs],
                     [b[key] for _, b in pairs], "ns")
