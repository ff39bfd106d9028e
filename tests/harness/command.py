"""The command itself: options, complaints and exit codes, signals and terminals, and that nothing is left behind."""
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile

from .cases import ENVIRONMENT
from .runner import Failure, Skip, Test
from .world import World, kill_session

TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Context:
    def __init__(self, hyla, folder):
        self.hyla, self.folder = hyla, folder

    def hyla_run(self, *arguments, stdin=b"", timeout=20, env=None):
        world = World()
        return world.run([self.hyla, *arguments], stdin=stdin, timeout=timeout, cwd=self.folder, env=env or ENVIRONMENT)

    def file(self, name, contents, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(contents)
        os.chmod(path, mode)
        return path


def want(outcome, status, stdout=None, stderr=None):
    """stdout: exact bytes or None; stderr: a regular expression that one single line must match, or None."""
    if outcome.timed_out or outcome.status != status:
        raise Failure(f"wanted status {status}\n{outcome.describe()}")
    if stdout is not None and outcome.stdout != stdout:
        raise Failure(f"wanted output {stdout!r}\n{outcome.describe()}")
    if stderr is not None:
        lines = outcome.stderr.decode("utf-8", "replace").splitlines()
        if len(lines) != 1 or not re.search(stderr, lines[0]):
            raise Failure(f"wanted one line matching {stderr!r}\n{outcome.describe()}")


# --- without a program ------------------------------------------------------------------------------------------------

@test
def version(c):
    outcome = c.hyla_run("--version")
    want(outcome, 0)
    if not re.fullmatch(rb"hyla \d+\.\d+\.\d+\n", outcome.stdout):
        raise Failure(outcome.describe())


@test
def help_lists_commands(c):
    outcome = c.hyla_run("--help")
    want(outcome, 0)
    if b"  run " not in outcome.stdout:
        raise Failure(outcome.describe())


@test
def help_of_a_command(c):
    for arguments in (("run", "--help"), ("help", "run")):
        outcome = c.hyla_run(*arguments)
        want(outcome, 0)
        if b"--rootfs" not in outcome.stdout:
            raise Failure(outcome.describe())


def complaint(name, arguments, pattern, status=125):
    def run(c):
        want(c.hyla_run(*arguments), status, b"", pattern)
    run.__name__ = name
    test(run)


complaint("no_command", [], r"no command")
complaint("unknown_command", ["fly"], r"'fly' is not a command")
complaint("unknown_top_option", ["--fly"], r"unknown option '--fly'")
complaint("help_of_unknown_command", ["help", "fly"], r"'fly' is not a command")
complaint("no_program", ["run"], r"no program given")
complaint("no_program_after_dashes", ["run", "--"], r"no program given")
complaint("unknown_option", ["run", "--fly", "true"], r"--fly")
complaint("unknown_short_option", ["run", "-q", "true"], r"'-q'")
complaint("option_without_value", ["run", "--rootfs"], r"--rootfs")
complaint("option_with_unwanted_value", ["run", "--stats=3", "true"], r"no value|--stats")
complaint("bad_memory", ["run", "--memory", "lots", "true"], r"--memory 'lots'")
complaint("bad_pids", ["run", "--pids", "0", "true"], r"--pids '0'")
complaint("bad_workers", ["run", "--workers", "-1", "true"], r"--workers '-1'")
complaint("bad_user", ["run", "--user", "root", "true"], r"--user 'root'")
complaint("bad_env", ["run", "--env", "NAME", "true"], r"--env 'NAME'")
complaint("bad_cwd", ["run", "--cwd", "here", "true"], r"--cwd 'here'")
complaint("missing_cwd", ["run", "--cwd", "/no/such/place", "true"], r"/no/such/place.*No such file")
complaint("bad_hostname", ["run", "--hostname", "", "true"], r"--hostname")
complaint("bad_bind", ["run", "--bind", "/etc", "true"], r"SRC:DST")
complaint("bad_bind_mode", ["run", "--bind", "/etc:/mnt:rx", "true"], r"ro or rw")
complaint("mount_without_type", ["run", "--mount", "src=/etc,dst=/mnt", "true"], r"no type=")
complaint("mount_of_no_type", ["run", "--mount", "type=nfs,dst=/mnt", "true"], r"nfs.*no type of mount")
complaint("mount_with_odd_key", ["run", "--mount", "type=bind,src=/etc,dst=/mnt,colour=red", "true"], r"colour.*no key")
complaint("mount_without_place", ["run", "--mount", "type=bind,src=/etc", "true"], r"src=PATH,dst=DIR")
complaint("mount_key_twice", ["run", "--mount", "type=bind,src=/etc,src=/usr,dst=/mnt", "true"], r"src.*twice")
complaint("mount_flag_with_value", ["run", "--mount", "type=bind,src=/etc,dst=/mnt,ro=1", "true"], r"ro.*no value")
complaint("mount_open_quote", ["run", "--mount", 'type=bind,src="/etc,dst=/mnt', "true"], r"quote")
complaint("mount_relative", ["run", "--mount", "type=bind,src=/etc,dst=mnt", "true"], r"absolute")
complaint("mount_fuse_without_program", ["run", "--mount", "type=fuse,dst=/mnt", "true"], r"prog=")
complaint("bind_of_nothing", ["run", "--bind", "/no/such:/mnt", "true"], r"/no/such.*No such file")
complaint("rw_of_nothing", ["run", "--rw", "/no/such", "true"], r"/no/such.*No such file")
complaint("rootfs_missing", ["run", "--rootfs", "/no/such", "true"], r"/no/such.*No such file")
complaint("rootfs_no_directory", ["run", "--rootfs", "/etc/passwd", "true"], r"/etc/passwd.*[Nn]ot a directory")
complaint("trace_file_impossible", ["run", "--trace=/no/such/file", "true"], r"/no/such/file")
complaint("trace_of_unknown_call", ["run", "--trace-calls", "fly", "--trace=/dev/null", "true"], r"'fly'")
complaint("program_not_found", ["run", "no-such-program"], r"'no-such-program': not found", 127)
complaint("program_path_not_found", ["run", "/no/such/program"], r"/no/such/program.*No such file", 127)
complaint("empty_program_name", ["run", ""], r"not found", 127)
complaint("program_is_a_directory", ["run", "/etc"], r"/etc", 126)
complaint("program_not_executable", ["run", "/etc/passwd"], r"/etc/passwd.*Permission denied", 126)


# --- programs that cannot run ---------------------------------------------------------------------------------------

ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")


def elf(machine=62, elf_class=2, phoff=64, phnum=1, entry=0x400078):
    ident = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)
    return ELF_HEADER.pack(ident, 2, machine, 1, entry, phoff, 0, 0, 64, 56, phnum, 0, 0, 0)


def bad_program(name, contents, pattern, status=126):
    def run(c):
        want(c.hyla_run("run", c.file("program", contents, 0o755)), status, b"", pattern)
    run.__name__ = name
    test(run)


bad_program("program_for_another_machine", elf(machine=243) + bytes(200), r"RISC-V")
bad_program("program_for_32_bits", elf(machine=3, elf_class=1) + bytes(200), r"32-bit")
bad_program("program_cut_off", elf()[:40], r"cut off")
bad_program("program_headers_outside", elf(phoff=1 << 40) + bytes(200), r"damaged|Invalid|error")
bad_program("program_of_noise", b"\x00\x01\x02 noise", r"neither")
bad_program("missing_interpreter_of_script", b"#!/no/such/shell\n", r"interpreter '/no/such/shell' is missing")


def load_segment(address=0x400000, offset=0, in_file=256, in_memory=256, flags=5):
    return struct.pack("<IIQQQQQQ", 1, flags, offset, address, address, in_file, in_memory, 4096)


def damaged(segments, **header):
    text = elf(phnum=len(segments), **header) + b"".join(segments)
    return text + bytes(512 - len(text))


bad_program("program_without_segments", damaged([], phoff=64), r"/program'")
bad_program("program_segment_beyond_memory", damaged([load_segment(address=0x7ffffffff000, in_memory=1 << 20)]), r"/program'")
bad_program("program_segment_wraps", damaged([load_segment(address=0xfffffffffffff000)]), r"/program'")
bad_program("program_segment_file_exceeds_memory", damaged([load_segment(in_file=512, in_memory=128)]), r"/program'")
bad_program("program_segment_over_the_stub", damaged([load_segment(address=0x6ff800000000)]), r"/program'")
bad_program("program_segment_huge", damaged([load_segment(in_memory=1 << 62)]), r"/program'")
bad_program("program_entry_outside", damaged([load_segment()], entry=0xffff800000000000), r"/program'")


@test
def missing_interpreter_of_elf(c):
    segment = struct.pack("<IIQQQQQQ", 3, 4, 176, 0x4000b0, 0x4000b0, 12, 12, 1)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 256, 256, 4096)
    program = elf(phnum=2) + load + segment + b"/no/ld.so.1\0"
    path = c.file("program", program + bytes(256 - len(program)), 0o755)
    want(c.hyla_run("run", path), 126, b"", r"interpreter '/no/ld.so.1' is missing")


@test
def unreadable_root_is_said(c):
    if os.geteuid() == 0:
        raise Skip("root may read everything")
    place = os.path.join(c.folder, "closed")
    os.mkdir(place, 0)
    want(c.hyla_run("run", "--rootfs", place, "true"), 125, b"", r"Permission denied")


# --- exit status, signals, streams --------------------------------------------------------------------------------

@test
def exit_status_passes_through(c):
    for status in (0, 1, 42, 255):
        want(c.hyla_run("run", "dash", "-c", f"exit {status}"), status, b"")


@test
def death_by_signal_passes_through(c):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        want(c.hyla_run("run", "dash", "-c", f"kill -{int(number)} $$"), -number, b"")


@test
def signals_are_forwarded(c):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
        script = f"trap 'echo caught; exit 7' {int(number)}; echo ready; while :; do sleep 0.05; done"
        process = subprocess.Popen([c.hyla, "run", "dash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=ENVIRONMENT, start_new_session=True)
        try:
            if process.stdout.readline() != b"ready\n":
                raise Failure(f"not ready: {process.stderr.read()!r}")
            process.send_signal(number)
            output, errors = process.communicate(timeout=10)
        finally:
            kill_session(process)
        if output != b"caught\n" or process.returncode != 7:
            raise Failure(f"{number!r}: {output!r} {errors!r} {process.returncode}")


@test
def who_asks_twice_for_the_end_gets_it(c):
    for number in (signal.SIGTERM, signal.SIGINT):
        script = f"trap 'echo caught' {int(number)}; echo ready; while :; do sleep 0.05; done"
        process = subprocess.Popen([c.hyla, "run", "dash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True)
        try:
            for line in (b"ready\n", b"caught\n"):
                if process.stdout.readline() != line:
                    raise Failure(f"not {line!r}: {process.stderr.read()!r}")
                process.send_signal(number)
            output, errors = process.communicate(timeout=10)
        finally:
            kill_session(process)
        if output or process.returncode != -number:
            raise Failure(f"{number!r}: {output!r} {errors!r} {process.returncode}")


@test
def killed_server_leaves_no_process(c):
    marker = f"hyla-marker-{os.getpid()}-{id(c)}"
    process = subprocess.Popen([c.hyla, "run", "dash", "-c", f"sleep 1000 & sleep 1000 & echo ready; exec sleep 1000 # {marker}"],
                               stdout=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True)
    process.stdout.readline()
    children = descendants(process.pid)
    process.kill()
    process.wait()
    process.stdout.read()  # ends when the last holder of the pipe is gone
    process.stdout.close()
    alive = [pid for pid in children if is_alive(pid)]
    if alive:
        raise Failure(f"still there: {alive} of {children}")


def descendants(pid):
    found, wanted = [], {pid}
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                pass
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found += wanted
    return found


def is_alive(pid):
    """A zombie that somebody has still to reap is not alive. Waits a moment through a pidfd: death takes its time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([descriptor], [], [], 5)[0]
    finally:
        os.close(descriptor)


@test
def streams_may_be_files(c):
    source, target = c.file("in", b"some input\n"), os.path.join(c.folder, "out")
    with open(source, "rb") as stdin, open(target, "wb") as stdout:
        status = subprocess.run([c.hyla, "run", "cat"], stdin=stdin, stdout=stdout, env=ENVIRONMENT, timeout=20, check=False).returncode
    with open(target, "rb") as file:
        contents = file.read()
    if status or contents != b"some input\n":
        raise Failure(f"{status} {contents!r}")


@test
def appending_stream_appends(c):
    target = c.file("log", b"first\n")
    with open(target, "ab") as stdout:
        subprocess.run([c.hyla, "run", "dash", "-c", "echo second; echo third"], stdout=stdout, env=ENVIRONMENT, timeout=20, check=True)
    with open(target, "rb") as file:
        contents = file.read()
    if contents != b"first\nsecond\nthird\n":
        raise Failure(repr(contents))


@test
def streams_may_be_closed(c):
    for number in range(3):
        script = f"exec {number}>&- ; exec \"$0\" run dash -c 'if [ -e /proc/self/fd/{number} ]; then exit 3; fi; exit 4'"
        outcome = World().run(["dash", "-c", script, c.hyla], env=ENVIRONMENT, timeout=20)
        if outcome.status != 4:
            raise Failure(f"descriptor {number}: {outcome.describe()}")


@test
def broken_pipe_kills_as_natively(c):
    outcome = World().run(["bash", "-c", '"$0" run yes | head -n 1; echo "${PIPESTATUS[0]}"', c.hyla], env=ENVIRONMENT, timeout=20)
    want(outcome, 0, b"y\n141\n")


# --- options ---------------------------------------------------------------------------------------------------------

@test
def writes_stay_private(c):
    place = os.path.join(c.folder, "new")
    want(c.hyla_run("run", "dash", "-c", f"echo x >{place} && cat {place}"), 0, b"x\n")
    if os.path.exists(place):
        raise Failure("the file reached the host")


@test
def changes_to_existing_files_stay_private(c):
    place = c.file("old", b"old\n")
    want(c.hyla_run("run", "dash", "-c", f"echo new >>{place}; cat {place}; rm {place}; ls {c.folder}"), 0, b"old\nnew\n")
    with open(place, "rb") as file:
        if file.read() != b"old\n":
            raise Failure("the host's file was changed")


@test
def umask_is_the_callers_and_the_guests(c):
    script = "umask; mkdir a; mkfifo b; >c; umask 0; mkdir d; mkfifo e; >f; stat -c %a a b c d e f"
    outcome = c.hyla_run("run", "--rw", c.folder, "dash", "-c", script)
    native = subprocess.run(["dash", "-c", script], cwd=tempfile.mkdtemp(dir=c.folder), stdout=subprocess.PIPE, check=True)
    want(outcome, 0, native.stdout)
    narrow = subprocess.run(["dash", "-c", f"umask 027; {c.hyla} run dash -c umask"], stdout=subprocess.PIPE, check=True)
    if narrow.stdout != b"0027\n":
        raise Failure(f"umask: {narrow.stdout!r}")


@test
def rw_writes_through(c):
    want(c.hyla_run("run", "--rw", c.folder, "dash", "-c", "echo x >here; mkdir sub; mv here sub/there"), 0)
    if os.listdir(c.folder) != ["sub"] or os.listdir(c.folder + "/sub") != ["there"]:
        raise Failure(str(os.listdir(c.folder)))


@test
def bind_shows_a_folder(c):
    c.file("inside", b"bound\n")
    want(c.hyla_run("run", "--bind", f"{c.folder}:/mnt", "cat", "/mnt/inside"), 0, b"bound\n")
    want(c.hyla_run("run", "--bind", f"{c.folder}:/mnt:ro", "dash", "-c", "echo x 2>/dev/null >/mnt/new || echo refused"), 0, b"refused\n")


@test
def mount_binds_with_commas(c):
    odd = os.path.join(c.folder, 'a,b"c')
    os.mkdir(odd)
    with open(os.path.join(odd, "inside"), "w") as out:
        out.write("bound\n")
    quoted = odd.replace('"', '\\"')
    want(c.hyla_run("run", "--mount", f'type=bind,src="{quoted}",dst=/mnt,ro', "cat", "/mnt/inside"), 0, b"bound\n")


@test
def mount_serves_a_program(c):
    """A FUSE server is there before the guest's program, outlives it, and writes what it has to."""
    for program in ("bindfs", "fuse-zip", "zip", "unzip"):
        if not shutil.which(program):
            raise Skip("not installed: " + program)
    c.file("inside", b"served\n")
    served = f'type=fuse,prog="bindfs {c.folder}",dst=/mnt/served'
    want(c.hyla_run("run", "--mount", served, "dash", "-c", "cat /mnt/served/inside; echo $$"), 0, b"served\n1\n")
    subprocess.run(["zip", "-q", "archive.zip", "inside"], cwd=c.folder, check=True)
    archive = os.path.join(c.folder, "archive.zip")
    served = f'type=fuse,prog="fuse-zip {archive}",dst=/mnt/zip'
    want(c.hyla_run("run", "--rw", c.folder, "--mount", served, "dash", "-c", "sleep 100 & cat /mnt/zip/inside; echo new >/mnt/zip/new; cd /mnt/zip"), 0, b"served\n")
    new = subprocess.run(["unzip", "-p", archive, "new"], stdout=subprocess.PIPE, check=True)
    if new.stdout != b"new\n":
        raise Failure(f"the archive was not written: {new.stdout!r}")


@test
def fuse_without_privilege(c):
    """Somebody else than root mounts by fusermount3, which is set-user-ID and hands the device over a socket."""
    for program in ("bindfs", "fusermount3"):
        if not shutil.which(program):
            raise Skip("not installed: " + program)
    script = """mkdir /tmp/lower /tmp/upper; echo mine >/tmp/lower/f; bindfs -f --no-allow-other /tmp/lower /tmp/upper & server=$!
        until grep -q ' /tmp/upper fuse' /proc/mounts; do sleep 0.02; done
        grep -o 'nosuid,nodev,user_id=65534' /proc/mounts; cat /tmp/upper/f; fusermount3 -u /tmp/upper && wait $server; echo $?; ls /tmp/upper"""
    want(c.hyla_run("run", "--user", "65534", "dash", "-c", script), 0, b"nosuid,nodev,user_id=65534\nmine\n0\n")


@test
def mount_without_its_program(c):
    missing = c.hyla_run("run", "--mount", "type=fuse,prog=no-such-program,dst=/mnt/x", "true")
    if missing.status != 127 or b"no-such-program" not in missing.stderr:
        raise Failure(missing.describe())
    ended = c.hyla_run("run", "--mount", "type=fuse,prog=false,dst=/mnt/x", "true")
    if ended.status != 125 or b"ended with status 1" not in ended.stderr:
        raise Failure(ended.describe())


@test
def bind_can_be_written(c):
    want(c.hyla_run("run", "--bind", f"{c.folder}:/mnt", "dash", "-c", "echo x >/mnt/new"), 0)
    if not os.path.exists(c.folder + "/new"):
        raise Failure("nothing was written")


@test
def rootfs_is_the_root(c):
    busybox = shutil.which("busybox")
    if not busybox:
        raise Skip("not installed: busybox-static")
    os.makedirs(c.folder + "/root/bin")
    shutil.copy(busybox, c.folder + "/root/bin/busybox")
    outcome = c.hyla_run("run", "--rootfs", c.folder + "/root", "/bin/busybox", "ls", "/bin")
    want(outcome, 0, b"busybox\n")
    want(c.hyla_run("run", "--rootfs", c.folder + "/root", "/bin/busybox", "cat", "/etc/passwd"), 1, b"")


@test
def rootfs_cannot_be_left(c):
    busybox = shutil.which("busybox")
    if not busybox:
        raise Skip("not installed: busybox-static")
    os.makedirs(c.folder + "/root/bin")
    shutil.copy(busybox, c.folder + "/root/bin/busybox")
    c.file("secret", b"secret\n")
    os.symlink("../../secret", c.folder + "/root/way1")
    os.symlink(c.folder + "/secret", c.folder + "/root/way2")
    for way in ("/way1", "/way2", "/../secret", "/bin/../../secret"):
        want(c.hyla_run("run", "--rootfs", c.folder + "/root", "/bin/busybox", "cat", way), 1, b"")


@test
def cwd_is_used(c):
    want(c.hyla_run("run", "--cwd", "/usr/bin", "pwd"), 0, b"/usr/bin\n")
    want(c.hyla_run("run", "pwd"), 0, os.path.realpath(c.folder).encode() + b"\n")


@test
def env_is_set(c):
    want(c.hyla_run("run", "--env", "GREETING=hello", "dash", "-c", 'echo "$GREETING"'), 0, b"hello\n")
    want(c.hyla_run("run", "--env", "LC_ALL=C", "dash", "-c", 'echo "$LC_ALL $TZ"'), 0, b"C UTC\n")


@test
def user_is_taken(c):
    want(c.hyla_run("run", "--user", "12:34", "dash", "-c", "id -u; id -g"), 0, b"12\n34\n")
    want(c.hyla_run("run", "dash", "-c", "id -u"), 0, b"%d\n" % os.getuid())


@test
def hostname_is_shown(c):
    want(c.hyla_run("run", "--hostname", "pond", "uname", "-n"), 0, b"pond\n")


@test
def pids_limit_holds(c):
    outcome = c.hyla_run("run", "--pids", "8", "dash", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2 & done; wait; echo done")
    if outcome.timed_out or outcome.status == 0 and b"fork" not in outcome.stderr.lower():
        raise Failure(outcome.describe())


@test
def memory_limit_holds(c):
    outcome = c.hyla_run("run", "--memory", "64M", "/usr/bin/python3", "-c", "bytearray(200 << 20)")
    if outcome.timed_out or outcome.status == 0:
        raise Failure(outcome.describe())


@test
def memory_limit_counts_what_was_not_reserved(c):
    no_reserve = 0x4000
    script = f"import mmap; mmap.mmap(-1, 256 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | {no_reserve})"
    outcome = c.hyla_run("run", "--memory", "128M", "/usr/bin/python3", "-c", script)
    if outcome.timed_out or outcome.status != 1 or b"Cannot allocate memory" not in outcome.stderr:
        raise Failure(outcome.describe())


@test
def memory_limit_bounds_shared_memory_and_files(c):
    """What no address space owns counts as well: shared mappings, memfds, and files of the in-memory layer."""
    script = r"""
import errno, mmap, os
block = bytes(1 << 20)

def fill(fd):
    done = 0
    try:
        while done < 256:
            os.write(fd, block)
            done += 1
    except OSError as error:
        assert error.errno in (errno.ENOMEM, errno.ENOSPC), error
    assert 8 <= done < 96, done
    os.ftruncate(fd, 0)

def fill_twice(fd):
    for turn in range(2):
        os.lseek(fd, 0, os.SEEK_SET)
        fill(fd)
    os.close(fd)

for turn in range(4):  # what goes gives its charge back
    small = mmap.mmap(-1, 16 << 20)
    small.write(block)
    small.close()
    try:
        mmap.mmap(-1, 256 << 20)
        raise SystemExit("mapped")
    except OSError as error:
        assert error.errno == errno.ENOMEM, error
fill_twice(os.memfd_create("filled"))
fill_twice(os.open("/tmp/filled", os.O_RDWR | os.O_CREAT, 0o600))
print("bounded")
"""
    want(c.hyla_run("run", "--memory", "96M", "/usr/bin/python3", "-c", script), 0, b"bounded\n")


@test
def workers_may_be_chosen(c):
    for count in ("1", "2", "4"):
        want(c.hyla_run("run", "--workers", count, "dash", "-c", "echo a | cat | cat"), 0, b"a\n")


@test
def trace_goes_to_a_file(c):
    log = os.path.join(c.folder, "log")
    want(c.hyla_run("run", f"--trace={log}", "dash", "-c", "cat /etc/hostname; kill -TERM $$"), -signal.SIGTERM)
    with open(log, encoding="utf-8") as file:
        text = file.read()
    for wanted in ("execve(", "openat(AT_FDCWD, \"/etc/hostname\", O_RDONLY", "+++ exited with 0 +++", "--- SIGCHLD {", "kill(1, SIGTERM", "+++ killed by SIGTERM +++"):
        if wanted not in text:
            raise Failure(f"no {wanted!r} in the trace:\n{text[-1500:]}")


@test
def trace_is_filtered(c):
    log = os.path.join(c.folder, "log")
    want(c.hyla_run("run", f"--trace={log}", "--trace-calls", "openat,close", "cat", "/etc/hostname"), 0)
    with open(log, encoding="utf-8") as file:
        calls = {match.group(1) for match in re.finditer(r"^[\d.]+ (\w+)\(", file.read(), re.MULTILINE)}
    if calls != {"openat", "close"}:
        raise Failure(f"calls: {calls}")


@test
def statistics_are_printed(c):
    outcome = c.hyla_run("run", "--stats", "cat", "/etc/hostname")
    if outcome.status or b"openat" not in outcome.stderr or b"calls served" not in outcome.stderr:
        raise Failure(outcome.describe())


@test
def options_end_at_the_program(c):
    want(c.hyla_run("run", "echo", "--trace", "-v"), 0, b"--trace -v\n")
    want(c.hyla_run("run", "--", "echo", "--", "x"), 0, b"-- x\n")


@test
def script_starts_by_its_interpreter(c):
    path = c.file("script", b"#!/bin/sh\necho \"$0\" \"$1\"\n", 0o755)
    want(c.hyla_run("run", path, "one"), 0, path.encode() + b" one\n")


def tests(scratch, hyla):
    for function in TESTS:
        def run(function=function):
            with tempfile.TemporaryDirectory(prefix="command-", dir=scratch) as folder:
                function(Context(hyla, folder))
        yield Test(f"command {function.__name__}", run)
