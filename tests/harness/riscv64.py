"""The RISC-V machine: the kernel in an emulator, by `hyla boot`.

The Linux-behaviour programs, those that make native calls and the examples run twice, all of one round in one machine: on one hart with counted instructions, and on four
harts at once. A round is a single boot that the first of its tests starts; each program is a test of its own. Then come
cases of tests/cases with Debian's riscv64 programs, whose output and status must be those of this machine's own programs.
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import threading

from . import cases
from .riscv64_machine import machine_tests
from .runner import Failure, Skip, Test
from .world import World, clip

MARK = re.compile(rb"^@@ (\S+) (\S+)$", re.MULTILINE)
ROUNDS = (("one hart, counted", ["--cpus", "1", "--icount"]), ("four harts", ["--cpus", "4"]))
ROUND_SECONDS = 240
PREFIXES = ("test_", "native_", "example_", "hostile_")
CASE_FILES = ("dash.cases", "bash.cases", "busybox.cases")
CASE_PROGRAMS = {"dash", "bash", "busybox"}
CASE_NEEDS = {"bash", "busybox", "seq", "sort", "head", "tail", "wc", "grep", "sed", "awk", "gawk", "tar", "gzip", "perl", "python3", "lua5.4"}


def missing(build):
    if not shutil.which("qemu-system-riscv64"):
        return "no qemu-system-riscv64 here (qemu-system-misc)"
    if not os.path.exists(os.path.join(build, "hyla-riscv64.img")):
        return "the RISC-V kernel was not built (gcc-riscv64-linux-gnu)"
    if not os.path.exists(os.path.join(build, "riscv64/tests/riscv64/runner")):
        return "the RISC-V test programs were not built (libc6-dev-riscv64-cross)"
    return None


def boot(build, hyla, options, argv, seconds, stdin=b""):
    """Not World.run: a machine that hangs forwards what would end it, so it is killed. The command is not where it was built."""
    process = subprocess.Popen([hyla, "boot", "--kernel", os.path.join(build, "hyla-riscv64.img"), *options, "--", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return process.communicate(stdin, timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], None


class Round:
    """One boot for many programs; results by name: (status text, what it printed)."""

    def __init__(self, build, hyla, options):
        self.build, self.hyla, self.options = build, hyla, options
        self.folder = os.path.join(build, "riscv64/tests/riscv64")
        self.lock, self.results, self.rest = threading.Lock(), None, b""

    def pack(self, root):
        os.makedirs(os.path.join(root, "bin"))
        os.makedirs(os.path.join(root, "tmp"))
        for name in sorted(os.listdir(self.folder)):
            path = os.path.join(self.folder, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                shutil.copy(path, os.path.join(root, "bin", name))
        for name in ("cat", "rm"):
            os.symlink("runner", os.path.join(root, "bin", name))
        return sorted("/bin/" + name for name in os.listdir(os.path.join(root, "bin")) if name.startswith(PREFIXES))

    def result(self, name):
        with self.lock:
            if self.results is None:
                self.run()
        if name not in self.results:
            raise Failure("the machine did not come so far: " + clip(self.rest))
        return self.results[name]

    def run(self):
        with tempfile.TemporaryDirectory(prefix="hyla-riscv64-") as root:
            programs = self.pack(root)
            output, _ = boot(self.build, self.hyla, [*self.options, "--memory", "1G", "--root", root], ["/bin/runner", *programs], ROUND_SECONDS)
        self.results, at = {}, 0
        for match in MARK.finditer(output):
            self.results[match.group(1).decode()] = (match.group(2).decode(), output[at:match.start()])
            at = match.end()
        self.rest = output[at:]


def program_tests(build, hyla):
    folder = os.path.join(build, "riscv64/tests/riscv64")
    for title, options in ROUNDS:
        one = Round(build, hyla, options)
        for path in sorted(path for prefix in PREFIXES for path in glob.glob(os.path.join(folder, prefix + "*"))):
            if not os.path.isfile(path):
                continue
            def run(name=os.path.basename(path), one=one):
                status, output = one.result(name)
                if status == "77":
                    raise Skip(clip(output).strip())
                if status != "0":
                    raise Failure(f"status {status}: {clip(output)}")
            yield Test(f"riscv64 {os.path.basename(path).removeprefix('test_')}, {title}", run)


# --- calls of words ----------------------------------------------------------------------------------------

COUNTED = re.compile(rb"calls of words: (\d+) of (\d+) went the short way")


def words(build, hyla, options, slow):
    """What the random exchanges printed, and how many went the short way."""
    program = os.path.join(build, "riscv64/tests/riscv64/native_words")
    output, status = boot(build, hyla, ["--verbose", *options, *(["--kernel-arg", "hyla.slow"] if slow else [])], [program, "7", "200"], 120)
    counts = COUNTED.search(output)
    if status != 0 or not counts:
        raise Failure(f"status {status}: " + clip(output))
    return re.findall(rb"^(?:threads|processes) [0-9a-f]{16}", output, re.MULTILINE), int(counts.group(1))


def both_ways_agree(build, hyla):
    seen = {}
    for title, options in ROUNDS:
        for slow in (False, True):
            seen[title, slow] = words(build, hyla, options, slow)
    results = {tuple(result) for result, _ in seen.values()}
    if len(results) != 1 or len(next(iter(results))) != 2:
        raise Failure(f"the ways differ: {seen}")
    for (title, slow), (_, taken) in seen.items():
        if (taken > 1000) == slow:
            raise Failure(f"{title}: {taken} calls went the short way, slow: {slow}")


# --- cases -----------------------------------------------------------------------------------------------

DRIVER = """#!/bin/dash
# Runs every script beneath /cases: its output between marks, then its status.
for folder in /cases/*; do
    name=${folder##*/}
    mkdir /tmp/$name && cd /tmp/$name || exit 1
    timeout -s KILL 20 $(cat $folder/words) $folder/script </dev/null >/tmp/$name.out 2>/dev/null
    status=$?
    cat /tmp/$name.out
    echo; echo "@@ $name $status"
done
"""


def suitable(case):
    plain = case.pass_script and not case.options and not case.steps and not case.input and not case.known and not case.user
    return plain and case.words[0] in CASE_PROGRAMS and set(case.needs) <= CASE_NEEDS


class CaseRound:
    """All cases in one boot, over the fetched root."""

    def __init__(self, build, hyla, chosen):
        self.build, self.hyla, self.chosen = build, hyla, chosen
        self.lock, self.results, self.why = threading.Lock(), None, None

    def fetch(self):
        root = os.path.join(self.build, "riscv64-root")
        script = os.path.join(os.path.dirname(__file__), "../../tools/fetch-riscv64.sh")
        if os.path.exists(os.path.join(root, ".fetched")):
            return root
        done = subprocess.run([script, root], capture_output=True, timeout=300, check=False)
        if done.returncode:
            self.why = "Debian's riscv64 programs could not be fetched: " + clip(done.stderr).strip().splitlines()[-1]
            return None
        return root

    def run(self):
        self.results = {}
        root = self.fetch()
        if not root:
            return
        with tempfile.TemporaryDirectory(prefix="hyla-riscv64-") as folder:
            copy = os.path.join(folder, "root")
            subprocess.run(["cp", "-a", root, copy], check=True)
            for case in self.chosen:
                place = os.path.join(copy, "cases", flat(case))
                os.makedirs(place)
                with open(os.path.join(place, "script"), "w", encoding="utf-8") as file:
                    file.write(case.script)
                with open(os.path.join(place, "words"), "w", encoding="utf-8") as file:
                    file.write(" ".join(case.words))
            with open(os.path.join(copy, "driver"), "w", encoding="utf-8") as file:
                file.write(DRIVER)
            environment = [f"--env={name}={value}" for name, value in cases.ENVIRONMENT.items()]
            output, _ = boot(self.build, self.hyla, ["--cpus", "4", "--memory", "1G", *environment, "--root", copy], ["dash", "/driver"], ROUND_SECONDS)
        at = 0
        for match in MARK.finditer(output):
            self.results[match.group(1).decode()] = (match.group(2).decode(), output[at:match.start() - 1].removeprefix(b"\n"))
            at = match.end()
        if not self.results:
            raise Failure(clip(output))

    def result(self, name):
        with self.lock:
            if self.results is None:
                self.run()
        if self.why:
            raise Skip(self.why)
        if name not in self.results:
            raise Failure("the machine did not come so far")
        return self.results[name]


def flat(case):
    return case.name.replace("/", "-")


def native(case):
    with tempfile.TemporaryDirectory(prefix="hyla-case-") as folder:
        script = os.path.join(folder, "script")
        work = os.path.join(folder, flat(case))
        os.mkdir(work)
        with open(script, "w", encoding="utf-8") as file:
            file.write(case.script)
        return World().run([*case.words, script], cwd=work, env=cases.ENVIRONMENT, timeout=case.timeout)


def case_tests(build, hyla, files):
    chosen = [case for path in files for case in cases.parse(path) if suitable(case)]
    one = CaseRound(build, hyla, chosen)
    for case in chosen:
        def run(case=case):
            status, output = one.result(flat(case))
            expected = native(case)
            wanted = expected.status if expected.status >= 0 else 128 - expected.status
            if int(status) != wanted or output.rstrip(b"\n") != expected.stdout.rstrip(b"\n"):
                raise Failure(f"status {status}, natively {wanted}\n--- here\n{clip(output)}\n--- natively\n{clip(expected.stdout)}")
        yield Test(f"riscv64 case {case.name}", run)


def tests(build, hyla):
    why = missing(build)
    if why:
        def skip():
            raise Skip(why)
        return [Test("riscv64 machine", skip)]
    folder = os.path.join(os.path.dirname(__file__), "../cases")
    files = [os.path.join(folder, name) for name in CASE_FILES]
    return [*machine_tests(build, hyla, boot), *program_tests(build, hyla),
            Test("riscv64 calls of words, the short way and the long", lambda: both_ways_agree(build, hyla)), *case_tests(build, hyla, files)]
