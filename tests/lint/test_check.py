#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of check.py: a tree with one fault is refused and the rule is named; without, accepted."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n"

CLEAN = {
    "vmm/base.h": HEAD, "vmm/gmem.h": HEAD, "vmm/virtio.h": HEAD, "vmm/kvm.h": HEAD,
    "vmm/vm.h": HEAD + "#include <linux/kvm.h>\n", "devices/registry.h": HEAD,
    "devices/rng.h": HEAD, "agent/proto.h": HEAD, "agent/client/client.h": HEAD,
    "cli/run/conf.h": HEAD,
    "vmm/main.c": HEAD + '#include "firmware/firmware.h"\n',
    "vmm/vm.c": HEAD + '#include "devices/registry.h"\n',
    "firmware/firmware.h": HEAD + '#include "vmm/gmem.h"\n#include <libfdt.h>\n',
    "devices/rng_pool.c": HEAD + '#include "vmm/virtio.h"\n#include "devices/rng.h"\n',
    "agent/main.c": HEAD + '#include "agent/proto.h"\n#include <stdio.h>\n',
    "cli/verb/run.c": HEAD + '#include "cli/run/conf.h"\n#include "agent/client/client.h"\n',
    "tests/unit/test_vm.c": HEAD + '#include "vmm/vm.h"\n#include <linux/kvm.h>\n',
    "guest/patches/0001-x.patch": "SPDX-License-Identifier: GPL-2.0\n+  \n",
    "docs/b.md": "see /m/" + "work/x\n",
    "Makefile": "# SPDX-License-Identifier: Apache-2.0\n",
}

# rule, file, its text, part of the message
FAULTS = (
    ("include", "devices/rng.c", HEAD + '#include "vmm/vm.h"\n', "devices/rng.c:2: "),
    ("include", "devices/rng.c", HEAD + '#include "vmm/bus.h"\n', "vmm/bus.h"),
    ("include", "devices/blk.c", HEAD + '#include "devices/rng.h"\n', "devices/rng.h"),
    ("include", "firmware/elf.c", HEAD + '#include "vmm/kvm.h"\n', "vmm/kvm.h"),
    ("include", "vmm/vcpu.c", HEAD + '#include "devices/registry.h"\n', "devices/registry.h"),
    ("include", "vmm/vcpu.c", HEAD + '#include "agent/proto.h"\n', "agent/proto.h"),
    ("include", "devices/rng.c", HEAD + '#include "agent/proto.h"\n', "agent/proto.h"),
    ("include", "vmm/vm.c", HEAD + '#include "firmware/firmware.h"\n', "firmware/firmware.h"),
    ("include", "agent/main.c", HEAD + '#include "vmm/base.h"\n', "vmm/base.h"),
    ("include", "agent/conn.c", HEAD + '#include "agent/client/client.h"\n',
     "agent/client/client.h"),
    ("include", "cli/verb/run.c", HEAD + '#include "vmm/vm.h"\n', "vmm/vm.h"),
    ("include", "vmm/vcpu.c", HEAD + '#include "agent/client/client.h"\n', "agent/client/client.h"),
    ("include", "vmm/vcpu.c", HEAD + '#include "vmm/missing.h"\n', "top of the tree"),
    ("include", "new/file.c", HEAD, "no line in rules.py"),
    ("library", "devices/rng.c", HEAD + "#include <linux/kvm.h>\n", "linux/kvm.h"),
    ("library", "cli/verb/run.c", HEAD + "#include <libfdt.h>\n", "libfdt.h"),
    ("spdx", "vmm/log.c", "int x;\n", "vmm/log.c:1:"),
    ("spdx", "tests/x.sh", "#!/bin/sh\n", "tests/x.sh:1:"),
    ("spdx", "guest/patches/0002-y.patch", "SPDX-License-Identifier: Apache-2.0\n", "GPL-2.0"),
    ("space", "vmm/log.c", HEAD + "int x; \n", "vmm/log.c:2:"),
    ("space", "vmm/log.c", HEAD + "  \tint x;\n", "before a tab"),
    ("space", "vmm/log.c", HEAD + "        int x;\n", "by spaces"),
    ("space", "vmm/log.c", HEAD + "int x;", "no newline"),
    ("space", "docs/a.md", "text\n\n", "empty line"),
    ("width", "vmm/log.c", HEAD + "\t/* " + "x" * 90 + "*/\n", "100 columns"),
    ("named", "vmm/log.c", HEAD + "/* As\n * gone.c does. */\n", "vmm/log.c:3:"),
    ("path", "docs/a.md", "see /" + "work/x\n", "docs/a.md:1:"),
    ("text", "docs/a.md", b"\xff\n", "UTF-8"),
)
LONG = HEAD + "int f(void)\n{\n" + "\tg();\n" * 61 + "}\n"


def check(tree):
    with tempfile.TemporaryDirectory() as root:
        for name, text in tree.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(text if isinstance(text, bytes) else text.encode())
        done = subprocess.run([sys.executable, os.path.join(HERE, "check.py"), root],
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "GIT_CEILING_DIRECTORIES": root})
        return done.returncode, done.stdout + done.stderr


def main():
    failed = 0

    def report(name, good, text):
        nonlocal failed
        print(("ok " if good else "not ok ") + name)
        if not good:
            failed = 1
            print(text)

    rc, text = check(CLEAN)
    report("lint: a tree that keeps the rules is accepted", rc == 0, text)
    for rule, name, body, part in FAULTS:
        rc, text = check({**CLEAN, name: body})
        line = next((t for t in text.splitlines() if f"[{rule}]" in t), "")
        report(f"lint: {rule}: {name}: {part}", rc == 1 and name in line and part in line
               and "1 faults" in text, text)
    rc, text = check({**CLEAN, "vmm/log.c": LONG})
    report("lint: a long function is warned about",
           rc == 0 and "a function of 61 lines (warning)" in text, text)
    return failed


sys.exit(main())
