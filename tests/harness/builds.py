"""What must also build, or must fail as it should: the other compiler, and the deliberate bugs of tests/bugs."""
import os
import re
import shutil
import subprocess

from .runner import Failure, Skip, Test

BUGS = re.compile(r"^(\d+) passed, (\d+) failed", re.MULTILINE)


def bounded(argv, timeout, env=None):
    """Runs it in a session of its own, so that a timeout ends its children too."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                               env=dict(os.environ, **(env or {})))
    try:
        return process.communicate(timeout=timeout)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise Failure(f"{argv[0]}: not done in {timeout} s\n{process.communicate()[0][-1500:]}") from None


def other_compiler(root, build):
    clang = shutil.which("clang-14") or shutil.which("clang")
    if not clang:
        raise Skip("not installed: clang")
    folder = os.path.join(build, "clang")
    script = os.path.join(root, "tools/build.sh")
    output, status = bounded([script, os.path.abspath(folder), str(os.cpu_count() or 1)], 900, {"CC": clang})
    if status:
        raise Failure(output[-3000:])


def deliberate_bugs_are_found(root, runner):
    output, status = bounded([os.path.join(root, "tests/bugs/run.sh")], 900, {"JOBS": str(os.cpu_count() or 1)})
    match = BUGS.search(output)
    if status or not match:
        raise Failure(output[-3000:])
    runner.add_counts(int(match.group(1)) - 1, 0, 0)


def tests(root, build, runner):
    yield Test("build with the other compiler", lambda: other_compiler(root, build), alone=True)
    yield Test("bugs put in on purpose are found", lambda: deliberate_bugs_are_found(root, runner), alone=True)
