# SPDX-License-Identifier: Apache-2.0
"""Paths, numbers and the report: what every part of the benchmark needs."""
import json
import os
import statistics

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, os.environ.get("O", "build"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
LONG = os.environ.get("BENCH_LONG", "0") not in ("", "0")
BOOT_RUNS = RUNS if LONG else 1
BOOT_SECONDS = int(os.environ.get("BENCH_BOOT_SECONDS", "300"))
MEMORY_MIB = 128

VMM = os.path.join(OUT, "sandbox-vmm")
SANDBOX = os.path.join(OUT, "sandbox")
GUESTCTL = os.path.join(OUT, "guestctl")
AGENT = os.path.join(OUT, "agent/agent")
KERNEL = os.path.join(OUT, "guest/vmlinux")
INITRD = os.path.join(OUT, "guest/initramfs.cpio")


def tool(name):
    """A program of this folder."""
    return os.path.join(OUT, "bench", name)


def words(number):
    """Two or three digits that matter."""
    if number >= 100:
        return f"{number:.0f}"
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.2g}"


class Report:
    """Lines of the table, in order, and what could not be measured."""

    def __init__(self):
        self.part = ""
        self.lines, self.gaps = [], []

    def pairs(self, what, against, ours, theirs, unit, note=""):
        """One line: the median of the ratios of pairs, and their smallest and largest."""
        ratios = [a / b for a, b in zip(ours, theirs)]
        self.lines.append({
            "part": self.part, "what": what, "against": against, "unit": unit, "note": note,
            "runs": len(ratios), "ratio": statistics.median(ratios),
            "ratio_min": min(ratios), "ratio_max": max(ratios),
            "ours": ours, "theirs": theirs,
        })

    def gap(self, why):
        """A line that is missing, and the reason."""
        self.gaps.append({"part": self.part, "why": why})

    def table(self):
        rows = [("what", "against", "ratio", "spread", "runs", "note")]
        rows += [(x["what"], x["against"], words(x["ratio"]),
                  f"{words(x['ratio_min'])} to {words(x['ratio_max'])}" if x["runs"] > 1 else "-",
                  str(x["runs"]), x["note"]) for x in self.lines]
        rows += [(g["part"], "-", "-", "-", "0", "not measured: " + g["why"]) for g in self.gaps]
        rows.insert(1, tuple("---" for _ in rows[0]))
        widths = [max(len(r[i]) for r in rows) for i in range(5)]
        return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(r, widths)) +
                         f" | {r[5]} |" for r in rows)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"runs": RUNS, "boot_runs": BOOT_RUNS, "memory_mib": MEMORY_MIB,
                       "lines": self.lines, "gaps": self.gaps}, f, indent=1)
            f.write("\n")
