#!/usr/bin/env bash
# README lists every recipe key with its default, every option of the published programs, every exit code, every room.
set -uo pipefail
cd "$PONS_SOURCE" || exit 1
failures=0
fail() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

keys=$(grep -oE '^    \{"[a-z0-9_.]+", PONS_KEY' src/config/recipe_keys.c | cut -d'"' -f2)
[ "$(wc -l <<<"$keys")" -gt 30 ] || fail "no keys found in src/config/recipe_keys.c"
for key in $keys; do
  grep -qF "| \`$key\` |" README.md || fail "README.md: no row for the recipe key $key"
done
for key in $(sed -n '/^## Recipe/,/^## /p' README.md | grep -oE '^\| `[a-z0-9_.]+`' | cut -d'`' -f2); do
  grep -qx "$key" <<<"$keys" || fail "README.md: a row for $key, which is no recipe key"
done

options=$(grep -oE '^    (VALUE|FLAG)\("[a-z0-9_]+"' src/config/reference_options.c | cut -d'"' -f2)
[ "$(wc -l <<<"$options")" -gt 80 ] || fail "no options found in src/config/reference_options.c"
for option in $options; do
  grep -qF "\`$option\`" README.md || fail "README.md does not say what becomes of the option $option"
done

grep -oE 'X\([A-Z_]+, [0-9]+, "[^"]+"' include/pons/status.h | sed -E 's/X\([A-Z_]+, ([0-9]+), "(.*)"/| \1 | \2 |/' |
  while read -r row; do grep -qxF "$row" README.md || echo "$row"; done >"${TMPDIR:-/tmp}/readme.$$"
[ -s "${TMPDIR:-/tmp}/readme.$$" ] && fail "README.md lacks exit codes: $(cat "${TMPDIR:-/tmp}/readme.$$")"
rm -f "${TMPDIR:-/tmp}/readme.$$"

grep -oE '^pons_room\([a-z]+ [0-9]+' CMakeLists.txt | sed -E 's/pons_room\(([a-z]+) ([0-9]+)/\1 \2/' | {
  bad=0
  while read -r room level; do
    grep -q "^| $level | $room |" README.md || { echo "FAILED: README.md: no row for room $room of level $level"; bad=1; }
  done
  exit $bad
} || failures=$((failures + 1))
[ $failures = 0 ]
