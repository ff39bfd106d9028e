"""A guest that means harm (tests/hostile), beside one that does not, in a sandbox of their own; and the server's sudden death.

Each test is one mode of the program with a seed: what it attacks with is the same each time. What the program cannot see
from inside (that a host file, process, socket is as it was) is looked at from here.
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from .cases import ENVIRONMENT, NOBODY
from .command import descendants, is_alive
from .runner import Failure, Skip, Test
from .world import World, kill_session

# mode: options of hyla run
MODES = {
    "gates": [], "clone": [], "block": [], "swallow": [], "garbage": [], "calls": [], "flood": [], "legacy": [], "scribble": [],
    "map-over": [], "tear-down": [], "unmap": [], "fork": ["--pids", "64"], "stolen-forks": ["--pids", "32"],
    "memory": ["--memory", "64M"], "elf": [], "rings": [],
}


def run(hyla, program, mode, seed, seconds, options=(), words=(), user=None):
    outcome = World(hyla).run([program, mode, str(seed), str(seconds), *words], options=["--pids", "200", *options], cwd="/",
                              timeout=seconds + 60, env=ENVIRONMENT, user=user)
    if outcome.status or outcome.timed_out or b"panic" in outcome.stderr:
        raise Failure(f"{mode} with seed {seed}: {outcome.describe()}")


def attack(hyla, program, mode, seeds, seconds, user=None):
    words = [path for path in ("/bin/dash", "/bin/busybox", program) if os.path.exists(path)] if mode == "elf" else []
    for seed in seeds:
        run(hyla, program, mode, seed, seconds, MODES[mode], words, user)


def reach(hyla, program, user=None):
    """From a root of its own: is there any way to the host's files, processes, sockets?"""
    with tempfile.TemporaryDirectory(prefix="hyla-reach-") as folder, socket.socket() as internet, \
            socket.socket(socket.AF_UNIX) as local:
        os.chmod(folder, 0o755)
        root, secret, path = folder + "/root", folder + "/secret", folder + "/socket"
        os.mkdir(root)
        shutil.copy(program, root + "/hostile")
        with open(secret, "w", encoding="ascii") as file:
            file.write("secret\n")
        os.chmod(secret, 0o666)
        internet.bind(("127.0.0.1", 0))
        local.bind(path)
        os.chmod(path, 0o777)
        for listener in (internet, local):
            listener.listen(1)
            listener.setblocking(False)
        identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with subprocess.Popen(["sleep", "1000"], **identity) as victim:
            try:
                run(hyla, "/hostile", "reach", 1, 1, ["--rootfs", root],
                    [secret, str(victim.pid), path, str(internet.getsockname()[1])], user)
                if victim.poll() is not None:
                    raise Failure("a process of the host was killed")
            finally:
                victim.kill()
        for listener in (internet, local):
            try:
                listener.accept()
                raise Failure(f"a socket of the host was reached: {listener}")
            except BlockingIOError:
                pass
        with open(secret, encoding="ascii") as file:
            if file.read() != "secret\n" or sorted(os.listdir(folder)) != ["root", "secret", "socket"]:
                raise Failure(f"files of the host were changed: {os.listdir(folder)}")


# --- sudden deaths ----------------------------------------------------------------------------------------------------

LOAD = "while :; do (echo a; sleep 0; cat /etc/hostname) | cat >/tmp/out & wait; echo x; done"


def start_load(hyla, folder, options=()):
    process = subprocess.Popen([hyla, "run", *options, "--rw", folder, "dash", "-c", LOAD.replace("/tmp/out", folder + "/out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True)
    return process


def read_lines(process, count):
    for _ in range(count):
        if not process.stdout.readline():
            raise Failure(f"ended early: {process.stderr.read()!r}")


def all_gone(children):
    alive = [pid for pid in children if is_alive(pid)]
    if alive:
        raise Failure(f"still there: {alive} of {children}")


def kill_server(hyla, seeds, options=()):
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="hyla-kill-") as folder:
            process = start_load(hyla, folder, options)
            try:
                read_lines(process, 1 + random.Random(seed).randrange(30))
                children = descendants(process.pid)
                process.kill()
                process.communicate(timeout=20)  # ends when the last holder of the pipes is gone
            finally:
                kill_session(process)
            all_gone(children)
            if set(os.listdir(folder)) - {"out"}:
                raise Failure(f"left behind: {os.listdir(folder)}")


def kill_zygote(hyla, seeds):
    """The server says so in one line and ends with 125."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="hyla-kill-") as folder:
            process = start_load(hyla, folder)
            try:
                read_lines(process, 1 + random.Random(seed).randrange(30))
                children = descendants(process.pid)
                os.kill(children[0], signal.SIGKILL)
                _, errors = process.communicate(timeout=20)
            finally:
                kill_session(process)
            all_gone(children)
            lines = errors.decode().splitlines()
            if process.returncode != 125 or len(lines) != 1 or "sandbox" not in lines[0]:
                raise Failure(f"status {process.returncode}, {errors!r}")


def kill_one(hyla, seeds):
    """A managed process's host process dies: its parent sees a death by SIGKILL, the rest goes on."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise Skip("not installed: busybox")
    script = "busybox sh -c 'echo ready; while :; do :; done'; echo after $?; exit 7"
    for _ in seeds:
        process = subprocess.Popen([hyla, "run", "dash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=ENVIRONMENT, start_new_session=True)
        try:
            read_lines(process, 1)
            os.kill(runner_of(process.pid, os.path.realpath(busybox)), signal.SIGKILL)
            output, errors = process.communicate(timeout=20)
        finally:
            kill_session(process)
        if process.returncode != 7 or output != b"after 137\n":
            raise Failure(f"status {process.returncode}, {output!r} {errors!r}")


def runner_of(server, program):
    """The host process in which a program runs: it has the program's file mapped."""
    for pid in descendants(server):
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            if program in file.read():
                return pid
    raise Failure(f"no process of {server} runs {program}")


# --- the host lacks what is needed ------------------------------------------------------------------------------------

def without_namespaces(hyla):
    """A limit of no further namespaces, in a user namespace of the test's own, is as good as a host that forbids them."""
    script = "echo 0 >/proc/sys/user/max_user_namespaces && echo 0 >/proc/sys/user/max_pid_namespaces && exec \"$0\" run true"
    outcome = World().run(["unshare", "--user", "--map-root-user", "dash", "-c", script, hyla], env=ENVIRONMENT)
    if b"unshare" in outcome.stderr or b"annot create" in outcome.stderr:
        raise Skip("no user namespace to test in")
    lines = outcome.stderr.decode().splitlines()
    if outcome.status == 0 and not lines:
        return  # it does without
    if outcome.status != 125 or len(lines) != 1 or "namespace" not in lines[0]:
        raise Failure(outcome.describe())


def few_descriptors(hyla):
    """Too few for a sandbox: one line, 125; a few more: whatever happens, it says so and ends."""
    for count in (4, 6, 8, 10, 12, 14, 16, 20, 24):
        outcome = World().run(["dash", "-c", f"ulimit -n {count}; exec \"$0\" run true", hyla], env=ENVIRONMENT)
        lines = outcome.stderr.decode().splitlines()
        if outcome.timed_out or outcome.status < 0 or (outcome.status and not 1 <= len(lines) <= 2):
            raise Failure(f"{count} descriptors: {outcome.describe()}")
        if outcome.status not in (0, 125, 126, 127):
            raise Failure(f"{count} descriptors: {outcome.describe()}")


def tests(build, scratch, hyla, seeds=(1,), seconds=1):
    original = os.path.join(build, "tests/hostile")
    program = os.path.join(scratch, "hostile")
    if not os.path.exists(original):
        sys.exit(f"run.py: {original} is missing")
    if not os.path.exists(program):
        shutil.copy(original, program)
        os.chmod(program, 0o755)
    for mode in MODES:
        yield Test(f"hostile {mode}", lambda m=mode: attack(hyla, program, m, seeds, seconds))
    # What the kernel gives (64 MiB) and the slack for the stub's needs.
    yield Test("hostile gate-memory", lambda: run(hyla, program, "gate-memory", 1, 1, ["--memory", "64M"], ["128"]))
    for option in ("--no-vm-access", "--no-rewrite", "--no-namespaces"):
        yield Test(f"hostile calls {option}", lambda o=option: run(hyla, program, "calls", 1, seconds, [o]))
    yield Test("hostile scribble --no-vm-access", lambda: run(hyla, program, "scribble", 1, seconds, ["--no-vm-access"]))
    yield Test("hostile reach", lambda: reach(hyla, program))
    if os.geteuid() == 0:
        yield Test("hostile reach as nobody", lambda: reach(hyla, program, NOBODY))
        yield Test("hostile gates as nobody", lambda: attack(hyla, program, "gates", seeds, seconds, NOBODY))
    moments = [seed * 100 + i for seed in seeds for i in range(5)]
    yield Test("hostile kill -9 of the server", lambda: kill_server(hyla, moments))
    yield Test("hostile kill -9 of the server without namespaces", lambda: kill_server(hyla, moments, ["--no-namespaces"]))
    yield Test("hostile kill -9 of the first process", lambda: kill_zygote(hyla, moments))
    yield Test("hostile kill -9 of a program's process", lambda: kill_one(hyla, moments))
    yield Test("hostile host without namespaces", lambda: without_namespaces(hyla))
    yield Test("hostile host with few descriptors", lambda: few_descriptors(hyla))
