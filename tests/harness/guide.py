"""docs/guide-compat-layer.md, followed literally: in an empty folder with nothing but an installed Hyla, the files it shows are built with
the lines it shows, and say what it shows. And what examples/README.md says can be run is there.
"""
import os
import re
import subprocess
import tempfile
import time

from .runner import Failure, Skip, Test

PATIENCE = 20


def blocks(text):
    """The indented blocks, each with the line of text before it."""
    found, before, block = [], "", []
    for line in text.splitlines() + ["end"]:
        if line.startswith("    ") or (block and not line):
            block.append(line[4:])
        else:
            if block:
                found.append((before, "\n".join(block).rstrip() + "\n"))
            block, before = [], line or before
    return found


class Guide:
    def __init__(self, root, folder):
        with open(os.path.join(root, "docs/guide-compat-layer.md"), encoding="utf-8") as file:
            self.blocks = blocks(file.read())
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": folder, "XDG_RUNTIME_DIR": folder, "LC_ALL": "C",
                            "PKG_CONFIG_PATH": f"{folder}/hyla/lib/pkgconfig", "LD_LIBRARY_PATH": f"{folder}/hyla/lib"}

    def shell(self, command, **options):
        outcome = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
                                 check=False, **options)
        return outcome

    def must(self, command):
        outcome = self.shell(command)
        if outcome.returncode:
            raise Failure(f"{command}: status {outcome.returncode}\n{outcome.stdout}{outcome.stderr}")
        return outcome.stdout

    def lines(self, start):
        """The line of the guide that begins so, as it stands there."""
        for _, block in self.blocks:
            for line in block.splitlines():
                if line.startswith(start):
                    return line
        raise Failure(f"the guide has no line '{start}…' any more")

    def write_files(self):
        names = []
        for before, block in self.blocks:
            named = re.search(r"`(\w+\.c)`:$", before)
            if named:
                names.append(named.group(1))
                with open(os.path.join(self.folder, named.group(1)), "w", encoding="utf-8") as file:
                    file.write(block)
        if names != ["client.c", "registry.c", "caller.c"]:
            raise Failure(f"the guide's files are {names}")


def follow(guide):
    guide.write_files()
    first = guide.must(guide.lines("cc client.c"))
    if not re.fullmatch(r"task \d+, thread \d+, world 2\n", first):
        raise Failure(f"the first client says {first!r}")
    inside = guide.must("$HOME/hyla/bin/hyla run ./client")
    if not re.fullmatch(r"task \d+, thread \d+, world 1\n", inside):
        raise Failure(f"inside it says {inside!r}")
    guide.must(guide.lines("cc registry.c"))
    guide.must(guide.lines("cc caller.c"))
    registry = subprocess.Popen([os.path.join(guide.folder, "registry")], env=guide.environment, stdout=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            outcome = guide.shell("./caller")
            if outcome.stdout == guide.lines("the answer is") + "\n":
                break
            if "No such file" not in outcome.stderr or time.monotonic() > end:
                raise Failure(f"the caller says {outcome}")
            time.sleep(0.01)
        if registry.stdout.readline() != "badge 7 asks for 42\n":
            raise Failure("the registry says something else")
        shown = guide.must("$HOME/hyla/bin/hyla ps; $HOME/hyla/bin/hyla ports")
        if "waits in msg" not in shown or "receive" not in shown:
            raise Failure(f"ps and ports say {shown}")
    finally:
        registry.kill()
        registry.communicate()


def guide_works(root, build):
    with tempfile.TemporaryDirectory(prefix="hyla-guide-") as folder:
        guide = Guide(root, folder)
        guide.lines("make && make install PREFIX=$HOME/hyla") # what the next line does, with the build that is here
        subprocess.run([os.path.join(root, "tools/install.sh"), build, f"{folder}/hyla"], env={**os.environ, "DESTDIR": ""}, capture_output=True, check=True)
        if guide.shell("command -v pkg-config && command -v cc").returncode:
            raise Skip("not installed: pkg-config or cc")
        server = subprocess.Popen([f"{folder}/hyla/bin/hyla", "server", "--ready"], env=guide.environment, stdout=subprocess.PIPE, text=True)
        try:
            if server.stdout.readline() != "ready\n":
                raise Failure("the server does not start")
            follow(guide)
        finally:
            server.terminate()
            server.communicate(timeout=20)
        if server.returncode:
            raise Failure(f"the server ended with {server.returncode}")


def examples_are_there(root, build):
    with open(os.path.join(root, "examples/README.md"), encoding="utf-8") as file:
        text = file.read()
    made = set(os.listdir(os.path.join(build, "examples")))
    for name in re.findall(r"^\*\*([\w-]+)\*\*", text, re.MULTILINE):
        # A file server's program is named after itself, or as it is installed.
        wanted = {"example_" + name.replace("-", "_"), name, "hyla-fs-" + name.removesuffix("-fs")}
        optional = name in ("process-watcher", "archive-fs") # they need a library: a loop, one that reads archives
        if not optional and not wanted & made:
            raise Failure(f"{name}: none of {sorted(wanted)} among {sorted(made)}")
    for path in re.findall(r"build/(examples/example_\w+)", text):
        if not os.path.exists(os.path.join(build, path)):
            raise Failure(f"the README runs {path}, which is not there")
    folders = {name for name in os.listdir(os.path.join(root, "examples")) if os.path.isdir(os.path.join(root, "examples", name))}
    told = set(re.findall(r"^\*\*([\w-]+)\*\*", text, re.MULTILINE))
    if folders != told:
        raise Failure(f"folders {sorted(folders)}, paragraphs {sorted(told)}")


def tests(root, build):
    yield Test("native guide followed literally", lambda: guide_works(root, build))
    yield Test("native examples as their README says", lambda: examples_are_there(root, build))
