"""Programs that make native calls (tests/native/*.c, the examples): the same binary under `hyla run`, attached to a server, and
attached to one that may not reach its clients' memory. After an attached run the server holds what it held before.
"""
import glob
import os
import re
import signal
import subprocess
import tempfile
import time

from .runner import Failure, Test
from .world import World, clip, finish

PATIENCE = 10  # seconds until the server has forgotten a process that ended


class Server:
    def __init__(self, hyla, folder, options=()):
        self.hyla, self.socket = hyla, os.path.join(folder, "socket")
        self.process = subprocess.Popen([hyla, "server", "--socket", self.socket, "--ready", *options], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if self.process.stdout.readline() != b"ready\n":
            raise Failure("the server does not start: " + self.stop())

    def environment(self):
        return {**os.environ, "HYLA_SOCKET": self.socket}

    def look(self, what="ps"):
        return subprocess.run([self.hyla, what, "--socket", self.socket], capture_output=True, text=True, timeout=20, check=True).stdout

    def counts(self):
        """(attached tasks, live objects)"""
        lines = self.look().splitlines()
        return len(lines) - 2, int(lines[-1].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settle(self, expected):
        end = time.monotonic() + PATIENCE
        while self.counts() != expected:
            if time.monotonic() > end:
                raise Failure(f"the server keeps something: {self.counts()} instead of {expected}\n{self.look()}{self.look('ports')}")
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Failure("the server does not end on SIGTERM") from None
        text = errors.decode("utf-8", "replace")
        if self.process.returncode:
            raise Failure(f"the server ended with {self.process.returncode}: {text}")
        if os.path.exists(self.socket):
            raise Failure("the socket's name stays")
        return text


def run_attached(hyla, path, options, timeout):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        server = Server(hyla, folder, options)
        try:
            before, descriptors = server.counts(), server.descriptors()
            process = subprocess.Popen([path], cwd=folder, env=server.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, start_new_session=True)
            outcome = finish(process, b"", timeout)
            if outcome.status or outcome.timed_out:
                raise Failure(f"attached: {outcome.describe()}\nserver:\n{server.look()}{server.look('ports')}")
            server.settle(before)
            if server.descriptors() > descriptors:
                raise Failure(f"descriptors stay open: {server.descriptors()} instead of {descriptors}")
        finally:
            errors = server.stop()
        if errors:
            raise Failure(f"the server says: {clip(errors.encode())}")


def run_managed(hyla, path, timeout):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        outcome = World(hyla).run([path], cwd=folder, timeout=timeout)
        if outcome.status or outcome.timed_out:
            raise Failure(f"under hyla run: {outcome.describe()}")


def tests(build, hyla):
    for path in sorted(glob.glob(os.path.join(build, "tests/native_*")) + glob.glob(os.path.join(build, "examples/example_*"))):
        if not os.path.isfile(path):
            continue
        name = os.path.basename(path).removeprefix("native_")
        attached_only = re.match(r"attached_", name)
        if not attached_only:
            yield Test(f"native {name} managed", lambda p=path: run_managed(hyla, p, 60))
        yield Test(f"native {name} attached", lambda p=path: run_attached(hyla, p, (), 60))
        yield Test(f"native {name} attached, no remote memory", lambda p=path: run_attached(hyla, p, ("--no-vm-access",), 60))
        yield Test(f"native {name} attached, one worker", lambda p=path: run_attached(hyla, p, ("--workers", "1"), 60))
