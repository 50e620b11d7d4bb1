#!/usr/bin/env bash
# man.sh PROGRAM FILE: write pons(1), the text of pons.1.in with the help texts of the program.
set -euo pipefail
program=$1 out=$2
text=$(dirname "${BASH_SOURCE[0]}")/pons.1.in

# Help as argp prints it to troff: usage, paragraphs, options with their text, headings of groups.
to_troff() {
  awk -v common="${1:-}" '
    function escape(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s ~ /^[.\x27]/ ? "\\&" s : s }
    /^Usage: /          { sub(/^Usage: /, ""); print ".SS \"" escape($0) "\""; usage = 1; next }
    usage && /^ /       { sub(/^ +/, ""); print ".I " escape($0); print ".PP"; usage = 0; next }
                        { usage = 0 }
    /^ Common options:/ { shared = 1 }
    /^[^ ]/             { shared = 0 }
    shared && !common   { next }
    /^ *$/              { print ".PP"; next }
    /^ [^ -].*:$/       { sub(/^ /, ""); print ".PP"; print ".I " escape($0); next }
    match($0, /^ +-/) && RLENGTH < 12 {
      line = $0; sub(/^ +/, "", line)
      at = match(line, /  +/)
      print ".TP"; print ".B " escape(at ? substr(line, 1, at - 1) : line)
      if (at) print escape(substr(line, at + RLENGTH))
      next
    }
                        { sub(/^ +/, ""); print escape($0) }'
}

commands() {
  local name first=1
  while read -r name; do
    # shellcheck disable=SC2086
    "$program" $name --help | to_troff $first
    first=
  done < <("$program" --help | sed -n 's/^  pons \(.\{10\}\) .*/\1/p' | sed 's/ *$//')
}

statuses() {
  "$program" --help | sed -n '/^Exit codes:/,$p' | sed -n 's/^ *\([0-9]\+\)  \(.*\)/.TP\n.B \1\n\2/p'
}

version=$("$program" --version)
while IFS= read -r line; do
  case $line in
    '@COMMANDS@') commands ;;
    '@EXIT@') statuses ;;
    *) printf '%s\n' "${line//@VERSION@/${version#pons }}" ;;
  esac
done <"$text" >"$out"
