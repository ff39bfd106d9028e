"""Runs a program natively or under Hyla, bounded in time, and says what came of it.

    World(hyla=None)            native
    World(hyla="/path/hyla")    under Hyla
    world.run(argv, …)          -> Outcome(status, stdout, stderr, timed_out)

A user other than the caller's is chosen by `user` (a uid; its gid is the same). Every run is a session of its own and is
killed by its process id when its time is up; under Hyla that ends everything the program started.
"""
import fcntl
import os
import signal
import struct
import subprocess
import termios

OUTPUT_LIMIT = 8 << 20


class Outcome:
    def __init__(self, status, stdout, stderr, timed_out=False):
        self.status, self.stdout, self.stderr, self.timed_out = status, stdout, stderr, timed_out

    def describe(self):
        text = "timed out" if self.timed_out else f"status {self.status}"
        return f"{text}\nstdout: {clip(self.stdout)}\nstderr: {clip(self.stderr)}"


def clip(data, limit=1500):
    text = data.decode("utf-8", "backslashreplace")
    return text if len(text) <= limit else text[:limit // 2] + "\n…\n" + text[-limit // 2:]


def identity(user):
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


class World:
    def __init__(self, hyla=None, options=()):
        self.hyla, self.options = hyla, list(options)
        self.name = "hyla" if hyla else "native"

    def command(self, argv, options=()):
        return [self.hyla, "run", *self.options, *options, "--", *argv] if self.hyla else list(argv)

    def run(self, argv, options=(), cwd=None, env=None, stdin=b"", timeout=20, user=None):
        process = subprocess.Popen(
            self.command(argv, options), cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, **identity(user))
        return finish(process, stdin, timeout)

    def start_on_terminal(self, argv, options=(), cwd=None, env=None, user=None, size=(24, 80)):
        """-> (process, master descriptor); the program's session has the terminal as its own."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
        if user is not None:
            os.fchown(slave, user, user)
        process = subprocess.Popen(
            self.command(argv, options), cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **identity(user))
        os.close(slave)
        return process, master


def finish(process, stdin, timeout):
    try:
        stdout, stderr = process.communicate(stdin, timeout)
        return Outcome(process.returncode, stdout[:OUTPUT_LIMIT], stderr[:OUTPUT_LIMIT])
    except subprocess.TimeoutExpired:
        kill_session(process)
        stdout, stderr = collect_after_kill(process)
        return Outcome(process.returncode, stdout[:OUTPUT_LIMIT], stderr[:OUTPUT_LIMIT], timed_out=True)


def collect_after_kill(process):
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:  # something that left the session holds the pipe
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        process.wait()
        return b"", b"(and its output pipe was still open 5 s after it was killed)"


def kill_session(process):
    """process.pid leads the group that start_new_session made."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
