#!/bin/sh
# Installs the command, its manual page and its completion.   DESTDIR=… install.sh BUILD PREFIX
set -eu
cd "$(dirname "$0")/.."
build=$1
root=${DESTDIR:-}$2
install -D -m 755 "$build/cmd/hyla" "$root/bin/hyla"
install -D -m 644 man/hyla.1 "$root/share/man/man1/hyla.1"
install -D -m 644 completions/hyla.bash "$root/share/bash-completion/completions/hyla"
echo "installed beneath $root"
