# SPDX-License-Identifier: Apache-2.0
"""A guest that attacks every device it finds (hostile*.c), at the processor's own speed.

Each case is a machine of its own. All slots but one are attacked, that one must work meanwhile,
then it is attacked, and another one must work after a reset. What the monitor says and counts
about it is in CASES. Afterwards it must be idle, no larger than before, and still end when told.
"""
import os
import re
import time
from harness import OUT, SANITIZER, Failure, Vm, check, equal

LONG = 60
GROWTH_KIB = 12 << 10       # of the monitor's own memory, in any case

# Case -> (the rule that every device must have seen broken, does the device need a reset?)
CASES = {
    "frozen": ("queue changed after DRIVER_OK", False),
    "ready_frozen": ("queue changed while ready", False),
    "no_queue": ("no such queue", False),
    "no_queue_to_notify": ("no such queue", False),
    "late_features": ("features after FEATURES_OK", False),
    "features_beyond": ("feature beyond 63", False),
    "features_not_offered": ("feature not offered", False),
    "an_old_driver": ("no VERSION_1", False),
    "ok_too_early": ("DRIVER_OK before FEATURES_OK", False),
    "status_back": ("status bit cleared", False),
    "status_unknown": ("unknown status bit", False),
    "size_of_three": ("queue size", True),
    "size_of_a_million": ("queue size", True),
    "descriptors_askew": ("descriptor alignment", True),
    "avail_askew": ("avail alignment", True),
    "used_askew": ("used alignment", True),
    "descriptors_over_the_end": ("descriptors outside memory", True),
    "avail_in_devices": ("avail ring outside memory", True),
    "used_that_wraps": ("used ring outside memory", True),
    "avail_jump": ("avail index jumped", True),
    "next_beyond": ("descriptor index", True),
    "cycle": ("too many parts", True),
    "buffer_nowhere": ("buffer outside memory", True),
    "buffer_in_devices": ("buffer outside memory", True),
    "buffer_over_the_end": ("buffer outside memory", True),
    "buffer_that_wraps": ("buffer outside memory", True),
    "buffer_of_four_gib": ("buffer outside memory", True),
    "written_before_read": ("readable after writable", True),
    "table_in_devices": ("indirect outside memory", True),
    "table_over_the_end": ("indirect outside memory", True),
    "table_of_a_piece": ("indirect length", True),
    "table_of_nothing": ("indirect length", True),
    "table_and_next": ("indirect with next", True),
    "head_beyond": ("head index", True),
    "table_in_a_table": ("indirect in indirect", True),
    "table_not_negotiated": ("indirect not negotiated", True),
}
# These may break any rule, or none.
FLOODS = ("notify_flood", "config_flood", "random_registers", "connection_flood",
          "console_flood")     # and in test_served.py
NEEDS_RESET = 0x40
# What is random is the same in each run, unless asked otherwise.
SEED = int(os.environ.get("SEED") or
           (int.from_bytes(os.urandom(4), "little") if os.environ.get("TEST_LONG") else 1))


def wait_for(vm, word):
    until = time.monotonic() + LONG
    while f"\n{word}\n" not in vm.console():
        check(vm.child.poll() is None, f"the monitor ended; {vm.status} {vm.tail(40)}")
        check(time.monotonic() < until, f"no '{word}' within {LONG} s; {vm.tail(40)}")
        time.sleep(0.02)


def own_kib(vm):
    return sum(v for k, v in vm.rss_kib().items() if k in ("RssAnon", "RssFile"))


def loop_ticks(vm):
    """Processor time of the first thread, which is the loop."""
    with open(f"/proc/{vm.child.pid}/task/{vm.child.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def hostile(case, vmm, seed=1):
    return Vm(case, vmm, kernel=os.path.join(OUT, "tests", "vm", "hostile"), memory="64M",
              append=f"case={case} seed={seed}", verbose=True)


def nothing():
    pass


def attack(vm, meanwhile=nothing, at_rest=nothing):
    """Run one case. What was said, and the slots: index -> (name, status, rules broken)."""
    try:
        vm.start()
        while not vm.status or not vm.status[-1].startswith("run "):
            check(vm.child.poll() is None, f"it did not start; {vm.tail()}")
            time.sleep(0.005)
        before = own_kib(vm)
        meanwhile()
        wait_for(vm, "done")
        grown = own_kib(vm) - before
        # A sanitizer has a shadow of what is touched.
        check(grown < max(GROWTH_KIB, 2 * before), f"the monitor grew by {grown} KiB")
        spent = loop_ticks(vm)
        time.sleep(0.3)
        spent = loop_ticks(vm) - spent
        check(spent < 15, f"the loop spins: {spent} ticks of a third of a second")
        at_rest()
        vm.child.terminate()
        equal(vm.end(LONG)[:2], (13, "stopped"), f"{vm.tail(40)}; exit status and end")
        text = vm.console()
    finally:
        vm.close()
    found = SANITIZER.search(text)
    check(not found, f"{found and found.group()}; {text[-6000:]}")
    equal(re.findall(r"^alive$", text, re.M), ["alive", "alive"], f"{text[-3000:]}; neighbours")
    # A flooded console has no line ends of its own.
    status = {int(s): int(v) for s, v in re.findall(r"slot (\d+) id \d+ status (\d+)\n", text)}
    counts = re.findall(r"slot (\d+) (\w+): \d+ chains, (\d+) rules broken", text)
    check(len(counts) >= 3 and len(counts) == len(status), f"{counts} and {status}")
    return text, {int(s): (name, status[int(s)], int(n)) for s, name, n in counts}


def one_case(case):
    def test(vmm):
        reason, fails = CASES[case]
        text, slots = attack(hostile(case, vmm))
        for slot, (name, status, broken) in slots.items():
            check(f"{name}: the guest broke a rule: {reason}" in text,
                  f"slot {slot}: no word that {name} saw '{reason}'")
            check(broken > 0, f"slot {slot}, {name}: nothing was counted")
            equal(bool(status & NEEDS_RESET), fails, f"slot {slot}, {name}: needs a reset")
        return f"{len(slots)} slots"
    test.__name__ = case
    return test


def one_flood(case):
    def test(vmm):
        try:
            _, slots = attack(hostile(case, vmm, SEED))
        except Failure as e:
            raise Failure(f"SEED={SEED}: {e}") from e
        return f"{len(slots)} slots, {sum(n for _, _, n in slots.values())} rules broken"
    test.__name__ = case
    return test


TESTS = [one_case(c) for c in CASES] + [one_flood(c) for c in FLOODS]
