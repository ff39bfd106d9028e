"""stress-ng under Hyla: every stressor of the list with two workers must end well and leave nothing behind."""
import os
import shutil
import tempfile

from .runner import Failure, Skip, Test
from .world import World

STRESSORS = ("fork", "vfork", "clone", "pthread", "futex", "mutex", "pipe", "signal", "sigq", "epoll", "poll", "eventfd",
             "timer", "mmap", "brk", "switch", "wait", "zombie")
# brk grows until it is refused: the sandbox has a limit.
LIMIT = {"brk": ["--memory", "1G"]}
EXTRA = {"mmap": ["--mmap-bytes", "16m"], "fork": ["--fork-max", "1"]}


def available():
    path = shutil.which("stress-ng")
    if not path:
        raise Skip("not installed: stress-ng")
    return path


def run_stressor(hyla, name, seconds):
    program = available()
    with tempfile.TemporaryDirectory(prefix="hyla-stress-") as folder:
        argv = [program, f"--{name}", "2", "--timeout", f"{seconds}s", "--temp-path", folder, *EXTRA.get(name, [])]
        outcome = World(hyla).run(argv, options=["--rw", folder, *LIMIT.get(name, [])], cwd=folder, timeout=seconds * 3 + 20)
        left = os.listdir(folder)
    text = outcome.stdout + outcome.stderr
    if b"unrecognized option" in text:
        raise Skip(f"this stress-ng has no {name} stressor")
    if outcome.status or outcome.timed_out or b"fail:" in text or b"failed:" in text.replace(b"failed: 0", b""):
        raise Failure(outcome.describe())
    if left:
        raise Failure(f"left behind: {left}")


def tests(hyla, seconds):
    for name in STRESSORS:
        yield Test(f"stress {name}", lambda n=name: run_stressor(hyla, n, seconds), alone=True)


def soak_tests(hyla):
    def repeat(argv, times):
        for _ in range(times):
            outcome = World(hyla).run(argv, timeout=60)
            if outcome.status or outcome.timed_out:
                raise Failure(outcome.describe())
    yield Test("soak start and end 200 times", lambda: repeat(["true"], 200), alone=True)
    yield Test("soak pipelines", lambda: repeat(
        ["busybox", "ash", "-c", "i=0; while [ $i -lt 500 ]; do echo $i | cat | tr 0-9 a-j >/dev/null || exit 1; i=$((i+1)); done"], 5),
        alone=True)
