#!/bin/sh
# Installs what is missing, and says why.   deps.sh GROUP...     groups: build run check bench
#
# As root through apt-get, else through sudo when it asks no password; without either it prints the line to type and
# fails. What is there already is never touched, so a second run does nothing.
set -eu

# group|package|how to see that it is there|reason
packages='
build|gcc|command -v gcc|compiles Hyla
build|libc6-dev|test -e /usr/include/stdio.h|headers and static libc for the server
build|meson|command -v meson|configures the build
build|ninja-build|command -v ninja|runs the build
build|python3|command -v python3|generates the call dispatch; a program to run
build|libarchive-dev|test -e /usr/include/archive.h|reads archives in the archive file server (--mount type=tar, --root-image)
run|busybox-static|command -v busybox|a shell with applets, one of the demonstrated programs
run|gcc|command -v gcc|compiles a program under Hyla in the demonstration
check|bash|command -v bash|job control under test
check|gawk|command -v gawk|a program under test
check|xz-utils|command -v xz|threads in a real program under test
check|lua5.4|command -v lua5.4|a program under test
check|musl-tools|command -v musl-gcc|static programs over another libc
check|cpio|command -v cpio|makes archives for the archive server
check|less|command -v less|a full-screen program under test
check|vim-tiny|command -v vim || command -v vim.tiny|a full-screen program under test
check|libuv1-dev|test -e /usr/include/uv.h|the example of a watcher in a libuv loop
check|libevent-dev|test -e /usr/include/event2/event.h|the same in a libevent loop
check|pkg-config|command -v pkg-config|the guide for compatibility layers, followed literally
check|stress-ng|command -v stress-ng|stressors of system calls
check|squashfuse|command -v squashfuse|a FUSE file system under test: read-only
check|squashfs-tools|command -v mksquashfs|makes the image for it
check|fuse2fs|command -v fuse2fs|a FUSE file system under test: ext4, written and then checked
check|bindfs|command -v bindfs|a FUSE file system under test: a folder again
check|fuse-zip|command -v fuse-zip|a FUSE file system under test: an archive that changes
check|zip|command -v zip|makes the archive for it
check|unzip|command -v unzip|and looks at what became of it
check|unionfs-fuse|command -v unionfs|a FUSE file system under test: two folders over each other
check|libfuse3-dev|test -e /usr/include/fuse3/fuse.h|its example programs are FUSE file systems under test
check|fuse3|command -v fusermount3|mounting and unmounting FUSE file systems without privilege
check|make|command -v make|a program under test
check|clang|command -v clang || command -v clang-14|the second compiler, and sanitizers
check|gcc-riscv64-linux-gnu|command -v riscv64-linux-gnu-gcc|compiles the RISC-V kernel and its test programs
check|libc6-dev-riscv64-cross|test -e /usr/riscv64-linux-gnu/lib/libc.a|static test programs for RISC-V
check|qemu-system-misc|command -v qemu-system-riscv64|the machine that hyla boot starts
check|opensbi|test -e /usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin|the firmware of that machine
bench|util-linux|command -v taskset|pins benchmarks to one CPU
'

missing=
reasons=
for group do
    list=$(printf '%s\n' "$packages" | grep "^$group|" || true)
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        rest=${line#*|}
        package=${rest%%|*}
        reason=${line##*|}
        test=${rest#*|}
        test=${test%|*}
        if sh -c "$test" >/dev/null 2>&1; then
            continue
        fi
        case " $missing " in *" $package "*) continue ;; esac
        missing="$missing $package"
        reasons="$reasons
  $package: $reason"
    done <<LIST
$list
LIST
done

[ -n "$missing" ] || exit 0
echo "Missing, and to be installed with apt-get:$reasons"
if [ "$(id -u)" = 0 ]; then
    as=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as='sudo -n'
else
    echo "No rights to install. Type:" >&2
    echo "  sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # words on purpose
$as apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    $as apt-get update
    $as apt-get install -y --no-install-recommends $missing
}
