# SPDX-License-Identifier: Apache-2.0
"""One random sequence of operations on two trees, which have to stay alike.

The second tree is a plain folder of the host. Each operation is made in both; what it returns
or the error that it gives has to be the same, and from time to time everything that can be
seen of the trees. What differs on purpose is in exempt() and state().
"""
import errno
import os
import random
import stat

NAMES = ["a", "b", "c", "d", "L" * 9, "sp ace", "\udcff"]
XATTRS = ["user.one", "user.two"]
NOBODY = 65534
FALLOC_KEEP, FALLOC_PUNCH, FALLOC_ZERO = 1, 2, 16


def libc():
    import ctypes
    return ctypes.CDLL(None, use_errno=True)


LIBC = libc()


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags):
        import ctypes
        raise OSError(ctypes.get_errno(), "renameat2")


def fallocate(fd, mode, at, n):
    import ctypes
    if LIBC.fallocate(fd, mode, ctypes.c_long(at), ctypes.c_long(n)):
        raise OSError(ctypes.get_errno(), "fallocate")


def state(root, path=""):
    """All that can be seen of a tree, as {path: facts}."""
    seen = {}
    full = os.path.join(root, path)
    st = os.lstat(full)
    kind = stat.S_IFMT(st.st_mode)
    facts = {"kind": kind, "mode": stat.S_IMODE(st.st_mode) & 0o1777}
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        facts["owner"] = (st.st_uid, st.st_gid)
        facts["xattrs"] = {k: os.getxattr(full, k) for k in sorted(os.listxattr(full))
                           if not k.startswith("user.sandbox.")}
    if kind == stat.S_IFLNK:
        facts["target"] = os.readlink(full)
    if kind != stat.S_IFDIR:
        facts["links"] = st.st_nlink
        facts["size"] = st.st_size
    if kind == stat.S_IFREG:
        with open(full, "rb") as f:
            facts["bytes"] = hash(f.read())
    seen[path] = facts
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(full)):
            seen.update(state(root, os.path.join(path, name)))
    return seen


class Model:
    def __init__(self, ours, plain, seed, users=True):
        self.roots = (ours, plain)
        self.rng = random.Random(seed)
        self.users = users and os.geteuid() == 0
        self.open = []          # (fd of ours, fd of the plain one)
        self.log = []

    def path(self):
        depth = self.rng.choice((1, 1, 2, 2, 3))
        return "/".join(self.rng.choice(NAMES[:self.rng.choice((3, 7))]) for _ in range(depth))

    def both(self, name, function, *args, paths=(), user=0):
        """Do it here and there. The results, if both succeeded."""
        results = []
        for root in self.roots:
            there = [os.path.join(root, p) for p in paths]
            try:
                if user:
                    os.setegid(user)
                    os.seteuid(user)
                results.append((0, function(*there, *args)))
            except OSError as e:
                results.append((e.errno, None))
            finally:
                if user:
                    os.seteuid(0)
                    os.setegid(0)
        self.log.append((name, paths, args, user, results[0][0]))
        a, b = ((errno.errorcode.get(r[0], 0)) for r in results)
        assert a == b, f"{name}{paths}{args} as {user}: {a}, not {b}; before: {self.log[-12:]}"
        return None if results[0][0] else (results[0][1], results[1][1])

    def same(self, name, function, *args, **kw):
        got = self.both(name, function, *args, **kw)
        if got:
            assert got[0] == got[1], f"{name}{args}{kw}: {got[0]!r}, not {got[1]!r}"

    # ---- operations ----

    def op_open(self):
        flags = self.rng.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)) | self.rng.choice(
            (0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_CREAT | os.O_TRUNC,
             os.O_APPEND, os.O_CREAT | os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY))
        mode = self.rng.choice((0o600, 0o644, 0o777))
        got = self.both("open", os.open, flags | os.O_NONBLOCK, mode, paths=[self.path()],
                        user=self.user())
        if got:
            # The server has no descriptor of a fifo: it is gone with its last known name.
            if stat.S_ISFIFO(os.fstat(got[1]).st_mode):
                os.close(got[0])
                os.close(got[1])
            else:
                kinds = [stat.S_IFMT(os.fstat(fd).st_mode) for fd in got]
                assert kinds[0] == kinds[1], f"opened: {kinds}"
                self.open.append(got)
        if len(self.open) > 8:
            for fd in self.open.pop(self.rng.randrange(8)):
                os.close(fd)

    def user(self):
        return NOBODY if self.users and self.rng.random() < 0.2 else 0

    def files(self):
        return self.rng.choice(self.open) if self.open else None

    def on_files(self, name, function):
        pair = self.files()
        if not pair:
            return
        results = []
        for fd in pair:
            try:
                results.append(function(fd))
            except OSError as e:
                results.append(errno.errorcode[e.errno])
        self.log.append((name, pair, str(results[0])[:30]))
        assert results[0] == results[1], (
            f"{name} of {os.readlink(f'/proc/self/fd/{pair[1]}')}: "
            f"{results[0]!r}, not {results[1]!r}; before: {self.log[-12:]}")

    def op_write(self):
        data = bytes([self.rng.randrange(256)]) * self.rng.choice((1, 100, 5000, 70000))
        at = self.rng.choice((0, 10, 4096, 9999, 100000))
        self.on_files("pwrite", lambda fd: os.pwrite(fd, data, at))

    def op_read(self):
        n, at = self.rng.choice((1, 4096, 200000)), self.rng.choice((0, 5, 5000))
        self.on_files("pread", lambda fd: os.pread(fd, n, at))

    def op_ftruncate(self):
        size = self.rng.choice((0, 1, 4095, 50000))
        self.on_files("ftruncate", lambda fd: os.ftruncate(fd, size))

    def op_fallocate(self):
        mode = self.rng.choice((0, FALLOC_KEEP, FALLOC_KEEP | FALLOC_PUNCH, FALLOC_ZERO))
        at, n = self.rng.choice((0, 4096, 5000)), self.rng.choice((1, 4096, 30000))
        self.on_files("fallocate", lambda fd: fallocate(fd, mode, at, n))

    def op_fstat(self):
        def facts(fd):
            st = os.fstat(fd)
            kind = stat.S_IFMT(st.st_mode)
            return (kind, stat.S_IMODE(st.st_mode) & 0o1777,
                    (st.st_size, st.st_nlink) if kind == stat.S_IFREG else 0)
        self.on_files("fstat", facts)

    def op_fsync(self):
        self.on_files("fsync", os.fsync)

    def op_fchmod(self):
        mode = self.rng.choice((0o700, 0o740, 0o755))
        self.on_files("fchmod", lambda fd: os.fchmod(fd, mode))

    def op_copy_range(self):
        a, b = self.files(), self.files()
        if a and b:
            results = []
            for x, y in zip(a, b):
                try:
                    results.append(os.copy_file_range(x, y, 3000, 0, 8000))
                except OSError as e:
                    results.append(errno.errorcode[e.errno])
            assert results[0] == results[1], f"copy_file_range: {results}"

    def op_mkdir(self):
        self.both("mkdir", os.mkdir, self.rng.choice((0o755, 0o777, 0o1777, 0o700)),
                  paths=[self.path()], user=self.user())

    def op_rmdir(self):
        self.both("rmdir", os.rmdir, paths=[self.path()], user=self.user())

    def op_unlink(self):
        self.both("unlink", os.unlink, paths=[self.path()], user=self.user())

    def op_rename(self):
        self.both("rename", os.rename, paths=[self.path(), self.path()], user=self.user())

    def op_rename2(self):
        self.both("renameat2", renameat2, self.rng.choice((0, 1, 2)),
                  paths=[self.path(), self.path()])

    def op_link(self):
        self.both("link", lambda a, b: os.link(a, b, follow_symlinks=False),
                  paths=[self.path(), self.path()])

    def op_symlink(self):
        self.both("symlink", lambda p: os.symlink(self.log and "a/b" or "c", p),
                  paths=[self.path()])

    def op_mkfifo(self):
        self.both("mkfifo", os.mkfifo, 0o644, paths=[self.path()])

    def op_truncate(self):
        path = self.path()
        if any(stat.S_ISFIFO(s) for s in self.kinds(path)):
            return
        self.both("truncate", os.truncate, self.rng.choice((0, 77, 20000)), paths=[path],
                  user=self.user())

    def kinds(self, path):
        for root in self.roots:
            try:
                yield os.stat(os.path.join(root, path)).st_mode
            except OSError:
                pass

    def op_chmod(self):
        path, modes = self.path(), (0o755, 0o700, 0o777)
        if os.geteuid() == 0:       # others lock themselves out
            modes += (0o600, 0o444, 0o1777, 0o000)
        self.both("chmod", os.chmod, self.rng.choice(modes), paths=[path], user=self.user())

    def op_chown(self):
        path = self.path()
        if not self.users or not all(stat.S_ISREG(m) or stat.S_ISDIR(m)
                                     for m in self.kinds(path)):
            return
        self.both("chown", os.chown, self.rng.choice((0, 1000, NOBODY, -1)),
                  self.rng.choice((0, 1000, -1)), paths=[path], user=self.user())

    def op_utime(self):
        path, t = self.path(), self.rng.randrange(1 << 60)
        if not self.both("utime", lambda p: os.utime(p, ns=(t, t + 7), follow_symlinks=False),
                         paths=[path]):
            return
        self.same("times", lambda p: (os.lstat(p).st_mtime_ns, os.lstat(p).st_atime_ns
                                      if stat.S_ISREG(os.lstat(p).st_mode) else 0), paths=[path])

    def op_setxattr(self):
        self.both("setxattr", lambda p, *a: os.setxattr(p, *a, follow_symlinks=False),
                  self.rng.choice(XATTRS), b"v" * self.rng.choice((0, 3, 20)),
                  self.rng.choice((0, os.XATTR_CREATE, os.XATTR_REPLACE)), paths=[self.path()])

    def op_getxattr(self):
        self.same("getxattr", lambda p, *a: os.getxattr(p, *a, follow_symlinks=False),
                  self.rng.choice(XATTRS), paths=[self.path()])

    def op_removexattr(self):
        self.both("removexattr", lambda p, *a: os.removexattr(p, *a, follow_symlinks=False),
                  self.rng.choice(XATTRS), paths=[self.path()])

    def op_listdir(self):
        self.same("listdir", lambda p: sorted(os.listdir(p)), paths=[self.path()],
                  user=self.user())

    def op_readlink(self):
        self.same("readlink", os.readlink, paths=[self.path()])

    def op_access(self):
        self.same("access", lambda p, m: os.access(p, m, effective_ids=True),
                  self.rng.choice((os.R_OK, os.W_OK, os.X_OK)), paths=[self.path()],
                  user=self.user())

    # ----

    def run(self, count):
        ops = [getattr(self, n) for n in dir(self) if n.startswith("op_")]
        old = os.umask(0o022)
        try:
            for i in range(count):
                self.rng.choice(ops)()
                if i % 500 == 499:
                    self.compare()
        finally:
            os.umask(old)
            for pair in self.open:
                for fd in pair:
                    os.close(fd)
            self.open = []
        self.compare()

    def compare(self):
        a, b = (state(r) for r in self.roots)
        for path in sorted(set(a) | set(b)):
            x, y = a.get(path), b.get(path)
            assert x == y, f"{path!r}: {x}, not {y}; before: {self.log[-8:]}"
