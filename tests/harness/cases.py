"""Differential cases: one script, run natively and under Hyla in a folder of the same name; everything must be equal.

A file tests/cases/NAME.cases holds cases in this form:

    === name_of_the_case
    run: bash -e            the words before the script's path; default: dash
    needs: gcc xz           programs; without them the case is skipped
    host: fuse              the host must let us mount FUSE file systems, else the case is skipped
    script: no              the program gets no script
    timeout: 30             seconds for each run; default 20
    stderr: yes             standard error is compared too
    options: --pids 100     further options of hyla run
    user: root | nobody     only as this user
    step: expect REGEX      on a terminal: see terminal.py (output is then not compared, unless `output: yes`)
    input: TEXT             standard input, with backslash escapes
    expect: known REASON    known not to work: must fail
    ---
    the script

Compared: standard output, exit status, and the tree of files left behind (names, kinds, modes, owners, contents,
link targets). The folder holds nothing at the start; what a script needs it makes.
"""
import codecs
import ctypes
import errno
import hashlib
import os
import shlex
import shutil
import stat
import tempfile

from . import terminal
from .runner import Failure, Skip, Test
from .world import Outcome, World

NOBODY = 65534
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "xterm", "LANG": "C.UTF-8",
               "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80", "LINES": "24"}


class Case:
    def __init__(self, name):
        self.name = name
        self.words, self.needs, self.timeout = ["dash"], [], 20
        self.pass_script, self.host_fuse = True, False
        self.compare_stderr = self.compare_output = False
        self.options, self.user, self.steps, self.input, self.known, self.script = [], None, [], b"", None, ""

    def set(self, key, value):
        if key == "run":
            self.words = shlex.split(value)
        elif key == "needs":
            self.needs = value.split()
        elif key == "host" and value == "fuse":
            self.host_fuse = True
        elif key == "script":
            self.pass_script = value != "no"
        elif key == "timeout":
            self.timeout = float(value)
        elif key == "stderr":
            self.compare_stderr = value == "yes"
        elif key == "output":
            self.compare_output = value == "yes"
        elif key == "options":
            self.options = shlex.split(value)
        elif key == "user":
            self.user = value
        elif key == "step":
            self.steps.append(value)
        elif key == "input":
            self.input = codecs.decode(value, "unicode_escape").encode("latin-1")
        elif key == "expect":
            self.known = value
        else:
            raise ValueError(f"{self.name}: unknown key {key}")


def parse(path):
    cases, case, head = [], None, False
    prefix = os.path.basename(path).removesuffix(".cases")
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("=== "):
                case, head = Case(f"{prefix}/{line[4:].strip()}"), True
                cases.append(case)
            elif case and head and line.rstrip("\n") == "---":
                head = False
            elif case and head and line.strip():
                key, _, value = line.strip().partition(":")
                case.set(key, value.strip())
            elif case and not head:
                case.script += line
    return cases


def snapshot(folder):
    """name -> what is there, without times and inode numbers."""
    entries = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            entries[os.path.relpath(path, folder)] = describe_entry(path)
    return entries


def digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except PermissionError:  # a case may take its own rights away; root still reads it
        return "unreadable"


def describe_entry(path):
    info = os.lstat(path)
    kind, rest = stat.S_IFMT(info.st_mode), ""
    if stat.S_ISLNK(info.st_mode):
        rest = os.readlink(path)
    elif stat.S_ISREG(info.st_mode):
        rest = f"{info.st_size} bytes, {digest(path)}, {info.st_nlink} links"
    return f"{kind:o} {stat.S_IMODE(info.st_mode):o} {info.st_uid}:{info.st_gid} {rest}"


def differences(native, hyla):
    lines = []
    for name in sorted(set(native) | set(hyla)):
        if native.get(name) != hyla.get(name):
            lines.append(f"file {name}: native {native.get(name, 'absent')}; hyla {hyla.get(name, 'absent')}")
    return lines


class CaseRun:
    """One case as one user."""

    def __init__(self, case, base, hyla, user):
        self.case, self.hyla, self.user = case, hyla, user
        self.base = tempfile.mkdtemp(prefix="case-", dir=base)
        os.chmod(self.base, 0o755)
        self.folder = os.path.join(self.base, "work")
        self.script = os.path.join(self.base, "script")

    def prepare(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder, 0o755)
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(self.case.script)
        if self.user is not None:
            os.chown(self.folder, self.user, self.user)

    def run_in(self, world):
        self.prepare()
        environment = dict(ENVIRONMENT, HOME=self.folder)
        argv = self.case.words + [self.script] * self.case.pass_script
        options = ["--rw", self.folder, *self.case.options] if world.hyla else []
        common = {"options": options, "cwd": self.folder, "env": environment, "user": self.user}
        if self.case.steps:
            process, master = world.start_on_terminal(argv, **common)
            status, output = terminal.play(process, master, self.case.steps, self.case.timeout)
            outcome = Outcome(status, output if self.case.compare_output else b"", b"")
        else:
            outcome = world.run(argv, stdin=self.case.input, timeout=self.case.timeout, **common)
        if outcome.timed_out:
            raise Failure(f"{world.name}: {outcome.describe()}")
        return outcome, snapshot(self.folder)

    def compare(self):
        native, native_files = self.run_in(World())
        hyla, hyla_files = self.run_in(World(self.hyla))
        wrong = differences(native_files, hyla_files)
        if native.status != hyla.status:
            wrong.append(f"status: native {native.status}, hyla {hyla.status}")
        if native.stdout != hyla.stdout:
            wrong.append("standard output differs")
        if self.case.compare_stderr and native.stderr != hyla.stderr:
            wrong.append("standard error differs")
        if wrong:
            raise Failure("\n".join(wrong) + f"\n-- native: {native.describe()}\n-- hyla: {hyla.describe()}")

    def __call__(self):
        try:
            self.compare()
        finally:
            shutil.rmtree(self.base, ignore_errors=True)


def fuse_mountable():
    """Whether this host has FUSE and lets us mount: asked with a place that does not exist."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount(b"none", b"/nonexistent/place", b"fuse", 0, b"")
    return ctypes.get_errno() == errno.ENOENT and os.access("/dev/fuse", os.R_OK | os.W_OK)


def run_case(case, base, hyla, user):
    if case.host_fuse and not fuse_mountable():
        raise Skip("this host does not let us mount FUSE file systems")
    missing = [program for program in case.needs + case.words[:1] if not shutil.which(program, path=ENVIRONMENT["PATH"])]
    if missing:
        raise Skip("not installed: " + " ".join(missing))
    try:
        CaseRun(case, base, hyla, user)()
    except Failure:
        if case.known:
            return
        raise
    if case.known:
        raise Failure(f"known not to work ({case.known}), and now it does: drop the mark")


def users():
    """Who the cases run as: (suffix, uid or None)."""
    return [("", None), ("@nobody", NOBODY)] if os.geteuid() == 0 else [("", None)]


def wanted_user(case, uid):
    effective = "root" if (uid is None and os.geteuid() == 0) else "nobody"
    return case.user in (None, effective)


def tests(folder, base, hyla):
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".cases"):
            continue
        for case in parse(os.path.join(folder, name)):
            for suffix, uid in users():
                if wanted_user(case, uid):
                    yield Test(f"case {case.name}{suffix}", lambda c=case, u=uid: run_case(c, base, hyla, u))
