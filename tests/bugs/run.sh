#!/bin/sh
# Shows that the simulator finds what it is for: applies each *.patch beside this script, a deliberate bug, to a copy of
# the tree, builds the simulator there and runs its tests with their usual number of schedules. A bug counts as found when a
# test fails and the printed seed fails again. The status is 0 only when all are found.
#
#   tests/bugs/run.sh [NAME.patch...]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/hyla-bugs-XXXXXX")
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
tree=$copy/tree
build=$copy/build
sim=$build/body/sim/sim_test
passed=0
failed=0

fail() {
    echo "bugs: $*" >&2
    exit 1
}

build_sim() {
    ninja -C "$build" -j "${JOBS:-1}" body/sim/sim_test >"$copy/build.log" 2>&1
}

# The first failing test's line and the seed line after it.
hunt() {
    "$sim" --stop >"$copy/out" 2>"$copy/err" || true
    test=$(sed -n 's/^FAIL \([^:]*\):.*/\1/p' "$copy/out")
    schedules=$(sed -n 's/^FAIL [^:]*: \([0-9]*\) schedules.*/\1/p' "$copy/out")
    seed=$(sed -n 's/^ *seed \([0-9]*\);.*/\1/p' "$copy/out")
    [ -n "$test" ] && [ -n "$seed" ]
}


try_bug() {
    name=$(basename "$1" .patch)
    patch -s -p1 -d "$tree" <"$1" || fail "$name: the patch no longer applies: renew it"
    if ! build_sim; then
        tail -20 "$copy/build.log" >&2
        fail "$name: does not build"
    fi
    if ! hunt; then
        echo "NOT FOUND  $name"
        failed=$((failed + 1))
    elif ! "$sim" --test "$test" --seed "$seed" >"$copy/out2" 2>"$copy/err2"; then
        echo "found      $name: $test, schedule $schedules, seed $seed"
        head -1 "$copy/err" | sed 's/^/           /'
        passed=$((passed + 1))
    else
        echo "NO REPLAY  $name: $test, seed $seed"
        failed=$((failed + 1))
    fi
    patch -s -R -p1 -d "$tree" <"$1"
}

mkdir "$tree"
(cd "$root" && tar -cf - --exclude=.git --exclude='./build*' --exclude=__pycache__ .) | tar -xf - -C "$tree"
meson setup "$build" "$tree" >"$copy/meson.log" 2>&1 || { tail -20 "$copy/meson.log" >&2; fail "the copy cannot be configured"; }
build_sim || { tail -20 "$copy/build.log" >&2; fail "the copy cannot be built"; }
if hunt; then
    cat "$copy/out" "$copy/err" >&2
    fail "the simulator's tests fail without any bug"
fi

[ $# -gt 0 ] || set -- "$here"/*.patch
for bug in "$@"; do
    try_bug "$bug"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
