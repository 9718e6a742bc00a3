# SPDX-License-Identifier: Apache-2.0
"""A root file system made of this host's own programs and the libraries that they ask for, and
of programs in Debian packages that are unpacked but not installed (an sshd that is installed
would listen). No network: `make setup` has put the packages into the cache folder.
"""
import glob
import os
import re
import subprocess
import oci

PASSWD = (b"root:x:0:0::/root:/bin/sh\nsshd:x:74:65534::/run/sshd:/bin/false\n"
          b"app:x:1000:1000::/home/app:/bin/sh\n")
GROUP = b"root:x:0:\nnogroup:x:65534:\napp:x:1000:\n"
APPLETS = oci.APPLETS + "rm chmod chown ls printf expr test mktemp tr cut find tar".split()


def unpacked(folder):
    """The packages of `make setup`, unpacked in `folder`; where their libraries are."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.environ.get("CACHE") or os.path.join(cache, "sandbox")
    debs = glob.glob(os.path.join(cache, "packages", "*.deb"))
    if not debs:
        raise FileNotFoundError(f"no packages in {cache}/packages; run 'make setup'")
    for d in debs:
        subprocess.run(["dpkg-deb", "-x", d, folder], check=True)
    return [os.path.dirname(p) for p in
            glob.glob(os.path.join(folder, "**/*.so*"), recursive=True)]


def libraries(program, where):
    """{path in the guest: file of this host} of what the program is linked with."""
    out = subprocess.run(["ldd", program], capture_output=True, check=True, text=True,
                         env={**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(set(where)))}).stdout
    found = {}
    for name, path in re.findall(r"(\S+) => (/\S+)", out):
        found["lib/" + name] = path
    for path in re.findall(r"^\s+(/\S+)", out, re.M):
        found[path.lstrip("/")] = path
    return found


def archive(programs, where=(), links=()):
    """A tar archive of busybox and {path in the guest: program of this host}."""
    files = dict(programs)
    for p in programs.values():
        files.update(libraries(p, where))
    folders = {"bin", "etc", "root", "srv", "home/app", "usr/bin"}
    for path in [*files, *dict(links)]:
        folders.add(os.path.dirname(path))
    for f in list(folders):
        while "/" in f:
            f = os.path.dirname(f)
            folders.add(f)
    entries = [oci.folder(f) for f in sorted(folders)]
    with open(oci.BUSYBOX, "rb") as f:
        entries.append(oci.plain("bin/busybox", f.read()))
    entries += [oci.link("bin/" + a, "busybox") for a in sorted(set(APPLETS))]
    for path, source in sorted(files.items()):
        with open(source, "rb") as f:
            entries.append(oci.plain(path, f.read()))
    entries += [oci.link(path, to) for path, to in links]
    entries += [oci.plain("etc/passwd", PASSWD, mode=0o644),
                oci.plain("etc/group", GROUP, mode=0o644)]
    return oci.tar(entries)
