#!/usr/bin/env python3
"""Hyla's benchmarks: native and Hyla in one run, and gVisor's `runsc do` where it is installed.

    run.py --build DIR [--quick] [--only REGEX]

Every number is the best of several rounds in one process. The last column says whether the goal is reached.
"""
import argparse
import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

PYTHON_WORK = """
import time
def work(n):
    total = 0
    for i in range(n):
        total = (total * 31 + i) %% 1000003
    return total
start = time.perf_counter(); work(%d); print((time.perf_counter() - start) * 1e9)
"""


class Bench:
    def __init__(self, arguments):
        build = self.build = os.path.abspath(arguments.build)
        self.hyla = os.path.join(build, "cmd/hyla")
        self.micro = os.path.join(build, "bench/bench_micro")
        self.crowd = os.path.join(build, "bench/bench_crowd")
        self.native_calls = os.path.join(build, "bench/native/bench_native")
        self.native_crowd = os.path.join(build, "bench/native/bench_native_crowd")
        self.latency = os.path.join(build, "bench/native/bench_native_latency")
        self.archive = os.path.join(build, "bench/archive/bench_archive")
        self.kernel = os.path.join(build, "bench/kernel/bench_kernel")
        self.seconds = "0.2" if arguments.quick else "0.5"
        self.quick, self.only = arguments.quick, re.compile(arguments.only)
        self.runsc = shutil.which("runsc")
        self.missed, self.failed = [], []

    def under(self, argv, options=(), cpu=None):
        command = [self.hyla, "run", *options, "--", *argv]
        return (["taskset", "-c", cpu] if cpu else []) + command

    def output(self, argv, timeout=60):
        run = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if run.returncode:
            raise RuntimeError(f"{' '.join(argv[:6])}: status {run.returncode}: {run.stderr.strip()[-200:]}")
        return run.stdout

    def number(self, argv):
        return float(self.output(argv).split()[0])

    def native(self, name, cpu=None):
        return self.number((["taskset", "-c", cpu] if cpu else []) + [self.micro, name, self.seconds])

    def guest(self, name, options=(), cpu=None):
        return self.number(self.under([self.micro, name, self.seconds], options, cpu))

    def gvisor(self, name):
        if not self.runsc:
            return None
        try:
            return self.number([self.runsc, "--ignore-cgroups", "do", self.micro, name, self.seconds])
        except (RuntimeError, ValueError, IndexError, subprocess.TimeoutExpired):
            return None

    # --- the RISC-V machine: counted instructions, so one run says it all ---------------------------------------------

    def machine(self, options, argv):
        """(numbers by name that the program printed, what the kernel said)"""
        image = os.path.join(self.build, "hyla-riscv64.img")
        command = [self.hyla, "boot", "--kernel", image, "--icount", "--cpus", "1", "--verbose", *options, "--", *argv]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
        numbers = dict(re.findall(r"^(\w+) (\d+)$", run.stdout, re.MULTILINE))
        if run.returncode or not numbers:
            raise RuntimeError(f"status {run.returncode}: {(run.stdout + run.stderr)[-200:]}")
        return {name: int(value) for name, value in numbers.items()}, run.stdout + run.stderr

    def most(self, title, value, goal, unit):
        self.show(title, None, value, value, goal, unit=unit)

    def riscv64_rows(self, _title):
        program = os.path.join(self.build, "riscv64/tests/riscv64/bench_count")
        image = os.path.join(self.build, "hyla-riscv64.img")
        if not shutil.which("qemu-system-riscv64") or not os.path.exists(image) or not os.path.exists(program):
            print("riscv64: skipped: no qemu-system-riscv64 (qemu-system-misc) here, or the RISC-V kernel was not built")
            return
        numbers, _ = self.machine([], [program, *RISCV64_GOALS])
        for name, (title, goal) in RISCV64_GOALS.items():
            self.most(title, numbers[name], goal, "ins")
        numbers, said = self.machine(["--memory", "256M"], [program, "start"])
        handed_over = int(re.search(r"handed over at tick (\d+)", said).group(1)) * 100
        self.most("riscv64: hand-over to main, 1 hart, 256 MiB", (numbers["start"] - handed_over) / 1e6, 30, "Mins")
        _, said = self.machine(["--memory", "64M"], [program, "start"])
        left = int(re.search(r"memory: free: (\d+) frames", said).group(1)) * 4096 / (1 << 20)
        self.most("riscv64: of 64 MiB not left to programs (goal: 56 left)", 64 - left, 8, "MiB")
        self.most("riscv64: kernel image", os.path.getsize(image) / (1 << 20), 1, "MiB")

    def row(self, title, function):
        if not self.only.search(title):
            return
        try:
            function(title)
        except (RuntimeError, ValueError, IndexError, OSError, subprocess.TimeoutExpired) as error:
            self.failed.append(title)
            print(f"{title:52} failed: {error}", flush=True)

    def show(self, title, native, hyla, ratio, goal, runsc=None, unit="ns"):
        reached = ratio <= goal if goal is not None else None
        if reached is False:
            self.missed.append(title)
        columns = [f"{title:52}", f"{native:12.1f}" if native is not None else " " * 12, f"{hyla:12.1f} {unit:4}",
                   f"{ratio:8.2f}" if native is not None else " " * 8, f"{goal:8g}" if goal is not None else "       -",
                   {True: "reached", False: "MISSED", None: ""}[reached]]
        if self.runsc:
            columns.append(f"runsc {runsc:.1f}" if runsc is not None else "runsc -")
        print(" ".join(columns), flush=True)

    # --- kinds of rows ---------------------------------------------------------------------------------------------

    def micro_row(self, title, name, goal, options=(), cpu=None, base=None):
        def run(shown):
            native = self.native(base or name, cpu)
            hyla = self.guest(name, options, cpu)
            self.show(shown, native, hyla, hyla / native, goal, self.gvisor(name))
        self.row(title, run)

    def micro_rows(self):
        print(f"{'what':52} {'native':>12} {'hyla':>12}      {'ratio':>8} {'goal':>8}")
        self.micro_row("getpid (answered in the stub)", "getpid", 0.25)
        self.micro_row("clock_gettime", "clock_gettime", 1.1)
        self.micro_row("getpid, site can't be rewritten", "getpid_trapping", 20, base="getpid")
        self.micro_row("lseek, site can't be rewritten (native: getpid)", "lseek_trapping", 60, base="getpid")
        self.micro_row("lseek, two CPUs (native: getpid)", "lseek", 6, base="getpid")
        self.micro_row("lseek, one CPU (native: getpid)", "lseek", 40, cpu="0", base="getpid")
        self.micro_row("pipe ping-pong, one CPU", "pipe_ping_pong", 4, cpu="0")
        self.micro_row("pipe ping-pong, nothing pinned", "pipe_ping_pong", 1)
        self.micro_row("futex ping-pong, one CPU", "futex_ping_pong", 4, cpu="0")
        self.micro_row("futex ping-pong, nothing pinned", "futex_ping_pong", 1)
        self.micro_row("futex wake with nobody waiting", "futex_wake_none", 1)
        self.micro_row("futex wait that finds another value", "futex_wait_other", 1)
        self.micro_row("fork + exit + wait", "fork_exit_wait", 3)
        self.micro_row("vfork + exec + wait of a static program", "vfork_exec_wait", 4)
        self.micro_row("thread create + join", "thread_create_join", None)
        self.micro_row("open + close", "open_close", 8)
        self.micro_row("stat", "stat", 8)
        self.micro_row("pread of 4 KiB, cached", "pread_4k", 8)
        self.micro_row("8 busy threads", "busy_threads", 1.05)

    # --- native calls ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def server(self, cpu=None):
        """A server of its own: the process, and what comes before the command line of a program that is to attach to it."""
        pin = ["taskset", "-c", cpu] if cpu else []
        with tempfile.TemporaryDirectory(prefix="hyla-bench-") as folder:
            path = os.path.join(folder, "socket")
            server = subprocess.Popen([*pin, self.hyla, "server", "--socket", path, "--ready"], stdout=subprocess.PIPE)
            try:
                if server.stdout.readline() != b"ready\n":
                    raise RuntimeError("the server does not start")
                yield server, [*pin, "env", f"HYLA_SOCKET={path}"]
            finally:
                server.terminate()
                server.wait(20)
                server.stdout.close()

    def attached_output(self, argv, cpu=None):
        """What a program prints that runs attached."""
        with self.server(cpu) as (_, prefix):
            return self.output([*prefix, *argv])

    def attached(self, name, cpu=None):
        return float(self.attached_output([self.native_calls, name, self.seconds], cpu))

    def both_worlds(self, argv):
        """(world, numbers printed)"""
        for world, run in (("attached", self.attached_output), ("managed", lambda argv: self.output(self.under(argv)))):
            yield world, [float(number) for number in run(argv).split()]

    def native_object_rows(self, _title):
        copies = self.number([self.native_calls, "copy_64k", self.seconds])
        empty = dict(self.both_worlds([self.native_calls, "call_reply", self.seconds]))
        for world, (large,) in self.both_worlds([self.native_calls, "call_64k", self.seconds]):
            base = copies + empty[world][0]
            self.show(f"64 KiB by a call, {world} (native: 2 memcpy + call)", base, large, large / base, 1)
        small = dict(self.both_worlds([self.native_calls, "handle_64k", self.seconds]))
        for world, (large,) in self.both_worlds([self.native_calls, "handle_16m", self.seconds]):
            self.show(f"16 MiB by a handle, {world} (native: 64 KiB)", small[world][0], large, large / small[world][0], 1.2)

    def native_crowd_rows(self, _title):
        few = dict(self.both_worlds([self.native_crowd, "10", self.seconds]))
        for world, (each, share) in self.both_worlds([self.native_crowd, "1000", self.seconds]):
            self.show(f"1,000 clients, 4 receivers, {world} (native: 10)", few[world][0], each, each / few[world][0], 1.25)
            self.show(f"the slowest of 1,000 clients, {world}: share", None, share * 100, share, None, unit="%")

    def blocked_rows(self, _title):
        count = 10000
        argv = [self.native_crowd, "blocked", str(count)]
        with self.server() as (server, prefix):
            self.blocked_row("attached", count, [*prefix, *argv], server)
        self.blocked_row("managed", count, self.under(argv), None)

    def blocked_row(self, world, count, argv, server):
        """What each of `count` threads that wait in a call costs the server: its own memory, and the slots it shares with them."""
        program = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        server = server or program
        try:
            taken = []
            for word in (b"before\n", b"blocked\n"):
                if program.stdout.readline() != word:
                    raise RuntimeError("the crowd did not come")
                taken.append((resident(server.pid, "RssAnon"), resident(server.pid, "RssShmem")))
                if len(taken) == 1:
                    program.stdin.write(b"\n")
                    program.stdin.flush()
            own, shared = ((after - before) / count for before, after in zip(*taken))
        finally:
            program.stdin.close()
            status = program.wait(60)
            program.stdout.close()
        if status:
            raise RuntimeError(f"the crowd was not served: status {status}")
        self.show(f"a blocked caller of {count:,}, {world}: the kernel's memory", None, own, own, 1536, unit="byte")
        self.show("   and of its call slot, shared with the program", None, shared, shared, None, unit="byte")

    def channel_row(self, _title):
        rounds = "300" if self.quick else "2000"
        native = self.number([self.latency, "eventfd", rounds])
        for world, (latency,) in self.both_worlds([self.latency, "channel", rounds]):
            self.show(f"event to epoll's return, {world} (native: eventfd)", native, latency, latency / native, 3)

    def native_call_rows(self, _title):
        for name, base, title in (("null_call", None, "native call that does nothing"), ("memobj_write", None, "64 bytes into a memobj"),
                                  ("call_reply", "seqpacket", "8-word call and reply (native: SEQPACKET)")):
            for cpu, where, goal in ((None, "nothing pinned", 0.2), ("0", "one CPU", 1.8)):
                native = self.number([*(["taskset", "-c", cpu] if cpu else []), self.native_calls, base, self.seconds]) if base else None
                for world, measured in (("attached", self.attached(name, cpu)), ("managed", self.number(self.under([self.native_calls, name, self.seconds], cpu=cpu)))):
                    self.show(f"{title}, {world}, {where}", native, measured, measured / native if native else measured, goal if native else None)

    def python_row(self, title):
        loops = 3_000_000 if self.quick else 10_000_000
        argv = ["/usr/bin/python3", "-c", PYTHON_WORK % loops]
        # Interleaved, so that a machine that changes its speed changes both.
        pairs = [(self.number(argv), self.number(self.under(argv))) for _ in range(2 if self.quick else 3)]
        native, hyla = (min(pair[i] for pair in pairs) for i in (0, 1))
        self.show(title, native / 1e6, hyla / 1e6, hyla / native, 1.02, unit="ms")

    def start_row(self, title):
        times = {}
        rounds = 10 if self.quick else 40
        for _ in range(rounds):
            for name, argv in (("native", ["/bin/true"]), ("hyla", self.under(["/bin/true"]))):
                start = time.perf_counter()
                subprocess.run(argv, check=True, timeout=20)
                times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        native, hyla = (sorted(times[name])[rounds // 2] for name in ("native", "hyla"))
        self.show(title, native, hyla, hyla - native, 6, unit="ms")

    def idle_rows(self, _title):
        seconds = 2 if self.quick else 10
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(self.under(["sleep", str(seconds)]))
        time.sleep(1)
        kilobytes = sum(proportional_kb(pid) for pid in family(process.pid))
        self.show("memory of an idle sandbox", None, kilobytes, kilobytes / 1024, 8, unit="KiB")
        process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3
        self.show(f"CPU time of sleep {seconds}", None, spent, spent, 10, unit="ms")

    def descriptor_rows(self, _title):
        for kind, goal, title in (("processes", 3, "server descriptors per process"), ("threads", 0, "server descriptors per thread")):
            few, many = self.descriptors(kind, 10), self.descriptors(kind, 60)
            each = (many - few) / 50
            self.show(title, None, each, each, goal, unit="")

    def descriptors(self, kind, count):
        process = subprocess.Popen(self.under([self.crowd, kind, str(count)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the crowd did not come")
            return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(process.pid))
        finally:
            process.stdin.close()
            process.wait(20)
            process.stdout.close()

    def served_pread_row(self, title):
        """The in-memory layer stands where native stands elsewhere. How many messages the preads cost: those of a long run less those of a short one."""
        count, short = "grep ' /tmp ' /proc/self/mountstats", f"{self.micro} pread_4k 0.01 >/dev/null"
        script = f"{short}; {count}; {short}; {count}; {self.micro} pread_4k {self.seconds}; {count}"
        pairs = []
        for _ in range(3): # interleaved, so that a machine that changes its speed changes both
            memory = self.guest("pread_4k")
            lines = self.output(self.under(["/bin/sh", "-c", script], ["--mount", "type=memory,dst=/tmp"])).splitlines()
            pairs.append((memory, float(lines[2].split()[0])))
        memory, served = (min(pair[i] for pair in pairs) for i in (0, 1))
        self.show(title, memory, served, served / memory, 1.1)
        first, second, third = (int(lines[i].split()[-1]) for i in (0, 1, 3))
        more = (third - second) - (second - first)
        self.show("messages for those preads", None, more, more, 0, unit="")

    def archive_row(self, title):
        if not os.path.exists(self.archive):
            raise RuntimeError("built without libarchive")
        size = (64 if self.quick else 256) << 20
        with tempfile.TemporaryDirectory(prefix="hyla-bench-") as folder:
            path = os.path.join(folder, "image.tar.gz")
            with tarfile.open(path, "w:gz", compresslevel=1) as archive:
                info = tarfile.TarInfo("big")
                info.size = size
                archive.addfile(info, Repeated(size))
            pairs = [(self.number([self.archive, "library", path]),
                      self.number(self.under([self.archive, "file", "/t/big"], ["--mount", f"type=tar,src={path},dst=/t"]))) for _ in range(3)]
        library, served = (min(pair[i] for pair in pairs) for i in (0, 1))
        self.show(title, library / 1e6, served / 1e6, served / library, 1.5, unit="ms")

    def kernel_rows(self, _title):
        for line in self.output([self.kernel]).splitlines():
            name, value = line.rsplit(None, 1)
            goal, unit = {"microthread switch": (20, "ns"), "parked thread": (1024, "byte"), "call and reply": (400, "ns"),
                          "call and reply with 100 bytes": (450, "ns")}[name]
            self.show(name, None, float(value), float(value), goal, unit=unit)


class Repeated:
    """A file of `size` bytes that compress to about a half."""
    def __init__(self, size):
        self.left, self.at = size, 0
        self.block = b"".join(os.urandom(2048) + bytes(2048) for _ in range(512))  # far more than a compressor looks back

    def read(self, size):
        data = self.block[self.at:self.at + min(size, self.left)]
        self.at = (self.at + len(data)) % len(self.block)
        self.left -= len(data)
        return data


def family(pid):
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            pass
    found, wanted = [pid], {pid}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found += wanted
    return found


def resident(pid, kind):
    """Bytes, of a kind of memory that /proc/PID/status names."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(kind + ":")) * 1024


def proportional_kb(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


# what is counted -> the most that it may cost
RISCV64_GOALS = {"call": ("riscv64: call + reply of 8 words, two processes", 600), "getpid": ("riscv64: getpid", 150),
                 "pipe": ("riscv64: write + read of a byte, pipe", 1500), "fault": ("riscv64: page fault, anonymous memory", 1500),
                 "fork": ("riscv64: fork + exit + wait", None)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    bench = Bench(parser.parse_args())
    bench.micro_rows()
    bench.row("Python computing for a second", bench.python_row)
    bench.row("run true, start to end (goal: ms more than native)", bench.start_row)
    bench.row("idle sandbox", bench.idle_rows)
    bench.row("descriptors", bench.descriptor_rows)
    bench.row("pread of 4 KiB, cached, memory server (native: in memory)", bench.served_pread_row)
    bench.row("archive server, cold, 256 MiB (native: the library)", bench.archive_row)
    bench.row("kernel: microthreads", bench.kernel_rows)
    bench.row("native calls", bench.native_call_rows)
    bench.row("native objects: 64 KiB by a call, 16 MiB by a handle", bench.native_object_rows)
    bench.row("native crowd: 1,000 clients", bench.native_crowd_rows)
    bench.row("native crowd: 10,000 blocked callers", bench.blocked_rows)
    bench.row("native channel: event to epoll's return", bench.channel_row)
    bench.row("riscv64: instructions", bench.riscv64_rows)
    print(f"\n{len(bench.missed)} goals missed, {len(bench.failed)} rows failed" +
          (f": {', '.join(bench.missed + bench.failed)}" if bench.missed or bench.failed else ""))
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
