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
