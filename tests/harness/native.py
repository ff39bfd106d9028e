"""Programs that make native calls (tests/native/*.c, the examples): the same binary under `hyla run`, attached to a server, and
attached to one that may not reach its clients' memory. After an attached run the server holds what it held before.
"""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .runner import Failure, Skip, Test
from .world import World, clip, finish

PATIENCE = 10  # seconds until the server has forgotten a process that ended


class Server:
    def __init__(self, hyla, folder, options=(), environment=None):
        self.hyla, self.socket = hyla, os.path.join(folder, "socket")
        self.process = subprocess.Popen([hyla, "server", "--socket", self.socket, "--ready", *options], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environment)
        if self.process.stdout.readline() != b"ready\n":
            raise Failure("the server does not start: " + self.stop())

    def environment(self):
        return {**os.environ, "HYLA_SOCKET": self.socket}

    def look(self, what="ps"):
        return subprocess.run([self.hyla, what, "--socket", self.socket], capture_output=True, text=True, timeout=20, check=True).stdout

    def counts(self):
        """(attached tasks, live objects)"""
        lines = self.look().splitlines()
        return sum(len(line.split()) == 6 and line.split()[0].isdigit() and not line.startswith("       ") for line in lines[1:-1]), int(lines[-1].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settle(self, expected, descriptors=None):
        """Until there are as many tasks again, and no more objects: the thread that started the server may have been one.
        With descriptors: and no more of these, which are closed after the objects have gone."""
        end = time.monotonic() + PATIENCE
        while True:
            tasks, objects = self.counts()
            open_ones = self.descriptors()
            if tasks == expected[0] and objects <= expected[1] and (descriptors is None or open_ones <= descriptors):
                return
            if time.monotonic() > end:
                if tasks == expected[0] and objects <= expected[1]:
                    raise Failure(f"descriptors stay open: {open_ones} instead of {descriptors}")
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


def run_attached(hyla, path, options, timeout, environment=None, arguments=()):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        server = Server(hyla, folder, options, environment)
        try:
            before, descriptors = server.counts(), server.descriptors()
            process = subprocess.Popen([path, *arguments], cwd=folder, env=server.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, start_new_session=True)
            outcome = finish(process, b"", timeout)
            if outcome.status or outcome.timed_out:
                raise Failure(f"attached: {outcome.describe()}\nserver:\n{server.look()}{server.look('ports')}")
            server.settle(before, descriptors)
        finally:
            errors = server.stop()
        if errors:
            raise Failure(f"the server says: {clip(errors.encode())}")


def live_at_end(hyla, path, timeout, arguments=()):
    """Runs it, and says how many objects of the kernel there were when it had ended."""
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        outcome = World(hyla).run([path, *arguments], options=["--verbose"], cwd=folder, timeout=timeout)
    count = re.search(rb"(\d+) objects of the kernel live", outcome.stderr)
    if outcome.status or outcome.timed_out or not count:
        raise Failure(f"under hyla run: {outcome.describe()}")
    return int(count.group(1))


def run_managed(hyla, path, timeout, arguments=()):
    """Ends well, and leaves no more objects than a program that makes a few calls and forks nothing."""
    live = live_at_end(hyla, path, timeout, arguments)
    with open(path, "rb") as file:
        if b"/ld-linux" in file.read(4096): # its libraries are files that the kernel knows at its end
            return
    plain = os.path.join(os.path.dirname(os.path.dirname(path)), "tests/native_basic")
    expected = live_at_end(hyla, plain, 60)
    if live > expected:
        raise Failure(f"under hyla run: {live} objects are left instead of {expected}")


def tests(build, hyla):
    for path in sorted(glob.glob(os.path.join(build, "tests/native_*")) + glob.glob(os.path.join(build, "examples/example_*"))):
        if not os.path.isfile(path):
            continue
        name = os.path.basename(path).removeprefix("native_")
        if name.startswith("helper_"):
            continue
        if not name.startswith("attached_"):
            yield Test(f"native {name} managed", lambda p=path: run_managed(hyla, p, 60))
        if name.startswith("managed_"):
            continue
        yield Test(f"native {name} attached", lambda p=path: run_attached(hyla, p, (), 60))
        yield Test(f"native {name} attached, no remote memory", lambda p=path: run_attached(hyla, p, ("--no-vm-access",), 60))
        yield Test(f"native {name} attached, one worker", lambda p=path: run_attached(hyla, p, ("--workers", "1"), 60))


def soak_tests(build, hyla):
    """The fuzzers with other seeds and more of everything."""
    for name, amount in (("fuzz", 60000), ("channel_fuzz", 20000), ("attached_wire", 10000)):
        path = os.path.join(build, "tests/native_" + name)
        for seed in range(2, 8):
            arguments = (str(seed), str(amount))
            yield Test(f"soak native {name} attached, seed {seed}", lambda p=path, a=arguments: run_attached(hyla, p, (), 600, None, a), alone=True)
            if not name.startswith("attached_"):
                yield Test(f"soak native {name} managed, seed {seed}", lambda p=path, a=arguments: run_managed(hyla, p, 600, a), alone=True)


# --- the server itself ----------------------------------------------------------------------------------------------------

def with_server(hyla, function, options=()):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        server = Server(hyla, folder, options)
        try:
            function(server)
        finally:
            if server.process.poll() is None:
                server.stop()
            for stream in (server.process.stdout, server.process.stderr):
                stream.close()


def expect(what, text):
    if not what:
        raise Failure(text)


def start_waiter(build, server, argument):
    """A program that waits in a call; it has said that it is about to."""
    process = subprocess.Popen([os.path.join(build, "tests/native_helper_wait"), argument], env=server.environment(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    expect(process.stdout.readline() == b"waiting\n", "the waiting program did not start")
    return process


def waiters_hear(build, kill):
    def run(server):
        waiters = [start_waiter(build, server, kind) for kind in ("timer", "port", "futex")]
        server.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        server.process.wait(20)
        for waiter in waiters:
            status = waiter.wait(20)
            waiter.stdout.close()
            expect(status == 0, f"a waiter ended with {status}: it should have heard that the server is gone")
    return run


def socket_is_private(server):
    mode = os.stat(server.socket).st_mode & 0o7777
    expect(mode == 0o600, f"the socket's mode is {mode:o}")


def other_users_are_refused(build):
    def run(server):
        if os.geteuid():
            raise Skip("only root can be somebody else")
        os.chmod(os.path.dirname(server.socket), 0o711)
        os.chmod(server.socket, 0o666)
        outcome = subprocess.run([os.path.join(build, "tests/native_basic")], env=server.environment(), user=65534, group=65534,
                                 capture_output=True, timeout=20, check=False)
        expect(outcome.returncode == 1 and b"no server" in outcome.stderr, f"another user: {outcome}")
        expect(server.counts()[0] == 0, "another user got in")
    return run


def second_server_is_refused(hyla):
    def run(server):
        outcome = subprocess.run([hyla, "server", "--socket", server.socket], capture_output=True, timeout=20, check=False)
        expect(outcome.returncode == 125 and b"runs there already" in outcome.stderr, f"{outcome}")
        server.process.kill()
        server.process.wait(20)
        with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
            again = Server.__new__(Server)
            again.hyla, again.socket = hyla, server.socket
            again.process = subprocess.Popen([hyla, "server", "--socket", server.socket, "--ready"], stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, cwd=folder)
            expect(again.process.stdout.readline() == b"ready\n", "a stale socket stands in the way")
            again.stop()
    return run


def sockets_are_inherited(build, hyla):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        path = os.path.join(folder, "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(path)
        listener.listen(8)
        script = f"exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec {hyla} server --ready"
        server = subprocess.Popen(["/bin/bash", "-c", script], pass_fds=[listener.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener.close()
        try:
            expect(server.stdout.readline() == b"ready\n", "no server")
            outcome = subprocess.run([os.path.join(build, "tests/native_basic")], env={**os.environ, "HYLA_SOCKET": path}, timeout=30,
                                     capture_output=True, check=False)
            expect(outcome.returncode == 0, f"{outcome}")
        finally:
            server.terminate()
            server.communicate(timeout=20)
        expect(server.returncode == 0 and os.path.exists(path), "the socket is the service manager's to remove")


def ps_and_ports_look_inside(build):
    def run(server):
        waiter = start_waiter(build, server, "port")
        try:
            end = time.monotonic() + PATIENCE
            while "waits in msg" not in server.look() and time.monotonic() < end: # it has said that it is about to
                time.sleep(0.01)
            tasks, ports = server.look().splitlines(), server.look("ports")
            expect(len(tasks) == 4 and tasks[1].split()[2] == str(waiter.pid), f"ps: {tasks}")
            expect(tasks[2].split()[1:] == ["waits", "in", "msg"], f"ps does not say what the thread waits in: {tasks}")
            expect("receive" in ports and "send" in ports, f"ports: {ports}")
        finally:
            waiter.kill()
            waiter.wait(20)
            waiter.stdout.close()
        server.settle((0, server.counts()[1]))
    return run


def calls_are_traced(build, hyla):
    with tempfile.TemporaryDirectory(prefix="hyla-native-") as folder:
        server = Server(hyla, folder, ("--trace=" + os.path.join(folder, "trace"),))
        try:
            outcome = subprocess.run([os.path.join(build, "tests/native_basic")], env=server.environment(), timeout=30, capture_output=True, check=False)
            expect(outcome.returncode == 0, f"{outcome}")
        finally:
            server.stop()
        with open(os.path.join(folder, "trace"), encoding="utf-8") as file:
            lines = file.read().splitlines()
    for wanted in (r"\d+\.\d+ memobj_create\(\d+\) = (0x)?[0-9a-f]+", r"\d+\.\d+ ids_get\(\{task=0x\w+, .*\}\) = 0", r"\d+\.\d+ .* = -\d+"):
        expect(any(re.fullmatch(wanted, line) for line in lines), f"no line like {wanted} among {lines[:20]}")
    odd = [line for line in lines if not re.match(r"\d+\.\d+ (<\.\.\. )?\w+", line)]
    expect(not odd, f"odd lines: {odd[:5]}")


def descriptors_per_process(build):
    def run(server):
        before, waiters = server.descriptors(), []
        for _ in range(20):
            waiters.append(start_waiter(build, server, "threads"))
        each = (server.descriptors() - before) / len(waiters)
        for waiter in waiters:
            waiter.kill()
            waiter.wait(20)
            waiter.stdout.close()
        expect(each <= 3, f"{each} descriptors per process with eight threads")
        server.settle((0, server.counts()[1]), before)
    return run


def server_tests(build, hyla):
    yield Test("native server killed: who waits hears", lambda: with_server(hyla, waiters_hear(build, True)))
    yield Test("native server ended: who waits hears", lambda: with_server(hyla, waiters_hear(build, False)))
    yield Test("native socket is private", lambda: with_server(hyla, socket_is_private))
    yield Test("native other users are refused", lambda: with_server(hyla, other_users_are_refused(build)))
    yield Test("native second server, stale socket", lambda: with_server(hyla, second_server_is_refused(hyla)))
    yield Test("native socket activation", lambda: sockets_are_inherited(build, hyla))
    yield Test("native server traces calls", lambda: calls_are_traced(build, hyla))
    yield Test("native ps and ports", lambda: with_server(hyla, ps_and_ports_look_inside(build)))
    yield Test("native descriptors per process", lambda: with_server(hyla, descriptors_per_process(build)))


# --- the library, installed -------------------------------------------------------------------------------------------------

LIBRARY_PROGRAM = """
#include <hyla/hyla.h>
#include <stdio.h>
#ifdef __cplusplus
static_assert(sizeof(struct hyla_msg) == 144, "as in C");
#endif
int main(void)
{
    struct hyla_ids ids;
    int error = hyla_start();
    if (error || hyla_ids_get(&ids) || (int)ids.world != hyla_world())
        return 1;
    printf("world %u\\n", ids.world);
    return 0;
}
"""


def library_is_usable(root, build, hyla):
    """Installed as packagers do, found by pkg-config's file, from C and C++, shared and static; nothing but hyla_* is exported."""
    with tempfile.TemporaryDirectory(prefix="hyla-library-") as folder:
        subprocess.run([os.path.join(root, "tools/install.sh"), build, folder], env={**os.environ, "DESTDIR": ""}, capture_output=True, check=True)
        with open(os.path.join(folder, "lib/pkgconfig/hyla.pc"), encoding="utf-8") as file:
            description = file.read()
        expect(f"prefix={folder}\n" in description and "-lhyla" in description, description)
        expect(os.path.exists(os.path.join(folder, "share/man/man2/hyla_msg.2")), "no manual pages")
        symbols = subprocess.run(["nm", "-D", "--defined-only", os.path.join(folder, "lib/libhyla.so")], capture_output=True, text=True, check=True).stdout
        names = [line.split()[-1].split("@")[0] for line in symbols.splitlines()]
        expect("hyla_msg" in names and all(name.startswith(("hyla_", "HYLA_")) for name in names), f"exported: {names}")
        server = Server(hyla, folder)
        try:
            for compiler, suffix in (("cc", "c"), ("c++", "cc")):
                if not shutil.which(compiler):
                    continue
                source = os.path.join(folder, f"program.{suffix}")
                with open(source, "w", encoding="utf-8") as file:
                    file.write(LIBRARY_PROGRAM)
                for name, options in (("shared", []), ("static", ["-static"])):
                    program = os.path.join(folder, f"{suffix}-{name}")
                    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", source, "-o", program, f"-I{folder}/include", f"-L{folder}/lib",
                                    "-lhyla", "-pthread", *options], check=True, timeout=60)
                    environment = {**server.environment(), "LD_LIBRARY_PATH": f"{folder}/lib"}
                    outcome = subprocess.run([program], env=environment, capture_output=True, timeout=20, check=False)
                    expect(outcome.stdout == b"world 2\n", f"{name}, {suffix}: {outcome}")
                    outcome = World(hyla).run([program], env=environment, timeout=20)
                    expect(outcome.stdout == b"world 1\n", f"{name}, {suffix}, managed: {outcome.describe()}")
        finally:
            server.stop()


def library_tests(root, build, hyla):
    yield Test("native library as installed", lambda: library_is_usable(root, build, hyla))
