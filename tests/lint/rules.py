# SPDX-License-Identifier: Apache-2.0
"""The rules that check.py enforces, as tables."""

# What every part of the command may use of the rest of the tree.
CLI = ("cli/cli.h", "vmm/base.h", "vmm/log.h", "vmm/blob.h", "agent/proto.h",
       "agent/client/client.h", "agent/helper.h", "agent/unpack.h")

# Who may include whom ("..."). The first line whose pattern matches a file decides; `%` in what
# is allowed stands for the first word of the file's own name, so vsock_conn.c may include
# vsock.h. Everybody may include what the compiler and libc bring along (<...>), but see LIBS.
INCLUDES = (
    # file                  may include
    ("vmm/main.c",          ("vmm/*", "firmware/*")),
    ("vmm/vm.c",            ("vmm/*", "devices/registry.h")),
    # The agent's protocol does not enter the monitor.
    ("vmm/*",               ("vmm/*",)),
    ("devices/registry.*",  ("vmm/base.h", "vmm/virtio.h", "devices/registry.h")),
    ("devices/fs/*",        ("vmm/base.h", "vmm/log.h", "vmm/blob.h", "vmm/jail.h",
                             "vmm/landlock.h", "devices/fs/*")),
    ("devices/fs[._]*",     ("vmm/base.h", "vmm/log.h", "vmm/gmem.h", "vmm/loop.h", "vmm/virtq.h",
                             "vmm/virtio.h", "vmm/conf.h", "devices/fs.h", "devices/fs_*.h",
                             "devices/fs/wire.h",
                             "agent/proto.h")),         # the tag by which the agent finds it
    ("devices/*",           ("vmm/base.h", "vmm/log.h", "vmm/gmem.h", "vmm/loop.h", "vmm/virtq.h",
                             "vmm/virtio.h", "vmm/conf.h", "vmm/bucket.h", "devices/%.h",
                             "devices/%_*.h")),
    ("firmware/*",          ("vmm/base.h", "vmm/log.h", "vmm/gmem.h", "firmware/*")),
    # The host's half uses the guest's, never the other way round: all but agent/client/.
    ("agent/client/*",      ("agent/*",)),
    ("agent/*",             ("agent/[!c]*", "agent/c[!l]*")),
    # The command's folders are layers: each may use those above it in this list.
    ("cli/base/*",          CLI + ("cli/base/*",)),
    ("cli/store/*",         CLI + ("cli/base/*", "cli/store/*")),
    ("cli/image/*",         CLI + ("vmm/landlock.h", "cli/base/*", "cli/store/*", "cli/image/*")),
    ("cli/share/*",         CLI + ("cli/base/*", "cli/store/*", "cli/share/*",
                                   "devices/fs/wire.h", "devices/fs/upper.h")),
    ("cli/machine/*",       CLI + ("cli/base/*", "cli/store/*", "cli/image/*", "cli/share/*",
                                   "cli/machine/*")),
    ("cli/run/*",           CLI + ("cli/base/*", "cli/store/*", "cli/image/*", "cli/share/*",
                                   "cli/machine/*", "cli/run/*")),
    ("cli/keeper/*",        CLI + ("cli/base/*", "cli/store/*", "cli/image/*", "cli/share/*",
                                   "cli/machine/*", "cli/run/*", "cli/keeper/*")),
    ("cli/*",               CLI + ("cli/*",)),
    ("guest/*",             ()),
    ("tests/*",             ("*",)),
    ("bench/*",             ("*",)),
)

# Libraries and interfaces that belong to one place (<...>). Tests and benchmarks are free.
LIBS = (
    ("linux/kvm.h",    ("vmm/*", "cli/doctor/kvm.c")),
    ("liburing.h",     ("vmm/loop.*",)),
    ("libfdt.h",       ("firmware/*",)),
    ("seccomp.h",      ("vmm/seccomp/*",)),
    ("cap-ng.h",       ("vmm/*", "devices/fs/*")),
    ("jansson.h",      ("cli/*",)),
    ("archive*.h",     ("cli/*",)),
    ("openssl/*",      ("cli/*",)),
)
LIBS_FREE = ("tests/*", "bench/*")

# Files that must begin with a license: patterns, and what the first lines must say.
SPDX = (
    ("guest/patches/*.patch", "GPL-2.0"),
    ("*.cc",         "SPDX-License-Identifier: Apache-2.0"),
    ("*.[ch]",       "SPDX-License-Identifier: Apache-2.0"),
    ("*.S",          "SPDX-License-Identifier: Apache-2.0"),
    ("*.py",         "SPDX-License-Identifier: Apache-2.0"),
    ("*.sh",         "SPDX-License-Identifier: Apache-2.0"),
    ("*Makefile",    "SPDX-License-Identifier: Apache-2.0"),
    ("*Kconfig",     "SPDX-License-Identifier: Apache-2.0"),
    ("*.config",     "SPDX-License-Identifier: Apache-2.0"),
    (".ci/*",        "SPDX-License-Identifier: Apache-2.0"),
)

# Layout. Patches and the fuzzers' corpus are other formats.
NOT_TEXT = ("tests/fuzz/corpus/*", "*.patch", "*.png", "*.bin", "LICENSE")
CODE = ("*.c", "*.cc", "*.h", "*.S", "*.py")
C = ("*.c", "*.h", "*.S")
WIDTH = 100
# Files of others that comments name.
NAMED_ELSEWHERE = ("cpuid-deps.c", "cpufeatures.h")
FILE_LINES = 500        # warned about
FUNCTION_LINES = 60     # warned about

# Folders of the machines that built it have no place in a file, where a path begins.
PATHS = ("/" + "work/", "/tmp/" + "wt/", "/tmp/" + "wt ")
