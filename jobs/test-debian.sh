#!/usr/bin/env bash
# Build and test in a bare Debian of another release: a chroot that debootstrap makes and this script removes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: test-debian.sh [--root DIR] RELEASE [ARGUMENT OF test.sh...]

Make a minimal Debian RELEASE (bookworm, trixie) with debootstrap, copy this tree into it and run jobs/test.sh there, which
installs what is missing. Needs root, the package debootstrap and a Debian mirror (DEBIAN_MIRROR, default
debootstrap's own). Example: test-debian.sh trixie --no-asan -L unit

  --root DIR  use DIR: the system there or a new one, which is kept, with what was
              built in it (default: a temporary directory, removed at the end)
TEXT
}

root=
while [ $# -gt 0 ]; do
  case $1 in
    --root) [ $# -gt 1 ] || die "--root needs a directory"; root=$2; shift ;;
    --help|-h) usage; exit 0 ;;
    -*) die "unknown argument '$1' (see --help)" ;;
    *) break ;;
  esac
  shift
done
[ $# -gt 0 ] || { usage >&2; exit 2; }
release=$1
shift
[ "$(id -u)" -eq 0 ] || die "a chroot needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing (Debian: apt-get install debootstrap)"

keep=${root:+1}
root=${root:-$(mktemp -d)}
clean() {
  for mounted in dev/shm dev sys proc; do
    if mountpoint -q "$root/$mounted"; then umount "$root/$mounted"; fi
  done
  [ -n "$keep" ] || rm -rf --one-file-system "$root"
}
trap clean EXIT

if [ ! -x "$root/usr/bin/apt-get" ]; then
  say "making a minimal Debian $release in $root"
  debootstrap --variant=minbase "$release" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >&2
fi
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
for mounted in proc sys dev dev/shm; do
  mountpoint -q "$root/$mounted" || mount --bind "/$mounted" "$root/$mounted"
done

mkdir -p "$root/pons"
find "$root/pons" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} + # of an earlier run
tar -C "$PONS_ROOT" --exclude=./build --exclude=./.git -c . | tar -C "$root/pons" -x
model=()
if [ -n "${PONS_SMOLLM2:-}" ]; then # else test.sh fetches it
  cp -L "$PONS_SMOLLM2" "$root/pons/model.gguf"
  model=(PONS_SMOLLM2=/pons/model.gguf)
fi
say "running jobs/test.sh $* in it"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "${model[@]}" bash /pons/jobs/test.sh "$@"
