"""The whole server with sanitizers and lock checks, running programs with four workers: nothing may be reported.

Leaks are not looked for: the server's end leaves blocked threads as they are, and their stacks are no roots to the leak
checker. `hyla run -v` tells how many objects live at the end.
"""
import glob
import os
import re
import shutil
import tempfile

from . import native, stress
from .builds import bounded
from .runner import Failure, Skip, Test
from .world import World

REPORT = re.compile(rb"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|hyla: panic:")
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "TSAN_OPTIONS": "history_size=4"}
WORKERS = ["--workers", "4"]
# Each brings in other parts: processes, threads and signals, memory, polling, names, sockets.
BRIEF = ("process_fork", "process_death", "signal_threads", "signal_queue", "futex_requeue", "mm_change", "epoll_races", "file_race", "unix_rights", "fuse_hostile",
         "fuse_death", "fuse_cache")


def build_server(root, build, sanitize):
    """-> the path of the server built with these sanitizers; in a folder of its own inside the build folder."""
    folder = os.path.join(os.path.abspath(build), "sanitize-" + sanitize.replace(",", "-"))
    jobs = str(os.cpu_count() or 1)
    environment = {}
    if sanitize == "thread":  # gcc's makes the same reports, and more slowly
        environment["CC"] = shutil.which("clang-14") or shutil.which("clang") or "cc"
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        output, status = bounded(["meson", "setup", folder, root, f"-Db_sanitize={sanitize}", "-Db_lundef=false", "-Dlock_checks=true"],
                                 120, environment)
        if status:
            raise Failure(output[-3000:])
    output, status = bounded([os.path.join(root, "tools/build.sh"), folder, jobs, "hyla"], 900, environment)
    if status:
        raise Failure(output[-3000:])
    return os.path.join(folder, "cmd/hyla")


def run(server, argv, timeout=60, statuses=(0, 77)):
    with tempfile.TemporaryDirectory(prefix="hyla-sanitize-") as folder:
        outcome = World(server).run(argv, options=[*WORKERS, "--rw", folder], cwd=folder, timeout=timeout, env=dict(os.environ, **ENVIRONMENT))
    if REPORT.search(outcome.stderr) or outcome.timed_out or outcome.status not in statuses:
        raise Failure(f"{' '.join(argv)}: {outcome.describe()}")


def programs(build, names=None):
    found = [path for path in sorted(glob.glob(os.path.join(build, "tests/test_*"))) if os.path.isfile(path)]
    return [path for path in found if names is None or os.path.basename(path).removeprefix("test_") in names]


def brief(root, build):
    paths = programs(build, BRIEF)
    if not paths:
        raise Skip("the build folder has no test programs")
    server = build_server(root, build, "address,undefined")
    for path in paths:
        run(server, [path])
    run(server, ["sh", "-c", "for i in 1 2 3 4; do echo $i | cat | wc -c; done"])
    run_native(server, build)


def run_native(server, build, timeout=120):
    """Attached programs with the same server: whatever it reports makes it end badly, or is on its standard error. And those of the
    life and the channels of managed ones."""
    for name in ("managed_life", "channel"):
        run(server, [os.path.join(build, "tests/native_" + name)], timeout)
    for path in sorted(glob.glob(os.path.join(build, "tests/native_*"))):
        if os.path.isfile(path) and "helper" not in path and "native_managed_" not in path:
            native.run_attached(server, path, WORKERS, timeout, dict(os.environ, **ENVIRONMENT))


def long_run(root, build, sanitize):
    server = build_server(root, build, sanitize)
    for path in programs(build):
        run(server, [path], 120)
    run_native(server, build, 300)
    stressor = shutil.which("stress-ng")
    for name in stress.STRESSORS if stressor else ():
        if name not in stress.LIMIT:  # what grows without bound takes the sanitizer's shadow along
            run(server, [stressor, f"--{name}", "2", "--timeout", "3s", *stress.EXTRA.get(name, [])], statuses=(0,))


def tests(root, build):
    yield Test("server with sanitizers runs programs", lambda: brief(root, build), alone=True)


def soak_tests(root, build):
    for sanitize in ("address,undefined", "thread"):
        yield Test(f"soak sanitizers {sanitize}", lambda s=sanitize: long_run(root, build, s), alone=True)
