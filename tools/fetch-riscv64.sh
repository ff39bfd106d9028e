#!/bin/sh
# Fetches Debian's riscv64 programs and unpacks them into a folder that `hyla boot --root` can take.
#
#   fetch-riscv64.sh FOLDER [PACKAGE...]
#
# Through apt-get with a configuration of its own: the mirror is the one this machine's own sources name, the signatures are
# checked with Debian's keyring, nothing of the machine's package state is touched. Packages come with what they depend on.
# The release is trixie, the first with riscv64, or sid where the mirror's trixie does not verify; HYLA_RISCV64_SUITE names another.
# A folder that is complete already is left alone. Nothing fetched is ever part of the source tree.
set -eu
folder=$1
shift
[ $# -gt 0 ] || set -- busybox-static dash bash coreutils diffutils findutils grep sed gawk tar gzip python3-minimal lua5.4 perl-base
suites=${HYLA_RISCV64_SUITE:-trixie sid}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mark=$folder/.fetched
if [ "$(cat "$mark" 2>/dev/null)" = "$suites: $*" ]; then
    exit 0
fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || { echo "fetch-riscv64: apt knows no Debian mirror on this machine" >&2; exit 1; }
[ -e "$keyring" ] || { echo "fetch-riscv64: no $keyring: install debian-archive-keyring" >&2; exit 1; }

rm -rf "$folder" "$folder.apt"
mkdir -p "$folder" "$folder.apt/lists/partial" "$folder.apt/archives/partial"
apt=$(cd "$folder.apt" && pwd)
: >"$apt/status"
cat >"$apt/apt.conf" <<CONF
APT::Architecture "riscv64";
APT::Architectures { "riscv64"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::CompressionTypes::Order { "gz"; "xz"; };
Acquire::By-Hash "force";
Acquire::Retries "2";
APT::Sandbox::User "";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
CONF
APT_CONFIG=$apt/apt.conf
export APT_CONFIG
fetched=
for suite in $suites; do
    echo "deb [signed-by=$keyring arch=riscv64] $mirror $suite main" >"$apt/sources.list"
    if apt-get -qq update >"$apt/log" 2>&1 && apt-get -qq -y --download-only install "$@" >>"$apt/log" 2>&1; then
        fetched=$suite
        break
    fi
    echo "fetch-riscv64: $suite cannot be had from this machine's mirror:" >&2
    cat "$apt/log" >&2
    rm -rf "$apt/lists" "$apt/archives"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
done
[ -n "$fetched" ] || { rm -rf "$folder"; exit 1; }
echo "fetch-riscv64: programs of Debian $fetched"

# /bin, /lib and /sbin are links into /usr; base-files, which would make them, need not be among the packages.
mkdir -p "$folder/usr/bin" "$folder/usr/lib" "$folder/usr/sbin"
for name in bin lib sbin; do
    ln -s "usr/$name" "$folder/$name"
done
for package in "$apt"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --keep-directory-symlink --no-same-owner
done
rm -rf "$folder/usr/share/doc" "$folder/usr/share/man" "$folder/usr/share/locale" "$folder/var/cache" "$apt"
mkdir -p "$folder/proc" "$folder/dev" "$folder/tmp" "$folder/root"
[ -e "$folder/usr/bin/awk" ] || ln -s gawk "$folder/usr/bin/awk"
[ -e "$folder/usr/bin/sh" ] || ln -s dash "$folder/usr/bin/sh"
[ -e "$folder/etc/passwd" ] || printf 'root:x:0:0:root:/root:/bin/sh\n' >"$folder/etc/passwd"
[ -e "$folder/etc/group" ] || printf 'root:x:0:\n' >"$folder/etc/group"
echo "$suites: $*" >"$mark"
