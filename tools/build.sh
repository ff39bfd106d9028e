#!/bin/sh
# Configures when needed, then builds.   build.sh FOLDER JOBS [TARGET...]
#
# Meson lists the sources when it configures (tools/sources.py), so a file that came or went must make it configure again:
# the list of the last time is kept in the build folder and compared.
set -eu
cd "$(dirname "$0")/.."
build=$1
jobs=$2
shift 2

list=$(find kernel abi arch body cmd lib tests bench examples \( -name '*.[cS]' -o -name '*.tbl' -o -name meson.build \) | LC_ALL=C sort)
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" >"${TMPDIR:-/tmp}/hyla-meson.$$" 2>&1 || { cat "${TMPDIR:-/tmp}/hyla-meson.$$" >&2; rm -f "${TMPDIR:-/tmp}/hyla-meson.$$"; exit 1; }
    rm -f "${TMPDIR:-/tmp}/hyla-meson.$$"
elif [ "$list" != "$(cat "$build/sources.list" 2>/dev/null)" ]; then
    meson setup --reconfigure "$build" >/dev/null
fi
printf '%s\n' "$list" >"$build/sources.list"
for target do
    shift
    [ "$target" = hyla ] && target=cmd/hyla
    set -- "$@" "$target"
done
ninja -C "$build" -j "$jobs" "$@"
[ ! -e "$build/cmd/hyla" ] || ln -sf cmd/hyla "$build/hyla"

# The RISC-V kernel, for `hyla boot`: where its compiler is installed.
command -v riscv64-linux-gnu-gcc >/dev/null 2>&1 || exit 0
bare=$build/riscv64
if [ ! -f "$bare/build.ninja" ]; then
    meson setup --cross-file tools/riscv64.cross "$bare" >"$build/riscv64-setup.log" 2>&1 || { cat "$build/riscv64-setup.log" >&2; exit 1; }
elif [ "$list" != "$(cat "$bare/sources.list" 2>/dev/null)" ]; then
    meson setup --reconfigure "$bare" >/dev/null
fi
printf '%s\n' "$list" >"$bare/sources.list"
[ $# -eq 0 ] || set -- body/riscv64/hyla-riscv64.img
ninja -C "$bare" -j "$jobs" "$@"
ln -sf riscv64/body/riscv64/hyla-riscv64.img "$build/hyla-riscv64.img"
