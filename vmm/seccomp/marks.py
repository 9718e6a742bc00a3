#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""marks.py rules|list FILE... - the marks `#syscalls:CLASS ...` and `#uring:CLASS ...` of sources.

docs/jail.md describes them. `rules` prints C for compile.c; `list` one line for each call of a
class: `CLASS NAME how args`, where how is `deny` for a soft refusal, `rare` for a call that a
test run need not make, `ring` for an operation of the class's ring, else `call`; args is `any`,
or `some` where every rule has a condition.
"""
import collections
import re
import sys

CLASSES = ("loop", "vcpu", "fs")
MARK = re.compile(r"#(syscalls|uring)(\S*)[ \t]+([^\n]*?)[ \t]*(?:\*/)?[ \t]*$", re.M)
WORD = re.compile(r"(\w+)(?:\(([^()\s]*)\))?(\?|!\w+)?$")
CONDITION = re.compile(r"(?:(\d)(?:&([\w|~]+))?=)?([\w|]+)$")
ARGUMENT = {"ioctl": 1, "socket": 0, "madvise": 2, "fcntl": 1, "prctl": 0}   # of a bare EXPR

# What starts an operation that is not called by its own name (vmm/loop.h).
STARTS = {"POLL_ADD": "poll", "TIMEOUT": "timer", "ASYNC_CANCEL": "cancel", "FSYNC": "fdatasync"}

Rule = collections.namedtuple("Rule", "cls name conditions how place")


def condition(text, name, place):
    found = CONDITION.match(text)
    if not found:
        sys.exit(f"{place}: '{text}' is no condition")
    number, mask, value = found.groups()
    if number is None:
        if name not in ARGUMENT:
            sys.exit(f"{place}: say which argument of {name} has to be {value}, as in 0={value}")
        number = ARGUMENT[name]
    return int(number), mask, value


def rule(cls, word, place):
    found = WORD.match(word)
    if not found:
        sys.exit(f"{place}: '{word}' is no system call")
    name, inside, how = found.groups()
    conditions = tuple(condition(c, name, place) for c in inside.split(",")) if inside else ()
    return Rule(cls, name, conditions, how or "", place)


def read(names):
    """(rules, ring operations) of all files, each once."""
    rules, ring = {}, {}
    for name in names:
        with open(name, encoding="utf-8") as f:
            text = f.read()
        for mark in MARK.finditer(text):
            kind, classes, words = mark.groups()
            place = f"{name}:{text.count(chr(10), 0, mark.start()) + 1}"
            if not classes.startswith(":"):
                sys.exit(f"{place}: a mark names its thread classes, as in #{kind}:loop")
            for cls in classes[1:].split(","):
                if cls not in CLASSES:
                    sys.exit(f"{place}: '{cls}' is no thread class; there are {CLASSES}")
                for word in words.split():
                    if kind == "uring":
                        start = STARTS.get(word, word.lower())
                        if not re.search(rf"\b(loop|io_uring_prep)_{start}\b", text):
                            sys.exit(f"{place}: nothing in this file starts a {word}")
                        ring.setdefault((cls, word), place)
                        continue
                    r = rule(cls, word, place)
                    key = (r.cls, r.name, r.conditions)
                    # A call that some code is sure to make is not a rare one.
                    if key not in rules or rules[key].how == "?":
                        rules[key] = r
    return list(rules.values()), list(ring)


def c_rules(rules, ring):
    for r in rules:
        action = f"SCMP_ACT_ERRNO({r.how[1:]})" if r.how.startswith("!") else "SCMP_ACT_ALLOW"
        args = []
        for number, mask, value in r.conditions:
            value = "JAIL_SELF" if value == "self" else value
            if mask:
                args.append(f"SCMP_CMP64({number}, SCMP_CMP_MASKED_EQ, {mask}, {value})")
            else:
                args.append(f"SCMP_CMP64({number}, SCMP_CMP_EQ, {value}, 0)")
        print(f'#line 1 "{r.place}"')
        print(f"RULE({r.cls.upper()}, {action}, \"{r.how or 'call'}\", {r.name}, {len(args)}, "
              f"{', '.join(args) or '{ 0 }'})")
    for cls, op in ring:
        print(f"RING({cls.upper()}, IORING_OP_{op})")


def listing(rules, ring):
    how, free = {}, set()
    for r in rules:
        word = {"": "call", "?": "rare"}.get(r.how, "deny")
        if how.get((r.cls, r.name)) != "call":
            how[r.cls, r.name] = word
        if not r.conditions:
            free.add((r.cls, r.name))
    for (cls, name), word in sorted(how.items()):
        print(cls, name, word, "any" if (cls, name) in free else "some")
    for cls, op in sorted(ring):
        print(cls, op, "ring any")


def main():
    rules, ring = read(sys.argv[2:])
    {"rules": c_rules, "list": listing}[sys.argv[1]](rules, ring)


main()
