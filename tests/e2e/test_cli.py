#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `sandbox` command without a machine: streams, flags, refusals, results, help."""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import fake
from fake import (TOP, SANDBOX, SECONDS, check, equal, wait, running, until_line, refused)


# ---- streams and status --------------------------------------------------------------------


def test_bytes_pass_unchanged_and_apart(p):
    data = os.urandom(2 << 20)
    r = p.run("--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=data)
    check(r.stdout == data, f"stdout differs: {len(r.stdout)} bytes")
    equal((r.returncode, r.stderr), (7, b"err\n"), "status and stderr")
    equal(p.left(), [], "left in the runtime folder")


def test_exit_statuses(p):
    for want, script in ((0, "true"), (7, "exit 7"), (255, "exit 255"), (143, "kill -TERM $$"),
                         (137, "kill -KILL $$")):
        r = p.run("--", "sh", "-c", script)
        equal((r.returncode, r.stdout, r.stderr), (want, b"", b""), script)


def test_a_command_that_cannot_run(p):
    refused(p.run("--", "/no/such"), "/no/such", 127)
    refused(p.run("--", p.file), "ermission", 126)


def test_flags_end_at_the_first_word(p):
    r = p.run("echo", "-x", "--json", "--", "x")
    equal((r.returncode, r.stdout), (0, b"-x --json -- x\n"), "output")
    r = p.run("--", "sh", "-c", "echo $1", "sh", "--help")
    equal((r.returncode, r.stdout), (0, b"--help\n"), "output")


def test_timeout_keeps_what_was_written(p):
    mark = f"31{os.getpid()}"
    begin = time.monotonic()
    r = p.run("--timeout", "3s", "--", "sh", "-c", f"echo part; sleep {mark} & sleep {mark}")
    equal((r.returncode, r.stdout), (124, b"part\n"), "status and stdout")
    equal(r.stderr, b"sandbox: the command was ended by --timeout after 3 s\n", "stderr")
    check(time.monotonic() - begin < 100, "it took long")
    wait(lambda: not running(mark), "a process of the command is left")


def test_max_output_keeps_the_head(p):
    r = p.run("--max-output", "10", "--", "sh", "-c", "echo 0123456789abc; echo short >&2")
    equal((r.returncode, r.stdout), (0, b"0123456789"), "status and stdout")
    equal(r.stderr, b"short\nsandbox: stdout was cut after 10 bytes (--max-output)\n", "stderr")


def test_a_background_process_does_not_hold_the_run(p):
    begin = time.monotonic()
    r = p.run("--", "sh", "-c", "sleep 3333 & echo done")
    equal((r.returncode, r.stdout), (0, b"done\n"), "output")
    check(time.monotonic() - begin < 100, "it waited for the background process")


def test_a_reader_that_leaves(p):
    c = p.start("--", "sh", "-c", "while :; do echo line; done")
    until_line(c.stdout, b"line\n")
    c.stdout.close()
    equal(c.wait(SECONDS), 141, "status: SIGPIPE in the guest")
    equal(c.stderr.read(), b"", "stderr")
    c.stderr.close()


def test_stdin_that_is_closed(p):
    r = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *p.argv(["--", "cat"])], env=p.env,
                       capture_output=True, timeout=SECONDS)
    equal((r.returncode, r.stdout, r.stderr), (0, b"", b""), "result")


# ---- what the command is given -------------------------------------------------------------


def test_environment_and_folder(p):
    path = os.path.join(p.top, "vars")
    with open(path, "w") as f:
        f.write("# comment\n\nA=from file\nB=  'as is'  \nFROM_HOST\n")
    r = p.run("-e", "A=from flag", "--env-file", path, "-eC=x=y", "-e", "NOT_SET_HERE", "-w",
              "/usr", "--", "sh", "-c", 'printf "%s|" "$A" "$B" "$C" "$FROM_HOST" '
              '"${NOT_SET_HERE-unset}" "${SECRET_OF_HOST-unset}" "$PWD"', FROM_HOST="host",
              SECRET_OF_HOST="x")
    equal(r.stdout, b"from flag|  'as is'  |x=y|host|unset|unset|/usr|", "stdout")


def test_user(p):
    r = p.run("-u", "12:34", "--", "sh", "-c", "id -u; id -g")
    if os.geteuid():
        check(r.returncode == 125, "an id that cannot be had")
        return
    equal(r.stdout, b"12\n34\n", "ids")
    refused(p.run("-u", "no-such-user", "--", "true"), "no-such-user")


def test_the_machine_is_given_its_shape(p):
    r = p.run("--console", "-m", "200m", "--", "true")
    equal(r.returncode, 0, "status")
    check(b"memory=204800k cpus=1" in r.stderr, f"{r.stderr!r}")


# ---- what is refused before anything starts -------------------------------------------------


def test_refusals(p):
    have_cpus = len(os.sched_getaffinity(0))
    cases = (
        (["--memroy", "1g", "--", "true"], "there is no flag --memroy; did you mean --memory?"),
        (["-q", "--", "true"], "there is no flag -q"),
        (["-m", "9000g", "--", "true"], "9000g asked for, but this host has "),
        (["-m", "9m", "--", "true"], "9m asked for, but a guest needs at least 48 MiB"),
        (["-m", "lots", "--", "true"], "'lots' is not a size"),
        (["--cpus", "33", "--", "true"], "33 asked for, but a guest can have at most 32"),
        (["--cpus", "1.5x", "--", "true"], "'1.5x' is not a number from 0.01 to 32"),
        (["--timeout", "soon", "--", "true"], "'soon' is not a time"),
        (["--timeout", "0", "--", "true"], "no time at all"),
        (["--timeout"], "--timeout needs a value"),
        (["--json=yes", "--", "true"], "--json takes no value"),
        (["-w", "usr", "--", "true"], "not an absolute path"),
        (["-u", ":x", "--", "true"], "not USER or USER:GROUP"),
        (["-e", "=x", "--", "true"], "no name before the '='"),
        (["--env-file", "/no/such", "--", "true"], "open /no/such: No such file"),
        (["--kernel", "/no/such", "--", "true"], "--kernel: open /no/such: No such file"),
        (["--initrd", "/", "--", "true"], "--initrd: read /: Is a directory"),
        (["-v", "/no/such:/w", "--", "true"], "-v: there is no folder /no/such here; make it"),
        (["-v", "/etc/passwd:/w", "--", "true"], "only folders can be shared"),
        (["-v", "/etc:/w", "--", "true"], "-v: /etc is guarded; share a folder that"),
        (["-v", "/:/w", "--", "true"], "-v: / is guarded"),
        (["-v", p.home + ":/w:ro", "--", "true"], "is guarded"),
        (["-v", "/usr/share:/a", "-v", "/usr/share:/b:cow", "--", "true"], "overlap"),
        (["--secret=A=xyzzy", "--", "true"], "--secret: A: a value cannot be given on the command"),
        (["--network", "public", "--", "true"], "'public' is not in this version"),
        (["--network", "full", "--", "true"], "'full' is no kind of network"),
        (["--json-status-fd", "77", "--", "true"], "descriptor 77 is not open for writing"),
        (["--json-status-fd", "1", "--", "true"], "'1' is not a whole number from 2"),
        (["alpine", "--", "true"], "there is no image 'alpine'"),
        (["--disk", "1M", "--", "true"], "a disk has from 16 MiB"),
        (["--tmpfs", "x", "--", "true"], "not an absolute path"),
        (["--read-only", "--disk", "1G", "--", "true"], "leave one out"),
        (["--json", "-t", "--", "true"], "use --json-status-fd with -t"),
        (["-t", "--", "true"], "-t needs a terminal, and stdin is none"),
        ([], "there is no command"),
        (["--"], "there is no command"),
    )
    for args, sentence in cases:
        r = p.run(*args)
        if "--json" in args:
            r.stdout = b"" if json.loads(r.stdout)["exit_code"] == 125 else r.stdout
        refused(r, sentence)
    if have_cpus < 32:
        refused(p.run("--cpus", "32", "--", "true"), f"32 asked for, but this host has {have_cpus}")
    check(not os.path.exists(p.pid_file), "a monitor was started")
    equal(p.left(), [], "left in the runtime folder")


def test_words_that_are_no_verb(p):
    for args, sentence in ((["rnu"], "did you mean 'run'?"),
                           (["--json"], "must come after a verb"),
                           (["completion", "tcsh"], "none of bash, zsh and fish"),
                           (["doctor", "now"], "one word too many")):
        r = subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS, env=p.env)
        refused(r, sentence, 2)


def test_a_limit_that_the_guest_cannot_keep(p):
    """The agent has no cgroups here, so it has to say no, and the command must not run."""
    refused(p.run("--pids-limit", "5", "--", "echo", "ran"), "cannot limit the number of processes")


def test_a_monitor_that_is_not_there(p):
    refused(p.run("--", "true", SANDBOX_VMM="/no/such"), "/no/such, named by SANDBOX_VMM")
    refused(p.run("--", "true", SANDBOX_VMM=p.file), "named by SANDBOX_VMM")


def test_a_runtime_folder_with_a_long_path(p):
    deep = os.path.join(p.top, "d" * 90)
    os.mkdir(deep, 0o700)
    refused(p.run("--", "true", XDG_RUNTIME_DIR=deep), "set XDG_RUNTIME_DIR to a shorter one")


def test_a_runtime_folder_of_nobody(p):
    """Then the state folder takes its place."""
    r = p.run("--", "echo", "ok", XDG_RUNTIME_DIR="/no/such")
    equal((r.returncode, r.stdout, r.stderr), (0, b"ok\n", b""), "result")
    made = os.path.join(p.top, "state", "sandbox", "run")
    equal((os.listdir(made), os.stat(made).st_mode & 0o7777), ([], 0o700), "the state folder")


# ---- results for programs ------------------------------------------------------------------


def test_json(p):
    r = p.run("--json", "--", "sh", "-c", "printf 'häh\\n'; printf '\\377x' >&2; exit 3")
    equal((r.returncode, r.stderr, r.stdout.count(b"\n")), (3, b"", 1), "status, stderr, lines")
    o = json.loads(r.stdout)
    equal((o["stdout"], o["stdout_encoding"]), ("häh\n", "utf-8"), "stdout")
    equal((base64.b64decode(o["stderr"]), o["stderr_encoding"]), (b"\xffx", "base64"), "stderr")
    equal({k: o[k] for k in ("exit_code", "signal", "timed_out", "oom", "truncated", "error",
                             "restore_ms")},
          {"exit_code": 3, "signal": None, "timed_out": False, "oom": False, "truncated": False,
           "error": None, "restore_ms": None}, "fields")
    check(o["boot_ms"] > 0 and 0 < o["exec_ms"] < 60000, f"times: {o}")


def test_json_of_other_ends(p):
    o = json.loads(p.run("--json", "--", "sh", "-c", "kill -KILL $$").stdout)
    equal((o["exit_code"], o["signal"]), (137, 9), "a signal")
    o = json.loads(p.run("--json", "--timeout", "3s", "--", "sh", "-c", "echo a; sleep 333").stdout)
    equal((o["exit_code"], o["timed_out"], o["stdout"]), (124, True, "a\n"), "a timeout")
    o = json.loads(p.run("--json", "--max-output=3", "--", "echo", "abcdef").stdout)
    equal((o["truncated"], o["stdout_truncated"], o["stderr_truncated"], o["stdout"]),
          (True, True, False, "abc"), "truncation")
    r = p.run("--json", "--", "/no/such")
    o = json.loads(r.stdout)
    equal((o["exit_code"], o["exec_ms"]), (127, None), "no such command")
    check("/no/such" in o["error"] and o["error"] in r.stderr.decode(), f"{o['error']!r}")
    o = json.loads(p.run("--json", "--", "true", FAKE_MODE="panic").stdout)
    equal((o["exit_code"], o["boot_ms"], o["error"]),
          (125, None, "the guest's kernel panicked before it was ready"), "a panic")


def test_json_keeps_a_bounded_part(p):
    o = json.loads(p.run("--json", "--", "sh", "-c", "yes | head -c 17000000").stdout)
    equal((len(o["stdout"]), o["truncated"]), (16 << 20, True), "bytes kept")


def test_json_status_fd(p):
    r_fd, w_fd = os.pipe()
    c = p.start("--json-status-fd", str(w_fd), "--", "sh", "-c", "echo out; exit 4",
                pass_fds=[w_fd])
    os.close(w_fd)
    out, err = c.communicate(timeout=SECONDS)
    with os.fdopen(r_fd) as f:
        text = f.read()
    o = json.loads(text)
    equal((out, err, c.returncode, o["exit_code"], "stdout" in o), (b"out\n", b"", 4, 4, False),
          "result")


def test_doctor_speaks_json(p):
    r = subprocess.run([SANDBOX, "doctor", "--json"], capture_output=True, timeout=SECONDS,
                       env=p.env)
    o = json.loads(r.stdout)
    failed = [c["check"] for c in o["checks"] if c["grade"] == "fail"]
    equal((o["ok"], r.returncode), (not failed, 1 if failed else 0), f"failed: {failed}")
    check(all(c["grade"] == "ok" or c["remedy"] for c in o["checks"]), "a remedy is missing")
    check({"kvm", "io_uring", "namespaces", "memory", "disk", "passt", "kernel"} <=
          {c["check"] for c in o["checks"]}, "a check is missing")


# ---- help and completion -------------------------------------------------------------------


def test_help_names_every_flag_and_fits(p):
    def words(*args):
        r = subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS, env=p.env)
        equal((r.returncode, r.stderr), (0, b""), f"{args}")
        return r.stdout.decode()

    tree = words("help")
    check(len(tree.splitlines()) <= 24 and max(map(len, tree.splitlines())) <= 100,
          "the tree does not fit one screen")
    verbs = re.findall(r"\b[a-z-]+\b", " ".join(re.findall(r"^  (\S.*?)  ", tree, re.M)))
    listed = re.findall(r"-n __fish_use_subcommand -a ([\w-]+)", words("completion", "fish"))
    equal(sorted(verbs), sorted(listed), "verbs of the tree, and those that there are")
    for verb in verbs:
        text = words(verb, "--help")
        equal(text, words("help", verb), f"two ways to the help of {verb}")
        check("Example" in text and f"  sandbox {verb}" in text, f"no example for {verb}")
    text = words("run", "--help")
    for flag in ("-e, --env", "--env-file", "-w, --workdir", "-u, --user", "-i, ", "-t, ",
                 "--timeout", "-m, --memory", "--cpus", "--pids-limit", "--max-output",
                 "--kernel", "--initrd", "--json ", "--json-status-fd", "--console"):
        check(flag in text, f"{flag} is not in the help of run")
    check("--publish" not in text, "a flag of a later version is listed")
    check(words("version").startswith("sandbox "), "version")


def test_json_of_paths_that_are_no_text(p):
    odd = os.path.join(os.fsencode(p.top), b"\xff d")
    os.mkdir(odd)

    def answer(*args, **env):
        r = subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS,
                           env={**p.env, **env})
        check(args[0] == "doctor" or r.returncode == 0, f"{args}: {r.returncode}, {r.stderr}")
        return json.loads(r.stdout) if "--json" in args else None

    checks = [[c["check"] for c in answer("doctor", "--json", **env)["checks"]]
              for env in ({}, {"XDG_CACHE_HOME": odd})]
    equal(checks[1], checks[0], "checks where the cache has such a name")
    want = f"{p.top}/? d:/w:rw,cache=auto"
    answer("create", "odd", "-v", odd + b":/w")
    equal(answer("config", "show", "odd", "--json")["volume"], [want], "config")
    equal(answer("inspect", "odd", "--json")[0]["config"]["volume"], [want], "inspect")
    equal(answer("detach", "--vm", "odd", "--json", odd)["folder"], f"{p.top}/? d",
          "detach")
    equal(answer("attach", "--vm", "odd", "--json", odd + b":/v")["folder"], f"{p.top}/? d:/v:rw,cache=auto",
          "attach")


def test_the_manual_page_has_every_verb_flag_and_variable(p):
    def words(*args):
        return subprocess.run([SANDBOX, *args], capture_output=True, timeout=SECONDS, check=True,
                              env=p.env).stdout.decode()

    with open(os.path.join(TOP, "docs", "sandbox.1")) as f:
        page = re.sub(r"\\f[A-Z]", "", f.read().replace("\\-", "-"))
    synopsis = page[page.index("SYNOPSIS"):page.index(".SH DESCRIPTION")]
    named = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^\.B sandbox (\S+)", synopsis, re.M))))
    verbs = set(re.findall(r"-n __fish_use_subcommand -a ([\w-]+)", words("completion", "fish")))
    equal(sorted(verbs - named), [], "verbs that are not in the synopsis")
    for verb in verbs:
        flags = re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", words(verb, "--help"), re.M)
        missing = [flag for flag in flags if not re.search(rf"{flag}(?![a-z-])", page)]
        equal(missing, [], f"flags of {verb} that the manual page does not have")
    for folder, _, files in os.walk(os.path.join(TOP, "cli")):
        for name in files:
            with open(os.path.join(folder, name)) as f:
                for var in re.findall(r'getenv\("(SANDBOX_\w+|XDG_\w+)"\)', f.read()):
                    check(var in page, f"{name} reads {var}, which the manual page does not have")


def test_bash_completion(p):
    def complete(*words):
        script = f"source <('{SANDBOX}' completion bash); COMP_WORDS=(\"$@\"); " \
                 f"COMP_CWORD=$(($# - 1)); _sandbox; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        r = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True,
                           timeout=SECONDS, env=p.env, cwd=p.top)
        equal((r.returncode, r.stderr), (0, b""), f"{words}")
        return r.stdout.decode().split()

    equal(complete("sandbox", "ru"), ["run"], "a verb")
    equal(complete("sandbox", "run", "--json"), ["--json", "--json-status-fd"], "flags")
    equal(complete("sandbox", "run", "--network", ""), ["none"], "values")
    equal(complete("sandbox", "completion", "z"), ["zsh"], "a word")
    subprocess.run([SANDBOX, "create", "web"], check=True, timeout=SECONDS, env=p.env,
                   capture_output=True)
    for verb in (("stop",), ("rm", "-f"), ("attach", "--vm"), ("config", "show"), ("exec",)):
        equal(complete(SANDBOX, *verb, "w"), ["web"], f"names after {verb}")
    equal(complete(SANDBOX, "cp", "w"), ["web:"], "one side of cp")
    equal(complete("sandbox", "run", "--kernel", p.file[:-2]), [p.file], "a file")


def test_other_shells_read_their_completion(p):
    for shell, args in (("zsh", ["-n"]), ("fish", ["--no-execute"])):
        text = subprocess.run([SANDBOX, "completion", shell], capture_output=True, check=True,
                              timeout=SECONDS).stdout
        check(b"json-status-fd" in text, f"{shell}: a flag is missing")
        if shutil.which(shell):
            path = os.path.join(p.top, shell)
            with open(path, "wb") as f:
                f.write(text)
            r = subprocess.run([shell, *args, path], capture_output=True, timeout=SECONDS)
            equal((r.returncode, r.stderr), (0, b""), shell)


if __name__ == "__main__":
    sys.exit(fake.main("cli", globals()))
