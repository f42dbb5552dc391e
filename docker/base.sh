#!/bin/sh
# Makes the base image available under the name that the Dockerfiles use:
# kept when it is there, pulled when the hub can be reached, else bootstrapped from Debian's packages.
#
#   docker/base.sh [NAME]          default: debian:bookworm-slim
#
# A bootstrapped base carries this machine's CA bundle in its trust store, so that programs in the
# image reach the network through a TLS-inspecting proxy as this machine does.
set -eu

name=${1:-debian:bookworm-slim}
docker=${DOCKER:-docker}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
ca_bundle=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
epoch=1767225600 # 2026-01-01: no file in the base is younger, so that two bootstraps give one image

fail() {
  echo "base.sh: $*" >&2
  exit 1
}

"$docker" info >/dev/null 2>&1 ||
  fail "no Docker engine answers: start it (systemctl start docker), or work without one: BACKEND=process"
if "$docker" image inspect "$name" >/dev/null 2>&1; then
  exit 0
fi
echo "base.sh: pulling $name" >&2
if timeout 300 "$docker" pull --quiet "$name" >/dev/null 2>&1; then
  exit 0
fi

case $name in
  debian:bookworm*) ;;
  *) fail "$name cannot be pulled, and only debian:bookworm-slim can be bootstrapped: check the network, or set BASE=debian:bookworm-slim" ;;
esac
command -v debootstrap >/dev/null || fail "$name cannot be pulled; to make it here install debootstrap (apt-get install debootstrap)"
[ "$(id -u)" = 0 ] || fail "$name cannot be pulled; debootstrap needs root: sudo make base"

echo "base.sh: no image hub; bootstrapping $name from $mirror (about a minute)" >&2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
root=$folder/root
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$folder/log" 2>&1 ||
  { tail -n 5 "$folder/log" >&2; fail "debootstrap failed: is $mirror reachable? (DEBIAN_MIRROR names another)"; }

# What the official slim image does: no documentation, no translations, and none from later packages.
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
for excluded in doc info lintian linda locale man groff; do
  echo "path-exclude /usr/share/$excluded/*"
done >"$root/etc/dpkg/dpkg.cfg.d/slim"
echo 'path-include /usr/share/doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/slim"
for excluded in info lintian linda locale man groff; do
  rm -rf "$root/usr/share/$excluded"/*
done
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete

mkdir -p "$root/usr/local/share/ca-certificates"
cp "$ca_bundle" "$root/usr/local/share/ca-certificates/host.crt"
chroot "$root" update-ca-certificates >"$folder/log" 2>&1 || { cat "$folder/log" >&2; fail "$ca_bundle is not a CA bundle"; }
printf 'deb %s bookworm main\ndeb %s bookworm-updates main\ndeb http://deb.debian.org/debian-security bookworm-security main\n' \
  "$mirror" "$mirror" >"$root/etc/apt/sources.list"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/var/cache/ldconfig/* \
  "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/etc/machine-id
for mount_point in resolv.conf hosts hostname; do # the engine mounts over these; were they missing, it would make them anew
  : >"$root/etc/$mount_point"
done
find "$root" -newermt "@$epoch" -exec touch --no-dereference --date "@$epoch" {} +

tar --create --sort=name --numeric-owner --directory "$root" --file "$folder/root.tar" .
"$docker" import --change 'CMD ["bash"]' "$folder/root.tar" "$name" >/dev/null
echo "base.sh: made $name ($("$docker" image inspect --format '{{.Size}}' "$name" | awk '{printf "%.0f MB", $1 / 1e6}'))" >&2
