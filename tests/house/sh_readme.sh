#!/usr/bin/env bash
# The pages say what the program does: README.md is short and lists the exit codes, configs/README.md holds the table of recipe
# keys as printed and every option of the published programs, src/README.md every room with its level. Links between pages lead
# to files and headings that exist.
set -uo pipefail
cd "$PONS_SOURCE" || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
fail() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

[ "$(wc -l <README.md)" -le 150 ] || fail "README.md has more than 150 lines"

"$PONS_BIN" compress --keys >"$scratch/keys" || fail "pons compress --keys"
[ "$(wc -l <"$scratch/keys")" -gt 30 ] || fail "pons compress --keys prints no table"
sed -n '/^<!-- keys: begin -->$/,/^<!-- keys: end -->$/p' configs/README.md | sed '1d;$d' >"$scratch/page"
diff "$scratch/page" "$scratch/keys" || fail "configs/README.md: the table of keys differs from pons compress --keys"

options=$(grep -oE '^    (VALUE|FLAG)\("[a-z0-9_]+"' src/config/reference_options.c | cut -d'"' -f2)
[ "$(wc -l <<<"$options")" -gt 80 ] || fail "no options found in src/config/reference_options.c"
for option in $options; do
  grep -qF "\`$option\`" configs/README.md || fail "configs/README.md does not say what becomes of the option $option"
done

while read -r row; do
  grep -qxF "$row" README.md || fail "README.md lacks the exit code $row"
done < <(grep -oE 'X\([A-Z_]+, [0-9]+, "[^"]+"' include/pons/status.h | sed -E 's/X\([A-Z_]+, ([0-9]+), "(.*)"/| \1 | \2 |/')

while read -r room level; do
  grep -q "^| $level | $room |" src/README.md || fail "src/README.md: no row for room $room of level $level"
done < <(grep -oE '^pons_room\([a-z]+ [0-9]+' CMakeLists.txt | sed -E 's/pons_room\(([a-z]+) ([0-9]+)/\1 \2/')

# The anchor of a heading, as GitHub makes it: lower case, spaces to hyphens, other punctuation dropped.
anchors() { sed -n 's/^##* //p' "$1" | tr '[:upper:] ' '[:lower:]-' | sed 's/[^a-z0-9_-]//g'; }
links=0
while read -r page; do
  while read -r link; do
    target=${link%%#*}
    file=$page
    [ -z "$target" ] || file=$(dirname "$page")/$target
    links=$((links + 1))
    if [ ! -e "$file" ]; then
      fail "$page links to $link, which does not exist"
    elif [[ $link == *#* ]] && ! anchors "$file" | grep -qxF "${link#*#}"; then
      fail "$page links to $link: no such heading"
    fi
  done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//' | grep -v '^http')
done < <(find . -name '*.md' -not -path './build/*' -not -path './.git/*')
[ $links -gt 20 ] || fail "only $links links found"
[ $failures = 0 ]
