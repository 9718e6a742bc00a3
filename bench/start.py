# SPDX-License-Identifier: Apache-2.0
"""Exec of the monitor -> its first KVM_RUN, against bare_kvm: a program that does nothing but
what a virtual machine cannot do without. Once for a boot, once for a restore."""
from common import INITRD, KERNEL, MEMORY_MIB, RUNS, tool
from machine import Monitor, Process, template


def ours(*args):
    with Monitor(*args) as vm:
        return vm.exec_to_run()


def bare(*files):
    with Process([tool("bare_kvm"), "FD", str(MEMORY_MIB), *files]) as p:
        return p.exec_to_run()


def measure(report):
    boot = ("--kernel", KERNEL, "--initrd", INITRD, "--memory", f"{MEMORY_MIB}M")
    restore = ("--restore", template())
    cases = (
        ("boot: exec to first KVM_RUN", "bare ioctls", boot, ()),
        ("boot: exec to first KVM_RUN", "bare ioctls, and reading kernel and initramfs", boot,
         (KERNEL, INITRD)),
        ("restore: exec to first KVM_RUN", "bare ioctls", restore, ()),
    )
    for what, against, args, files in cases:
        pairs = [(ours(*args), bare(*files)) for _ in range(RUNS)]
        report.pairs(what, against, [a for a, _ in pairs], [b for _, b in pairs], "ns")
