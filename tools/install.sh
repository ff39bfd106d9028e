#!/bin/sh
# Installs the command, its manual page and its completion.   DESTDIR=… install.sh BUILD PREFIX
set -eu
cd "$(dirname "$0")/.."
build=$1
root=${DESTDIR:-}$2
install -D -m 755 "$build/cmd/hyla" "$root/bin/hyla"
[ ! -e "$build/hyla-riscv64.img" ] || install -D -m 644 "$build/hyla-riscv64.img" "$root/lib/hyla/hyla-riscv64.img"
install -D -m 644 man/hyla.1 "$root/share/man/man1/hyla.1"
install -D -m 644 completions/hyla.bash "$root/share/bash-completion/completions/hyla"
for page in server ps ports; do
    install -D -m 644 "man/hyla-$page.1" "$root/share/man/man1/hyla-$page.1"
done
if [ -f "$build/lib/libhyla.so" ]; then
    install -D -m 644 "$build/lib/libhyla.a" "$root/lib/libhyla.a"
    install -D -m 755 "$build/lib/libhyla.so.0.1.0" "$root/lib/libhyla.so.0.1.0"
    ln -sf libhyla.so.0.1.0 "$root/lib/libhyla.so.0"
    ln -sf libhyla.so.0 "$root/lib/libhyla.so"
    for header in lib/include/hyla/hyla.h "$build"/lib/include/hyla/*.h; do
        install -D -m 644 "$header" "$root/include/hyla/$(basename "$header")"
    done
    mkdir -p "$root/lib/pkgconfig" "$root/share/man/man2"
    sed -e "s|^prefix=.*|prefix=$2|" -e 's|^includedir=.*|includedir=${prefix}/include|' -e 's|^libdir=.*|libdir=${prefix}/lib|' \
        "$build/lib/hyla.pc" >"$root/lib/pkgconfig/hyla.pc"
    python3 tools/gen_native.py --man "$root/share/man/man2" abi/native/calls/types.def abi/native/calls/*.tbl
fi
echo "installed beneath $root"
