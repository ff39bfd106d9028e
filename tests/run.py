#!/usr/bin/env python3
"""Hyla's tests.   run.py --build DIR [--only REGEX] [--jobs N] [--list] [all | sim | linux | native | files | cases | command | hostile | stress | riscv64 | builds | soak]...

Ends on the line `N passed, N failed, N skipped`; the exit status is 1 when something failed. See tests/README.md.
"""
import argparse
import glob
import os
import re
import shutil
import signal
import sys
import tempfile

from harness import builds, cases, command, files, guide, hostile, native, programs, riscv64, sanitizers, stress, tidy
from harness.runner import Runner

HERE = os.path.dirname(os.path.abspath(__file__))
GROUPS = ("tidy", "sim", "linux", "native", "files", "command", "hostile", "cases", "stress", "riscv64", "builds")


def collect(group, arguments, hyla, scratch, runner):
    if group == "tidy":
        return list(tidy.tests(os.path.dirname(HERE)))
    if group == "sim":
        return list(programs.simulator_tests(arguments.build, runner))
    if group == "builds":
        return list(builds.tests(os.path.dirname(HERE), arguments.build, runner)) + \
            list(sanitizers.tests(os.path.dirname(HERE), arguments.build))
    if group == "linux":
        return list(programs.linux_tests(arguments.build, hyla))
    if group == "native":
        return list(native.tests(arguments.build, hyla)) + list(native.server_tests(arguments.build, hyla)) + \
            list(native.library_tests(os.path.dirname(HERE), arguments.build, hyla)) + \
            list(guide.tests(os.path.dirname(HERE), arguments.build))
    if group == "files":
        return list(files.tests(os.path.dirname(HERE), arguments.build, hyla))
    if group == "command":
        return list(command.tests(scratch, hyla))
    if group == "hostile":
        return list(hostile.tests(arguments.build, scratch, hyla))
    if group == "cases":
        return list(cases.tests(os.path.join(HERE, "cases"), scratch, hyla))
    if group == "stress":
        return list(stress.tests(hyla, seconds=2))
    if group == "riscv64":
        return list(riscv64.tests(arguments.build, hyla))
    if group == "soak":
        return list(stress.tests(hyla, seconds=10)) + list(stress.soak_tests(hyla)) + \
            list(hostile.tests(arguments.build, scratch, hyla, seeds=range(2, 8), seconds=10)) + \
            list(native.soak_tests(arguments.build, hyla)) + \
            list(sanitizers.soak_tests(os.path.dirname(HERE), arguments.build)) + list(files.soak_tests(arguments.build, hyla))
    sys.exit(f"run.py: unknown group {group}")


def main():
    # Under nohup, or behind a shell's &, these would be ignored by every program under test.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("groups", nargs="*", default=["all"])
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    groups = [g for group in arguments.groups for g in (GROUPS if group == "all" else (group,))]

    scratch = tempfile.mkdtemp(prefix="hyla-check-")
    try:
        os.chmod(scratch, 0o755)
        # A copy that other users may run, wherever the checkout lies.
        hyla = os.path.join(scratch, "hyla")
        shutil.copy(os.path.join(arguments.build, "cmd/hyla"), hyla)
        os.chmod(hyla, 0o755)
        # The file servers, beside it as in the build.
        os.mkdir(os.path.join(scratch, "examples"), 0o755)
        for server in glob.glob(os.path.join(arguments.build, "examples/hyla-fs-*")):
            if os.path.isfile(server):
                shutil.copy(server, os.path.join(scratch, "examples"))
        runner = Runner(arguments.jobs)
        for group in groups:
            tests = [t for t in collect(group, arguments, hyla, scratch, runner) if re.search(arguments.only, t.name)]
            if arguments.list:
                print("\n".join(test.name for test in tests))
            else:
                runner.run(tests)
        return 0 if arguments.list else runner.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
