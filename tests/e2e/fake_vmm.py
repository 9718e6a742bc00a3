#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A monitor without a machine: what sandbox-vmm is to the `sandbox` command, in a second
instead of a boot. It takes the same options, speaks the same status lines, serves the same
sockets, and runs the real agent on this machine, in namespaces of its own so that the death of
the "machine" ends everything in it.

FAKE_MODE says what goes wrong:
  (empty)      nothing
  panic, reset, poweroff, hang, stopped, error    the machine ends that way before it is ready
  silent       the monitor ends with status 3 and without a word
  garbage      READY is no good
  never        the guest is never ready
  die          the machine panics a second after the first connection
  deaf         a connection to the agent is taken, but nothing ever answers
FAKE_DELAY=SECONDS comes before READY. FAKE_PID=FILE: this process's number is written to it.
"""
import argparse
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AGENT = os.path.join(TOP, os.environ.get("O", "build"), "agent", "agent")
MODE = os.environ.get("FAKE_MODE", "")
STATUS = {"poweroff": 0, "reset": 10, "panic": 11, "hang": 12, "stopped": 13, "error": 1}
MAGIC, TYPE_READY, READY_PORT = 0x31584253, 2, 53
PR_SET_PDEATHSIG = 1


def parse():
    p = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("kernel", "initrd", "append", "memory", "vsock"):
        p.add_argument("--" + name, default="")
    for name in ("cpus", "cid", "boot-timeout", "status-fd", "parent-fd"):
        p.add_argument("--" + name, type=int, default=-1)
    p.add_argument("--console", action="store_true")
    p.add_argument("--jail")
    return p.parse_args()


def end(opt, word, text=""):
    os.write(opt.status_fd, f"end {word} {text}".strip().encode() + b"\n")
    sys.stderr.flush()
    os._exit(STATUS[word])


def start_agent(path):
    """The agent's own socket; its processes die with this one."""
    namespaces = ["unshare", "--pid", "--mount", "--mount-proc", "--fork",
                  "--kill-child=SIGKILL"]
    if os.geteuid():
        namespaces += ["--user", "--map-root-user"]
    libc = ctypes.CDLL(None)
    # Not as PID 1, which would make it the init of a guest, and not in the background of a
    # shell, which would ignore SIGINT for it. A guest has none of the host's variables.
    subprocess.Popen(
        namespaces + ["sh", "-c", '"$0" --listen-unix "$1"; exit', AGENT, path],
        stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]},
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    while not os.path.exists(path):
        time.sleep(0.01)


def pump(src, dst):
    try:
        while data := src.recv(65536):
            dst.sendall(data)
        dst.shutdown(socket.SHUT_WR)
    except OSError:
        for s in (src, dst):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve(client, agent_path):
    line = b""
    while not line.endswith(b"\n"):
        line += client.recv(1)
    assert line == b"CONNECT 52\n", line
    if MODE == "deaf":
        client.sendall(b"OK 1073741824\n")
        time.sleep(3600)
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(agent_path)
    client.sendall(b"OK 1073741824\n")
    threading.Thread(target=pump, args=(client, agent), daemon=True).start()
    pump(agent, client)


def say_ready(vsock):
    hello = struct.pack("<IHHQQI", MAGIC, 1, 1, 0, 123456789, 65536)
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"{vsock}_{READY_PORT}")
    if MODE == "garbage":
        hello = b"\0" * len(hello)
    s.sendall(struct.pack("<IHH", len(hello), TYPE_READY, 0) + hello)
    s.close()


def watch_parent(fd):
    select.select([fd], [], [])
    os._exit(13)


def main():
    opt = parse()
    for f in (opt.kernel, opt.initrd):
        open(f, "rb").close()
    if "FAKE_PID" in os.environ:
        with open(os.environ["FAKE_PID"], "w") as f:
            f.write(os.readlink("/proc/self"))    # as seen outside of its pid namespace
    threading.Thread(target=watch_parent, args=(opt.parent_fd,), daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(opt.vsock)
    listener.listen(8)
    os.write(opt.status_fd, b"run %d\n" % time.monotonic_ns())
    if opt.console:
        print(f"[    0.000000] fake console memory={opt.memory} cpus={opt.cpus}\r\n"
              "\x1b[31mred\x07\r\n", end="", file=sys.stderr, flush=True)
    time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
    if MODE == "silent":
        os._exit(3)
    if MODE in STATUS:
        end(opt, MODE, "the fake said so")
    if MODE == "never":
        time.sleep(3600)
    with tempfile.TemporaryDirectory() as tmp:
        # The folder goes at once: the agent's socket stays reachable through the descriptor.
        path = os.path.join(tmp, "a")
        start_agent(path)
        say_ready(opt.vsock)
        while True:
            client = listener.accept()[0]
            threading.Thread(target=serve, args=(client, path), daemon=True).start()
            if MODE == "die":
                time.sleep(1)
                end(opt, "panic", "the fake said so")


if __name__ == "__main__":
    main()
