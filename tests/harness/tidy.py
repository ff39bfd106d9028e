"""What a machine can check about the source: reach of headers, leftovers, tables."""
import glob
import os
import re
import subprocess
import sys
import tempfile

from .runner import Failure, Test

COMPILER_HEADERS = {"stdint.h", "stddef.h", "stdbool.h", "stdatomic.h", "stdarg.h", "limits.h"}
# room -> what its files may include
ROOMS = {
    "kernel": ("kernel/", "body/atomic.h", "body/context.h", "arch/"),
    "abi": ("kernel/", "abi/", "hyla/", "body/atomic.h", "body/context.h", "arch/"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def sources(root, *rooms):
    for room in rooms:
        for pattern in ("*.c", "*.h", "*.S"):
            yield from sorted(glob.glob(os.path.join(root, room, "**", pattern), recursive=True))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def headers_stay_in_their_room(root):
    wrong = []
    for room, allowed in ROOMS.items():
        for path in sources(root, room):
            if path.endswith(("_test.c", "_test.h", "_fuzz.c")):
                continue
            for name in INCLUDE.findall(read(path)):
                if name not in COMPILER_HEADERS and not name.startswith(allowed):
                    wrong.append(f"{os.path.relpath(path, root)} includes {name}")
    if wrong:
        raise Failure("\n".join(wrong))


def no_leftovers(root):
    words = re.compile(r"\b(FIX" r"ME|TO" r"DO|XX" r"X)\b")
    wrong = [os.path.relpath(path, root) for path in sources(root, "kernel", "abi", "body", "cmd", "arch", "lib", "examples", "tests", "bench")
             if words.search(read(path))]
    if wrong:
        raise Failure("leftover marks in " + ", ".join(wrong))


def every_header_is_used(root):
    text = "\n".join(read(path) for path in sources(root, "kernel", "abi", "body", "cmd", "arch", "tests", "bench"))
    text_of_build = "\n".join(map(read, glob.glob(os.path.join(root, "**/meson.build"), recursive=True)))  # -include
    used = {os.path.basename(name) for name in INCLUDE.findall(text)} | set(re.findall(r"\w+\.h\b", text_of_build))
    dead = [os.path.relpath(path, root) for path in sources(root, "kernel", "abi", "body", "cmd")
            if path.endswith(".h") and os.path.basename(path) not in used]
    if dead:
        raise Failure("included nowhere: " + ", ".join(dead))


def include_cycles(root):
    graph = {}
    for path in sources(root, "kernel", "abi", "body", "cmd"):
        if path.endswith(".h"):
            name = os.path.relpath(path, root)
            graph[name] = [n for n in INCLUDE.findall(read(path)) if os.path.exists(os.path.join(root, n))]
    done = set()

    def visit(name, trail):
        if name in trail:
            raise Failure("include cycle: " + " > ".join(trail[trail.index(name):] + [name]))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, trail + [name])
            done.add(name)
    for name in graph:
        visit(name, [])


def call_tables(root):
    tables = sorted(glob.glob(os.path.join(root, "abi/linux/calls/*.tbl")))
    run = subprocess.run([sys.executable, os.path.join(root, "tools/gen_calls.py"), "--strict", "--counts", *tables],
                         capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failure(run.stderr)
    print(f"     call table: {run.stdout.strip()}")


def native_calls(root):
    """The table reads, each call has its handler, and the reference chapter is of today."""
    tables = [os.path.join(root, "abi/native/calls/types.def"), *sorted(glob.glob(os.path.join(root, "abi/native/calls/*.tbl")))]
    tool = os.path.join(root, "tools/gen_native.py")
    with tempfile.TemporaryDirectory(prefix="hyla-tidy-") as folder:
        chapter = os.path.join(folder, "calls.md")
        for arguments in (["--check"], ["--docs", chapter]):
            run = subprocess.run([sys.executable, tool, *arguments, *tables], capture_output=True, text=True, check=False)
            if run.returncode:
                raise Failure(run.stderr)
            if run.stdout:
                print(f"     native calls: {run.stdout.strip()}")
        if read(chapter) != read(os.path.join(root, "docs/native-calls.md")):
            raise Failure("docs/native-calls.md is old: make docs")


def file_protocol(root):
    """The reference of the file protocol is of today."""
    tables = [os.path.join(root, "abi/file", name) for name in ("types.def", "protocol.tbl")]
    with tempfile.TemporaryDirectory(prefix="hyla-tidy-") as folder:
        chapter = os.path.join(folder, "messages.md")
        run = subprocess.run([sys.executable, os.path.join(root, "tools/gen_files.py"), "--docs", chapter, *tables], capture_output=True, text=True, check=False)
        if run.returncode:
            raise Failure(run.stderr)
        if read(chapter) != read(os.path.join(root, "docs/file-messages.md")):
            raise Failure("docs/file-messages.md is old: make docs")


def tests(root):
    for function in (headers_stay_in_their_room, no_leftovers, every_header_is_used, include_cycles, call_tables, native_calls, file_protocol):
        yield Test(f"tidy {function.__name__}", lambda f=function: f(root))
