# SPDX-License-Identifier: Apache-2.0
"""Commands.

measure_run: `sandbox run -- true` as a user types it (restore, execute, end, clean up), against
exec -> agent ready of a cold boot in this run; and the share of its processor time that went
elsewhere than into vCPU threads, which is what the monitor's loop and the command line cost.

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
from machine import Monitor, template, threads_ns, trips

TRUE = ("busybox", "true")
SAMPLE_S = 0.004        # between two looks at the vCPU threads: they end with the process


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(x) for x in f.read().split()]
    except FileNotFoundError:
        return []


def run_true():
    """Wall ns, processor ns of the command and its monitor, that of the vCPU threads. What those
    do after the last look counts as spent elsewhere."""
    vcpus = {}
    begin = time.monotonic_ns()
    with subprocess.Popen([SANDBOX, "run", "--", "true"], stdin=subprocess.DEVNULL) as child:
        while True:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            for monitor in children(child.pid):
                vcpus.update((k, v) for k, v in threads_ns(monitor).items()
                             if k[0].startswith("vcpu"))
            time.sleep(SAMPLE_S)
        wall = time.monotonic_ns() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"`sandbox run -- true` ended with status {child.returncode}")
    return wall, int((used.ru_utime + used.ru_stime) * 1e9), sum(vcpus.values())


def measure_run(report):
    template()
    runs = [run_true() for _ in range(RUNS)]
    report.pairs("`sandbox run -- true`: processor time outside vCPU threads", "all of it",
                 [max(0, cpu - vcpu) for _, cpu, vcpu in runs], [cpu for _, cpu, _ in runs], "ns",
                 "monitor's loop, set-up, command line")
    ready = [b["ready"] for b in boot.cold_boots()]
    report.pairs("`sandbox run -- true`", "cold boot to agent ready", [w for w, _, _ in runs],
                 [ready[i % len(ready)] for i in range(RUNS)], "ns",
                 f"{len(ready)} boot{'s' if len(ready) > 1 else ''}")


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
