#!/usr/bin/env bash
# No circle of files. Of sources: an edge leads from a file to each file that defines a symbol it uses (nm on the object files of
# the rooms). Of headers: an edge leads to each header that it includes.
# The list below names the circles that are still there, one a line; it may only shrink: the test also fails when a listed line
# is no circle any more.
set -euo pipefail
known='
'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Objects of sources that were since removed may lie about in an old build folder.
list_objects() {
  cd "$PONS_BUILD"
  find CMakeFiles -path '*/pons_*.dir/src/*' -name '*.c.o' | while read -r object; do
    source=${object#*.dir/}
    if [ -f "$PONS_SOURCE/${source%.o}" ]; then echo "$object"; fi
  done
}
# levels.c stands for the variants of functions of other files (src/kern/levels.h): edges lead to those files.
list_objects | grep -v '/kern/levels.c.o$' | (cd "$PONS_BUILD" && xargs nm -A -g -f posix) |
  sed -E 's/^(\S+ \S+)_(avx2|avx512|avx512_bf16|amx) /\1 /' >"$work/symbols"
(cd "$PONS_SOURCE" && grep -rHoE '^#include "[a-z]+/[^"]+"' src --include='*.h') >"$work/includes"
[ "$(wc -l <"$work/symbols")" -gt 1000 ] || { echo "too few symbols in the objects of $PONS_BUILD"; exit 1; }

# Prints a line of files for each circle (strongly connected component).
cat >"$work/circles.awk" <<'END'
function reach(root, from, to,   stack, top, node, n, next_, i) { # marks in to[] what root reaches over from[]
    top = 1; stack[1] = root
    while (top) {
        node = stack[top--]
        n = split(from[node], next_, " ")
        for (i = 1; i <= n; i++)
            if (!(next_[i] in to)) { to[next_[i]] = 1; stack[++top] = next_[i] }
    }
}
function add(a, b) {
    if (a != b && !((a, b) in edge)) { edge[a, b] = 1; after[a] = after[a] " " b; before[b] = before[b] " " a }
}
FILENAME ~ /symbols$/ {
    file = $1
    sub(/^.*\.dir\//, "", file); sub(/\.o:$/, "", file)
    if ($3 == "U") uses[file, $2] = 1
    else defines[$2] = file
    next
}
{
    split($0, part, /:#include "|"/)
    add(part[1], "src/" part[2])
}
END {
    for (key in uses) {
        split(key, part, SUBSEP)
        if (part[2] in defines) add(part[1], defines[part[2]])
    }
    for (file in after) {
        if (file in done) continue
        split("", down); split("", up)
        reach(file, after, down)
        if (!(file in down)) continue
        reach(file, before, up)
        line = ""
        for (other in down) if (other in up) { done[other] = 1; print other | "sort"; }
        close("sort"); print ""
    }
}
END
awk -f "$work/circles.awk" "$work/symbols" "$work/includes" |
  awk 'BEGIN { RS = ""; FS = "\n" } { $1 = $1; print }' | sort >"$work/found"
printf '%s' "$known" | sed '/^$/d' | sort >"$work/known"

status=0
while read -r circle; do
  echo "circle of files: $circle"
  status=1
done < <(comm -23 "$work/found" "$work/known")
while read -r circle; do
  echo "listed in tests/house/sh_circles.sh, but no longer a circle (remove or shorten the line): $circle"
  status=1
done < <(comm -13 "$work/found" "$work/known")
exit $status
