"""Test programs that the build made: the simulator's, and tests/linux/*.c natively first, then under Hyla.

A program passes with status 0 and skips with 77. One that ends on the line `N passed, N failed, N skipped` is counted
test by test.
"""
import glob
import os
import re
import tempfile

from .runner import Failure, Skip, Test
from .world import World, clip

SUMMARY = re.compile(rb"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)


def check(outcome, where, runner):
    match = None
    for match in SUMMARY.finditer(outcome.stdout):
        pass
    if match and runner and not outcome.timed_out and not outcome.status:
        passed, failed, skipped = (int(group or 0) for group in match.groups())
        runner.add_counts(max(0, passed - 1), 0, skipped)  # the program itself is counted as one
    if outcome.status == 77 and not outcome.timed_out:
        raise Skip(clip(outcome.stdout).strip().splitlines()[-1] if outcome.stdout.strip() else "the program says so")
    if outcome.status or outcome.timed_out:
        raise Failure(f"{where}: {outcome.describe()}")


def simulator_tests(build, runner, extra=()):
    for path in sorted(glob.glob(os.path.join(build, "body/sim/*"))):
        if os.path.isfile(path) and os.access(path, os.X_OK) and not path.endswith((".so", ".a")):
            def run(path=path):
                check(World().run([path, *extra], timeout=600), "simulator", runner)
            yield Test(f"sim {os.path.basename(path)}", run, alone=True)


def linux_tests(build, hyla):
    for path in sorted(glob.glob(os.path.join(build, "tests/test_*"))):
        if not os.path.isfile(path):
            continue
        name = os.path.basename(path).removeprefix("test_")
        for world in (World(), World(hyla)):
            def run(path=path, world=world):
                with tempfile.TemporaryDirectory(prefix="hyla-linux-") as folder:
                    options = ["--rw", folder] if world.hyla else []
                    check(world.run([path], options=options, cwd=folder, timeout=60), world.name, None)
            yield Test(f"linux {name} {world.name}", run)
