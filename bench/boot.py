# SPDX-License-Identifier: Apache-2.0
"""A cold boot, against QEMU's microvm machine with the same kernel and initramfs.

Two marks: the kernel's `Run /init` on the virtio console, and the agent's READY, which under
QEMU comes from a second console (agent_stream=) because its vsock needs a host kernel with
vhost-vsock. Wall time is what a user waits; processor time is steadier on a busy machine. What
the process takes beside the guest's memory is read at the first mark.

Where KVM does not filter CPUID the kernel gets clearcpuid= from our monitor's own check, and
for QEMU XSAVE and AVX as well: it cannot finish XSAVE as sandbox-vmm does."""
import os
import re
import select
import time

from common import BOOT_RUNS, BOOT_SECONDS, INITRD, KERNEL, MEMORY_MIB
from machine import Monitor, Process, cpu_ns, memory

MARK = b"Run /init"
XSAVE, AVX = "154", "156"       # word * 32 + bit, as clearcpuid= wants it
MICROVM = [
    "/usr/bin/qemu-system-x86_64", "-M", "microvm,acpi=off,rtc=off,isa-serial=off,usb=off",
    "-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-smp", "1", "-m", f"{MEMORY_MIB}M",
    "-nodefaults", "-no-user-config", "-display", "none", "-serial", "none", "-no-reboot",
    "-device", "virtio-rng-device", "-device", "virtio-serial-device",
    "-chardev", "stdio,id=c,signal=off", "-device", "virtconsole,chardev=c",
    "-device", "virtconsole,chardev=a",
    "-kernel", KERNEL, "-initrd", INITRD,
]
done = []       # the boots of this run, ours and QEMU's, for other parts


class Console:
    """What a process printed, and a wait for some of it."""

    def __init__(self):
        self.fd, self.write_fd = os.pipe()
        self.text = b""

    def wait(self, mark, process, seconds=BOOT_SECONDS):
        """When `mark` (b"": anything) came, in nanoseconds after the process's exec."""
        until = time.monotonic() + seconds
        while not self.text or mark not in self.text:
            left = max(0, until - time.monotonic())
            got = os.read(self.fd, 65536) if select.select([self.fd], [], [], left)[0] else b""
            if not got:
                last = self.text.decode(errors="replace").strip().splitlines()[-1:]
                raise RuntimeError(f"{'it ended' if left else f'{seconds} s passed'} before "
                                   f"'{mark.decode()}'; last line: {''.join(last)[:100]!r}")
            self.text += got
        return time.monotonic_ns() - process.wait_mark("start")

    def opened(self):
        """The process has its copy of the writing end; an end of file is then its end."""
        os.close(self.write_fd)

    def close(self):
        os.close(self.fd)


def at_init(console, process):
    return {"wall": console.wait(MARK, process), "cpu": cpu_ns(process.pid),
            "own_kib": memory(process.pid, MEMORY_MIB << 20)[0]}


def boot_ours():
    console = Console()
    vm = Monitor("--kernel", KERNEL, "--initrd", INITRD, "--memory", f"{MEMORY_MIB}M",
                 "--console", "--verbose", log=console.write_fd, listen=True)
    console.opened()
    try:
        result = at_init(console, vm)
        said = vm.ready.communicate(timeout=BOOT_SECONDS)[0]
        if not said.startswith("ready "):
            raise RuntimeError(f"the agent did not report: {said!r}")
        result["ready"] = time.monotonic_ns() - vm.wait_mark("start")
        result["ready_cpu"] = cpu_ns(vm.pid)
        result["line"] = re.search(rb"command line: (.*)", console.text).group(1).decode()
        return result
    finally:
        vm.close()
        console.close()


def boot_microvm(line):
    line = re.sub(r"clearcpuid=(\S+)", rf"clearcpuid=\1,{XSAVE},{AVX}", line.strip())
    console, agent = Console(), Console()
    vm = Process(MICROVM + ["-chardev", f"file,id=a,path=/dev/fd/{agent.write_fd}",
                            "-append", line + " agent_stream=/dev/hvc1"],
                 console.write_fd, [agent.write_fd])
    console.opened()
    agent.opened()
    try:
        result = at_init(console, vm)
        result["ready"] = agent.wait(b"", vm)
        result["ready_cpu"] = cpu_ns(vm.pid)
        return result
    finally:
        vm.close()
        console.close()
        agent.close()


def cold_boots():
    """Boots of this run, in pairs, each with the time to the agent's report; made when first
    asked for."""
    while len(done) < BOOT_RUNS:
        ours = boot_ours()
        done.append((ours, boot_microvm(ours["line"])))
    return done


def measure(report):
    pairs = cold_boots()
    for what, key, unit in (("boot: exec to `Run /init`", "wall", "ns"),
                            ("boot: processor time to `Run /init`", "cpu", "ns"),
                            ("boot: exec to agent ready", "ready", "ns"),
                            ("boot: processor time to agent ready", "ready_cpu", "ns"),
                            ("monitor's own private memory at `Run /init`", "own_kib", "KiB")):
        report.pairs(what, "QEMU microvm, same kernel", [x[key] for x, _ in pairs],
                     [y[key] for _, y in pairs], unit)
