"""The machine itself, and what `hyla boot` says: disks, the network, roots of every kind, harts, gdb, refusals."""
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile

from .runner import Failure, Skip, Test
from .world import clip

SECONDS = 60
PROGRAMS = "riscv64/tests/riscv64"


def check(what, output):
    if not what:
        raise Failure(clip(output if isinstance(output, bytes) else repr(output).encode()))


class Machine:
    def __init__(self, build, hyla, boot):
        self.build, self.hyla, self.start = build, hyla, boot
        self.programs = os.path.join(build, PROGRAMS)

    def boot(self, options, argv, stdin=b""):
        return self.start(self.build, self.hyla, options, argv, SECONDS, stdin)

    def program(self, name):
        return os.path.join(self.programs, name)


def make_root(machine, folder):
    root = os.path.join(folder, "root")
    os.makedirs(os.path.join(root, "bin"))
    shutil.copy(machine.program("runner"), os.path.join(root, "bin/runner"))
    os.symlink("runner", os.path.join(root, "bin/cat"))
    return root


def disks(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-disk-") as folder:
        paths = [os.path.join(folder, name) for name in ("a", "b")]
        contents = b"".join(number.to_bytes(8, "little") + bytes(504) for number in range(4096))
        for path in paths:
            with open(path, "wb") as file:
                file.write(contents)
        output, status = machine.boot(["--disk", paths[0], "--disk", paths[1] + ",ro", "--cpus", "4"], [machine.program("machine_disk")])
        check(status == 0, output)
        wanted = contents[:700] + b"x" * 4300 + contents[5000:-512] + b"y" * 512
        with open(paths[0], "rb") as first, open(paths[1], "rb") as second:
            check(first.read() == wanted and second.read() == contents, b"the images are not what was written")


def disk_refused(machine):
    with tempfile.NamedTemporaryFile(prefix="hyla-disk-") as odd:
        odd.write(b"abc")
        odd.flush()
        for name, said in (("/nonexistent", b"No such file"), ("/tmp", b"directory"), ("/dev/null", b"a file or a block device"), (odd.name, b"multiple")):
            output, status = machine.boot(["--disk", name], ["x"])
            check(status == 125 and said in output and output.count(b"\n") == 1, output)


# A backend that fails each request, and a legacy device: the machine says so and goes on.
def disk_broken(machine):
    with tempfile.NamedTemporaryFile(prefix="hyla-disk-") as image:
        image.truncate(1 << 20)
        drive = ["-drive", f"if=none,id=bad,file.driver=blkdebug,file.image.filename={image.name},file.inject-error.0.event=read_aio,format=raw",
                 "-device", "virtio-blk-device,drive=bad,bus=virtio-mmio-bus.7"]
        options = [word for argument in drive for word in ("--qemu-arg", argument)]
        output, status = machine.boot(options, [machine.program("machine_disk")])
        check(status == 1 and b"errno 2" in output, output)  # /dev/vdb is missing: the machine lives


def legacy(machine):
    options = ["--qemu-arg", "-device", "--qemu-arg", "virtio-balloon-device,bus=virtio-mmio-bus.7"]
    output, status = machine.boot(options + ["--verbose"], [machine.program("runner")])
    check(status == 0 and b"no driver for this kind" in output, output)


def frames(machine):
    options = []
    for word in ("-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n,bus=virtio-mmio-bus.7"):
        options += ["--qemu-arg", word]
    output, status = machine.boot(options, [machine.program("machine_frames")])
    check(status == 0, output)


def stream(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-root-") as folder:
        data = os.urandom(1 << 20) + bytes(range(256)) * 16 + b"\x10" * 5000
        for options in (["--cpus", "4"], ["--cpus", "1", "--icount"]):
            output, status = machine.boot([*options, "--root", make_root(machine, folder) if not os.path.exists(folder + "/root") else folder + "/root"], ["cat"], data)
            check(status == 0 and output == data, output[-200:])


def pack_tar(root, path, mode):
    with tarfile.open(path, mode) as archive:
        archive.add(root, ".")


def roots(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-root-") as folder:
        root = make_root(machine, folder)
        tar = os.path.join(folder, "root.tar")
        pack_tar(root, tar, "w")
        cpio = os.path.join(folder, "root.cpio")
        names = b".\n./bin\n./bin/runner\n./bin/cat\n"
        with open(cpio, "wb") as out:
            if shutil.which("cpio"):
                subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names, stdout=out, cwd=root, check=True)
        places = [root, tar] + ([cpio] if os.path.getsize(cpio) else [])
        for place in places:
            output, status = machine.boot(["--root", place], ["cat"], b"through")
            check(status == 0 and output == b"through", output)
        for name, mode in (("root.tar.gz", "w:gz"), ("root.tar.xz", "w:xz")):
            path = os.path.join(folder, name)
            pack_tar(root, path, mode)
            output, status = machine.boot(["--root", path], ["cat"], b"through")
            check(status == 0 and output == b"through", output)


def damaged_root(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-root-") as folder:
        root = make_root(machine, folder)
        tar, cpio = os.path.join(folder, "cut.tar"), os.path.join(folder, "cut.cpio")
        pack_tar(root, tar, "w")
        os.truncate(tar, 4096)
        with open(cpio, "wb") as out:
            out.write(b"070701" + b"0" * 50)
        for place, said in ((tar, b"neither a folder nor a whole"), (cpio, b"neither a folder nor a whole"), ("/nonexistent", b"No such file"), ("/dev/null", b"neither a folder")):
            output, status = machine.boot(["--root", place], ["cat"])
            check(status == 125 and said in output, output)


def large_root(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-root-") as folder:
        root = make_root(machine, folder)
        with open(os.path.join(root, "big"), "wb") as file:
            file.truncate(80 << 20)
        output, status = machine.boot(["--root", root, "--memory", "128M"], ["cat"])
        check(status == 125 and b"do not fit into the machine's memory of 128M" in output and output.count(b"\n") == 1, output)


def harts(machine):
    for count in ("1", "5", "8"):
        output, status = machine.boot(["--cpus", count, "--verbose"], [machine.program("runner")])
        check(status == 0 and b" %s harts," % count.encode() in output, output)
    for count in ("0", "9", "x", "-1", "1.5"):
        output, status = machine.boot(["--cpus", count], ["x"])
        check(status == 125 and b"1 to 8" in output, output)


# Older emulators cannot leave out Sv48 alone; without any translation the same look at satp finds it missing.
def no_sv48(machine):
    output, status = machine.boot(["--qemu-arg", "-cpu", "--qemu-arg", "rv64,mmu=off"], [machine.program("runner")])
    check(status == 125 and b"Sv48" in output, output)


def no_emulator(machine):
    with tempfile.TemporaryDirectory(prefix="hyla-empty-") as folder:
        done = subprocess.run([machine.hyla, "boot", "--kernel", os.path.join(machine.build, "hyla-riscv64.img"), machine.program("runner")], env={"PATH": folder},
                              capture_output=True, timeout=SECONDS, check=False)
        check(done.returncode == 125 and b"qemu-system-misc" in done.stderr and done.stderr.count(b"\n") == 1, done.stderr)


def debugger(machine):
    if not shutil.which("gdb-multiarch"):
        raise Skip("no gdb-multiarch here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [machine.hyla, "boot", "--kernel", os.path.join(machine.build, "hyla-riscv64.img"), f"--gdb={port}", "--cpus", "1", machine.program("runner")]
    kernel = os.path.join(machine.build, "riscv64/body/riscv64/hyla-riscv64")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            steps = ["set confirm off", f"target remote 127.0.0.1:{port}", "hbreak first_thread", "continue", "backtrace", "delete", "continue"]
            line = process.stdout.readline()
            check(b"waiting for gdb" in line, line)
            done = subprocess.run(["gdb-multiarch", "-nx", "-batch", *[word for step in steps for word in ("-ex", step)], kernel],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
            check(re.search(rb"#0 .*first_thread", done.stdout) and b"first.c" in done.stdout, done.stdout)
            check(process.wait(SECONDS) == 0, done.stdout)
        finally:
            process.kill()


TESTS = {"disks": disks, "disks that are refused": disk_refused, "a disk whose reads fail": disk_broken, "a device without a driver": legacy,
         "frames": frames, "a megabyte through standard streams": stream, "roots of every kind": roots, "damaged roots": damaged_root,
         "a root too large": large_root, "harts": harts, "no Sv48": no_sv48, "no emulator": no_emulator, "gdb": debugger}


def machine_tests(build, hyla, boot):
    machine = Machine(build, hyla, boot)
    for name, function in TESTS.items():
        yield Test(f"riscv64 machine: {name}", lambda function=function: function(machine))
