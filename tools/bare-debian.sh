#!/bin/sh
# Proves that a bare Debian 12 with only make and git is enough: makes such a system in a folder with
# debootstrap, clones this checkout (what is committed) into it, and runs `make run` and `make test` there.
#
#   tools/bare-debian.sh [FOLDER]     as root; FOLDER is removed afterwards unless it was named
#
# Packages come from wherever this machine's apt gets them: its configuration is copied in at run time.
# $DEBIAN_MIRROR names the mirror for debootstrap itself (default: the first one apt is configured with).
set -eu

# In a mount namespace of its own: what is mounted below is gone when the script is, however it ends.
if [ -z "${BARE_DEBIAN_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "bare-debian: must be run by root (debootstrap, chroot)" >&2; exit 1; }
    BARE_DEBIAN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

here=$(cd "$(dirname "$0")/.." && pwd)
keep=${1:+yes}
root=${1:-$(mktemp -d /var/tmp/bare-debian.XXXXXX)}

cleanup() {
    umount "$root/proc" "$root/dev/pts" 2> /dev/null || true
    [ -n "$keep" ] || rm -rf --one-file-system "$root"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# shellcheck disable=SC2016 # apt's own variables
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
    awk '$2 == "bookworm" { print $1; exit }')}

if [ ! -e "$root/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=make,git,ca-certificates bookworm "$root" "$mirror"
fi

# The host's way to its mirrors: sources, keys, proxies.
rm -f "$root/etc/apt/sources.list"
for part in sources.list.d apt.conf.d auth.conf.d keyrings trusted.gpg.d; do
    [ ! -d "/etc/apt/$part" ] || cp -rL "/etc/apt/$part" "$root/etc/apt/"
done
[ ! -d /usr/share/keyrings ] || cp -rL /usr/share/keyrings "$root/usr/share/"
[ ! -d /usr/local/share/ca-certificates ] || cp -rL /usr/local/share/ca-certificates "$root/usr/local/share/"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp -L /etc/hosts "$root/etc/hosts"

mount --bind /proc "$root/proc"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts" # the tests use a pseudo-terminal
ln -sf pts/ptmx "$root/dev/ptmx"

rm -rf "$root/clone"
git clone -q "$here" "$root/clone"

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent TERM=dumb \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        chroot "$root" sh -c "cd /clone && $1" < /dev/null
}

echo "==== bare: $(inside 'cat /etc/debian_version; dpkg -l | grep -c ^ii; command -v gcc cmake python3 || echo no compiler, no cmake, no python')"
echo "==== make run"
inside 'make run'
echo "==== make deps again: nothing to install, nothing to say"
[ -z "$(inside 'make deps' 2>&1)" ]
echo "==== make test"
inside 'make test'
echo "==== make install, from elsewhere, and gone again"
inside 'make install PREFIX=/usr > /dev/null'
inside 'cd / && my-llm --version && ls -l /usr/share/man/man1/my-llm.1 /usr/lib/*/libmy_llm.so'
inside 'make uninstall > /dev/null'
[ ! -e "$root/usr/bin/my-llm" ] && [ ! -e "$root/usr/share/my-llm" ]
echo "==== bare-debian: all of it passed"
