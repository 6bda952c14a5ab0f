#!/bin/sh
# Installs the Debian packages that building and testing my-llm need, and says what each is for.
# With --dev also those of the linters and of the continuous integration. When nothing is missing it
# does nothing, says nothing, and needs no network.
set -eu

packages='
gcc                  the C compiler
libc6-dev            the C library to compile against
cmake                prepares the build
ninja-build          runs it
pkg-config           tells the build where the libraries are
libdnnl-dev          oneDNN: matrix products
libjansson-dev       jansson: JSON
libcurl4-gnutls-dev  libcurl: downloads
ca-certificates      the certificates that downloads over https are checked against
nettle-dev           nettle: SHA-256
libzip-dev           libzip: zip archives
liblzma-dev          liblzma: texts in .xz
zlib1g-dev           zlib: texts in .gz
libedit-dev          libedit: line editing at the prompt
gnuplot-nox          gnuplot: the plots of a training run (without it, runs go on and say so)
libcmocka-dev        cmocka: the unit tests
python3              runs the end-to-end tests
python3-pytest       the end-to-end tests themselves
'
dev_packages='
git                  lists the files of the checkout
clang                the second compiler, and the fuzzer
libclang-rt-14-dev   the sanitizers and libFuzzer of clang
libomp-dev           OpenMP of clang
clang-format         the layout of the code
clang-tidy           finds mistakes in the code
cppcheck             finds others
'
[ "${1:-}" != --dev ] || packages="$packages$dev_packages"

if ! command -v apt-get > /dev/null 2>&1 || ! command -v dpkg-query > /dev/null 2>&1; then
    echo "make deps: this is not a Debian-like system, so nothing is installed; my-llm needs (Debian's names):" >&2
    echo "$packages" >&2
    exit 0
fi

missing=
for name in $(echo "$packages" | awk 'NF { print $1 }'); do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null || true)
    [ "$state" = installed ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

echo "These packages are missing and will be installed by apt-get:"
for name in $missing; do
    echo "$packages" | awk -v name="$name" '$1 == name { $1 = ""; printf "  %-20s%s\n", name, $0 }'
done

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null 2>&1; then
        echo "Neither root nor sudo: please have them installed: apt-get install$missing" >&2
        exit 1
    fi
    sudo='sudo env DEBIAN_FRONTEND=noninteractive'
fi
export DEBIAN_FRONTEND=noninteractive
# A mirror that cannot be reached right now matters only if the installation then fails.
$sudo apt-get update -qq || true
# shellcheck disable=SC2086 # a list of words
$sudo apt-get install -y -qq --no-install-recommends $missing
