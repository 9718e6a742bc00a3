#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py [FOLDER] - read every file of the tree and say which rule of rules.py it breaks.

One line for each fault, `file:line: [rule] what`; status 1 when there is one. Sizes are only
warned about. Files are those that git tracks or would; without git, all but build folders.
"""
import fnmatch
import os
import re
import subprocess
import sys
import rules

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')

# A file that a comment names without its folder.
COMMENT = re.compile(r"/\*.*?\*/", re.S)
NAMED = re.compile(r"(?<![\w./*<-])([\w-]+\.(?:[chS]|py|sh|md))(?![\w.])")

# A message is one string, so that it can be searched for: it may reach over the edge.
SENTENCE = re.compile(r'^[^"]*("[^"]*"[^"]*)*"[^"]{20,}$')


def like(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def files(root):
    git = subprocess.run(["git", "-C", root, "ls-files", "-zco", "--exclude-standard"],
                         capture_output=True, check=False)
    if git.returncode == 0:
        names = [os.fsdecode(n) for n in git.stdout.split(b"\0") if n]
    else:
        names = [os.path.relpath(os.path.join(d, f), root) for d, _, fs in os.walk(root)
                 for f in fs]
    return sorted(n for n in names if not re.match(r"(build[-/]|\.git/)", n)
                  and os.path.isfile(os.path.join(root, n))
                  and not os.path.islink(os.path.join(root, n)))


class Checker:
    def __init__(self, root, names):
        self.root, self.faults, self.warnings = root, [], []
        self.known = {os.path.basename(n) for n in names} | set(rules.NAMED_ELSEWHERE)

    def fault(self, name, line, rule, what):
        self.faults.append(f"{name}:{line}: [{rule}] {what}")

    def warn(self, name, line, rule, what):
        self.warnings.append(f"{name}:{line}: [{rule}] {what}")

    def spdx(self, name, lines):
        for pattern, text in rules.SPDX:
            if fnmatch.fnmatchcase(name, pattern):
                if not any(text in line for line in lines[:3]):
                    self.fault(name, 1, "spdx", f"no '{text}' in the first lines")
                return

    def include(self, name, lines):
        allowed = next((a for p, a in rules.INCLUDES if fnmatch.fnmatchcase(name, p)), None)
        if allowed is None:
            self.fault(name, 1, "include", "this folder has no line in rules.py")
            return
        own = re.split(r"[_.]", os.path.basename(name))[0]
        allowed = [a.replace("%", own) for a in allowed]
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            kind, what = found.groups()
            if kind == "<":
                where = next((w for lib, w in rules.LIBS if fnmatch.fnmatchcase(what, lib)), None)
                if where and not like(name, where) and not like(name, rules.LIBS_FREE):
                    self.fault(name, number, "library",
                               f"<{what}> belongs to {' '.join(where)} alone")
            elif not like(what, allowed):
                self.fault(name, number, "include",
                           f"may not include {what}; allowed: {' '.join(allowed) or 'nothing'}")
            elif not os.path.isfile(os.path.join(self.root, what)):
                self.fault(name, number, "include", f"{what}: write it from the top of the tree")

    def layout(self, name, lines, text):
        for number, line in enumerate(lines, 1):
            if line.rstrip() != line:
                self.fault(name, number, "space", "space at the end of the line")
            if re.match(r"\t* +\t", line):
                self.fault(name, number, "space", "space before a tab")
            if like(name, rules.C) and re.match(r" {8}", line):
                self.fault(name, number, "space", "indented by spaces")
            if (like(name, rules.CODE) and len(line.expandtabs(8)) > rules.WIDTH
                    and not SENTENCE.search(line.expandtabs(8)[:rules.WIDTH].replace(r'\"', ""))):
                self.fault(name, number, "width", f"more than {rules.WIDTH} columns")
            if any(re.search(r"(?<![\w.~-])" + re.escape(p), line) for p in rules.PATHS):
                self.fault(name, number, "path", "names a folder of a build machine")
        if text and not text.endswith("\n"):
            self.fault(name, len(lines), "space", "no newline at the end")
        if text.endswith("\n\n"):
            self.fault(name, len(lines), "space", "empty line at the end")

    def named(self, name, text):
        for comment in COMMENT.finditer(text):
            for found in NAMED.finditer(comment.group()):
                if found.group(1) not in self.known:
                    line = text.count("\n", 0, comment.start() + found.start()) + 1
                    self.fault(name, line, "named", f"there is no {found.group(1)}")

    def size(self, name, lines):
        if len(lines) > rules.FILE_LINES:
            self.warn(name, 1, "size", f"{len(lines)} lines, more than {rules.FILE_LINES}")
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start - 1 > rules.FUNCTION_LINES:
                    self.warn(name, start, "size", f"a function of {number - start - 1} lines")
                start = None

    def file(self, name):
        if like(name, rules.NOT_TEXT) and not name.endswith(".patch"):
            return
        with open(os.path.join(self.root, name), "rb") as f:
            raw = f.read()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.fault(name, 1, "text", "is not UTF-8")
            return
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        self.spdx(name, lines)
        if like(name, rules.NOT_TEXT):
            return
        self.layout(name, lines, text)
        if like(name, rules.C):
            self.include(name, lines)
            self.named(name, text)
            self.size(name, lines)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    names = files(root)
    checker = Checker(root, names)
    for name in names:
        checker.file(name)
    for line in checker.warnings:
        print(f"{line} (warning)")
    for line in checker.faults:
        print(line)
    print(f"{len(names)} files, {len(checker.faults)} faults, {len(checker.warnings)} warnings")
    return 1 if checker.faults or not names else 0


sys.exit(main())
