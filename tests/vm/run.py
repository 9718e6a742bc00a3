#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run.py [--vmm FILE] [PART...] - boot guests on /dev/kvm and test them.

A PART is one of a test's full name, `group: name`; with none, every test runs. Prints `ok NAME`,
`not ok NAME: why` or `skip NAME: why` for each. Two machines run at a time. O names the build
folder. BOOT_SECONDS and EXEC_SECONDS are for slow hosts.
"""
import argparse
import concurrent.futures
import os
import sys
import harness
import test_bare
import test_busy
import test_guest
import test_hostile
import test_served


def title(group, name):
    return f"vm {group}: {name.replace('_', ' ')}"


def selected(group, name, words):
    return not words or any(w.replace("_", " ") in title(group, name) for w in words)


def sanitized(vm):
    found = harness.SANITIZER.search(vm.console())
    harness.check(not found, f"{found and found.group()}; {vm.tail(80)}")


def run_guest(report, group, vmm, words):
    """One machine: boot, the group's tests, then its end. Nothing runs after a failed boot."""
    def run(name, *call):
        return report.run(title(group.name, name), *call)

    tests = [t for t in group.tests if selected(group.name, t.__name__, words)]
    ends = selected(group.name, group.end.__name__, words)
    if not tests and not ends:
        return
    vm = harness.Vm(group.name, vmm, **group.args)
    try:
        if not run("boots", lambda: f"{vm.boot().boot_ms / 1000:.1f} s boot"):
            for test in tests + [group.end]:
                report.line("not ok", title(group.name, test.__name__), "the machine did not boot")
            return
        for test in tests:
            if not run(test.__name__, test, vm):
                print(vm.tail(), flush=True)
        if not run(group.end.__name__, group.end, vm):
            print(vm.tail(), flush=True)
        run("no word from a sanitizer", sanitized, vm)
    finally:
        vm.close()


# Guests without a kernel: a machine for each test.
BARE = (("bare", test_bare.TESTS), ("hostile", test_hostile.TESTS),
        ("hostile", test_served.TESTS), ("busy", test_busy.TESTS))


def run_bare(report, vmm, words):
    for group, tests in BARE:
        for test in tests:
            if selected(group, test.__name__, words):
                report.run(title(group, test.__name__), test, vmm)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vmm", default=os.path.join(harness.OUT, "sandbox-vmm"))
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    report = harness.Report()
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        for group, name in [(g, t.__name__) for g, tests in BARE for t in tests] + \
                [(g.name, t.__name__) for g in test_guest.GROUPS for t in g.tests + [g.end]]:
            report.line("skip", title(group, name), f"/dev/kvm: {e.strerror}")
        return 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run_guest, report, g, args.vmm, args.words)
                for g in test_guest.GROUPS]
        jobs.append(pool.submit(run_bare, report, args.vmm, args.words))
        for job in jobs:
            job.result()
    return report.failed != 0


sys.exit(main())
