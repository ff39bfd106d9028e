"""File servers: the programs of tests/files under `hyla run`, Linux's file tests over the memory server, archives whole and damaged, the
random exerciser over every kind of file system, and the guide followed to the letter.
"""
import glob
import io
import os
import random
import re
import shutil
import subprocess
import tarfile
import tempfile

from .runner import Failure, Skip, Test
from .world import World

OVER_MEMORY = ("attr", "copy", "dir", "fd", "locks", "names", "open", "race", "rw")


def want(outcome, status=0, stdout=None):
    if outcome.timed_out or outcome.status != status or (stdout is not None and outcome.stdout != stdout):
        raise Failure(f"wanted status {status}" + (f" and {stdout!r}" if stdout is not None else "") + f"\n{outcome.describe()}")


def archive_server(hyla):
    return os.path.exists(os.path.join(os.path.dirname(hyla), "examples/hyla-fs-archive"))


def need_archives(hyla):
    if not archive_server(hyla):
        raise Skip("built without libarchive")


# --- programs -------------------------------------------------------------------------------------------------------------

def program_tests(build, hyla):
    for path in sorted(glob.glob(os.path.join(build, "tests/files_*"))):
        name = os.path.basename(path).removeprefix("files_")
        if not os.path.isfile(path) or name == "file_exerciser":
            continue
        for options in ([], ["--workers", "3"], ["--no-vm-access"]):
            def run(path=path, options=options):
                want(World(hyla, options).run([path], options=["--user", "0"], timeout=60))
            yield Test(f"files {name} {' '.join(options)}".strip(), run)


def memory_tests(build, hyla):
    for name in OVER_MEMORY:
        path = os.path.join(build, f"tests/test_file_{name}")

        def run(path=path):
            want(World(hyla).run([path], options=["--cwd", "/", "--mount", "type=memory,dst=/tmp"], timeout=60))
        yield Test(f"files file_{name} over the memory server", run)


# --- the exerciser --------------------------------------------------------------------------------------------------------

def tar_of(path, members, mode="w"):
    """members: (name, bytes) with an optional third element, the mode."""
    with tarfile.open(path, mode) as archive:
        for name, data, *bits in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), bits[0] if bits else 0o644, 1000000000
            archive.addfile(info, io.BytesIO(data))


def exercise(build, hyla, where, operations, seed):
    exerciser = os.path.join(build, "tests/files_file_exerciser")
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        arguments = [str(operations), str(seed)]
        if where == "native":
            outcome = World().run([exerciser, os.path.join(folder, "f"), *arguments], timeout=600)
        elif where == "the in-memory layer":
            outcome = World(hyla).run([exerciser, "/f", *arguments], timeout=1200)
        elif where == "the memory server":
            outcome = World(hyla).run([exerciser, "/m/f", *arguments], options=["--mount", "type=memory,dst=/m"], timeout=1200)
        else:
            need_archives(hyla)
            image = os.path.join(folder, "image.tar.gz")
            with open(exerciser, "rb") as file:
                tar_of(image, [("exerciser", file.read(), 0o755), ("f", random.Random(seed).randbytes(123456))], "w:gz")
            outcome = World(hyla).run(["/exerciser", "/f", *arguments], options=["--root-image", image, "--user", "0"], timeout=1200)
        want(outcome)


def exerciser_tests(build, hyla, operations, seeds):
    for where in ("native", "the in-memory layer", "the memory server", "an archive"):
        for seed in seeds:
            yield Test(f"files {operations} random operations on {where}, seed {seed}",
                       lambda where=where, seed=seed: exercise(build, hyla, where, operations, seed))


# --- archives -------------------------------------------------------------------------------------------------------------

def make_tree(folder):
    tree = os.path.join(folder, "tree")
    os.makedirs(os.path.join(tree, "a/deep/er"))
    chance = random.Random(5)
    for name, size in (("empty", 0), ("a/one", 1), ("a/page", 4096), ("a/deep/large", 3 << 20), ("a/deep/er/" + "n" * 255, 777)):
        with open(os.path.join(tree, name), "wb") as file:
            file.write(chance.randbytes(size))
    os.chmod(os.path.join(tree, "a/one"), 0o751)
    os.symlink("deep/large", os.path.join(tree, "a/link"))
    os.link(os.path.join(tree, "a/page"), os.path.join(tree, "a/hard"))
    return tree


COMPARE = "diff -r --no-dereference /t {0} && cmp /t/a/link {0}/a/deep/large && [ $(stat -c %h /t/a/hard) = 2 ] && [ $(stat -c %a /t/a/one) = 751 ] && ! touch /t/x 2>/dev/null"


def whole_archive(hyla, kind):
    need_archives(hyla)
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        tree, image = make_tree(folder), os.path.join(folder, "image")
        if kind == "cpio":
            if not shutil.which("cpio"):
                raise Skip("no cpio")
            names = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
            with open(image, "wb") as file:
                subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=file, check=True)
        else:
            with tarfile.open(image, kind) as archive:
                archive.add(tree, ".")
        want(World(hyla).run(["/bin/sh", "-c", COMPARE.format(tree)], options=["--mount", f"type=tar,src={image},dst=/t"], timeout=60))


def host_directory(hyla):
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        tree = make_tree(folder)
        script = COMPARE.replace("[ $(stat -c %h /t/a/hard) = 2 ] && ", "") + " && echo more >{0}/new && cat /t/new"
        want(World(hyla).run(["/bin/sh", "-c", script.format(tree)], options=["--rw", folder, "--mount", f"type=host,src={tree},dst=/t"], timeout=60), 0, b"more\n")


def damaged_archives(hyla, seeds):
    """Whatever the archive server makes of them: it gives up with a word, or shows something whose every file can be read or is an error."""
    need_archives(hyla)
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        tree = make_tree(folder)
        os.remove(os.path.join(tree, "a/deep/large"))
        whole = {}
        for kind in ("w", "w:gz", "w:xz"):
            path = os.path.join(folder, "whole")
            with tarfile.open(path, kind) as archive:
                archive.add(tree, ".")
            with open(path, "rb") as file:
                whole[kind] = file.read()
        for seed in seeds:
            chance = random.Random(seed)
            data = bytearray(whole[chance.choice(list(whole))])
            for _ in range(chance.randrange(1, 30)):
                at = chance.randrange(len(data))
                data[at:at + chance.randrange(1, 4)] = chance.randbytes(chance.randrange(0, 5))
            if chance.randrange(3) == 0:
                del data[chance.randrange(len(data)):]
            path = os.path.join(folder, "damaged")
            with open(path, "wb") as file:
                file.write(data)
            outcome = World(hyla).run(["/bin/sh", "-c", "find /t -type f -exec cat {} + >/dev/null 2>&1; exec ls -lR /t >/dev/null"],
                                      options=["--mount", f"type=tar,src={path},dst=/t"], timeout=30)
            if outcome.timed_out or outcome.status not in (0, 1, 125):
                raise Failure(f"seed {seed}: {outcome.describe()}")


def hostile_names(hyla):
    """Names that would lead out of the tree are left out; directories that nobody names are made."""
    need_archives(hyla)
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        image = os.path.join(folder, "image.tar")
        tar_of(image, [("../up", b"1"), ("/absolute", b"2"), ("a/../../b", b"3"), ("x/y/z", b"4"), ("x", b"5"), ("x/y/z", b"6"), ("f", b"7"), ("f/g", b"8")])
        outcome = World(hyla).run(["/bin/sh", "-c", "cd /t && find . | sort && cat absolute f"],
                                  options=["--mount", f"type=tar,src={image},dst=/t"], timeout=30)
        want(outcome)
        names = outcome.stdout.decode().split("\n")
        if any(".." in name for name in names[1:]) or "./absolute" not in names or outcome.stdout[-2:] != b"27":
            raise Failure(outcome.describe())


# --- the command ----------------------------------------------------------------------------------------------------------

def looks(hyla):
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        world = World()
        outcome = world.run([hyla, "mounts", "--mount", "type=memory,dst=/m,size=8M"], cwd=folder)
        want(outcome)
        if not re.search(rb"^memory +memory +rw +/m$", outcome.stdout, re.MULTILINE):
            raise Failure(outcome.describe())
        outcome = world.run([hyla, "df", "--mount", "type=memory,dst=/m,size=8M"], cwd=folder)
        want(outcome)
        if not re.search(rb"^memory +8.0M +0B +8.0M +/m$", outcome.stdout, re.MULTILINE):
            raise Failure(outcome.describe())
        for bad in ("type=memory,dst=/m,size=x", "type=tar,src=/nowhere,dst=/m", "type=tar,dst=/m", "type=memory,src=/x,dst=/m"):
            want(world.run([hyla, "run", "--mount", bad, "true"], cwd=folder), 125, b"")


def counted(hyla):
    """Reading a cached file sends no message."""
    script = ("dd if=/dev/zero of=/m/f bs=64k count=4 2>/dev/null; cat /m/f >/dev/null; a=$(grep ' /m ' /proc/self/mountstats); "
              "for i in 1 2 3 4 5 6 7 8; do cat /m/f >/dev/null; done; stat /m/f >/dev/null; b=$(grep ' /m ' /proc/self/mountstats); [ \"$a\" = \"$b\" ]")
    want(World(hyla).run(["/bin/bash", "-c", script], options=["--mount", "type=memory,dst=/m"], timeout=30))


# --- the guide ------------------------------------------------------------------------------------------------------------

def blocks(text):
    """{"name": "the text of its blocks"}: a block's first line names its language and what it belongs to."""
    found = {}
    for language, name, body in re.findall(r"^```(\w+) (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found.setdefault(f"{language} {name}", []).append(body)
    return {key: "\n".join(bodies) for key, bodies in found.items()}


def follow_guide(root, build, hyla):
    with open(os.path.join(root, "docs/guide-file-server.md"), encoding="utf-8") as file:
        guide = blocks(file.read())
    with tempfile.TemporaryDirectory(prefix="hyla-files-") as folder:
        with open(os.path.join(folder, "counters.c"), "w", encoding="utf-8") as file:
            file.write(guide["c counters.c"])
        place = os.path.join(folder, "place")
        environment = {**os.environ, "PKG_CONFIG_PATH": "", "DESTDIR": place}
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet"], env=environment, check=True, capture_output=True, timeout=120)
        [config] = glob.glob(place + "/**/pkgconfig/hyla-fs.pc", recursive=True)
        environment.update(PKG_CONFIG_PATH=os.path.dirname(config), PKG_CONFIG_SYSROOT_DIR=place)
        built = subprocess.run(["sh", "-e", "-c", guide["sh build"].replace("cc ", "cc -Wall -Wextra -Werror ")], cwd=folder, env=environment, capture_output=True, timeout=60)
        if built.returncode:
            raise Failure(built.stderr.decode())
        library = os.path.dirname(os.path.dirname(config))
        outcome = World(hyla).run(["/bin/bash", "-c", guide["sh run"]], options=["--user", "0", "--env", f"LD_LIBRARY_PATH={library}"], cwd=folder, timeout=30)
        want(outcome, 0, guide["text run"].encode())


# --- all of it ------------------------------------------------------------------------------------------------------------

def tests(root, build, hyla):
    yield from program_tests(build, hyla)
    yield from memory_tests(build, hyla)
    yield from exerciser_tests(build, hyla, 20000, (1,))
    for kind in ("w", "w:gz", "w:bz2", "w:xz", "cpio"):
        yield Test(f"files archive {kind.removeprefix('w:').replace('w', 'tar')}", lambda kind=kind: whole_archive(hyla, kind))
    yield Test("files a folder of the host", lambda: host_directory(hyla))
    yield Test("files archive names that lead out", lambda: hostile_names(hyla))
    for first in (0, 10, 20):
        yield Test(f"files damaged archives {first} to {first + 9}", lambda first=first: damaged_archives(hyla, range(first, first + 10)))
    yield Test("files mounts and df", lambda: looks(hyla))
    yield Test("files no message for what is cached", lambda: counted(hyla))
    yield Test("files the guide", lambda: follow_guide(root, build, hyla))


def soak_tests(build, hyla):
    yield from exerciser_tests(build, hyla, 1000000, (2,))
    yield Test("files damaged archives, many", lambda: damaged_archives(hyla, range(100, 400)))
