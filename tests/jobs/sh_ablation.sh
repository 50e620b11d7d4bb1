# jobs/ablation.sh with a program that only notes what it was asked for: the order of runs, rows that share one, --only, going on
# after an interruption, and the table.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$PONS_BIN
export PONS_WORK=$work/made PONS_BIN=$work/pons PONS_SMOLLM2=$work/model.gguf PATH=$work:$PATH
printf '#!/usr/bin/env bash\nshift 2\nexec "$@"\n' >"$work/mpirun"
cat >"$work/pons" <<PROGRAM
#!/usr/bin/env bash
[ "\$1" != eval ] || { echo '{"perplexity": 20}'; exit 0; }
[ ! -e "$work/fail" ] || { echo broken >&2; exit 1; }
printf '%s\n' "\$*" >>"$work/runs"
mkdir -p "$work/made/ablation/full/model"
for ((i = 0; i < 30000; i++)); do :; done # processor time that shows in milliseconds
case \$2 in
  *obr-gptq*) echo '{"perplexity": {"weights_only": 54.365636569, "full": 147.78112198}, "solver": {"products": 15}}' ;;
  *) echo '{"perplexity": {"weights_only": 32.974425414, "full": 54.365636569}, "solver": {"products": 106}}' ;;
esac
PROGRAM
chmod +x "$work/mpirun" "$work/pons"
ablation() { bash "$PONS_SOURCE/jobs/ablation.sh" "$@" 2>"$work/log" || { cat "$work/log"; return 1; }; }
fail() { echo "$*"; exit 1; }

# One run of obr_gptq for both rows; logs over the dense model's are 1 and 2, the best ones' half of that.
ablation --only '(w4a16|w4a4kv4) best$' >"$work/table"
[ "$(wc -l <"$work/runs")" = 3 ] || fail "runs: $(cat "$work/runs")"
[[ $(sed -n 1p "$work/runs") = *obr-gptq.yaml* && $(sed -n 2p "$work/runs") = *best-w4a16.yaml* ]] || fail "$(cat "$work/runs")"
grep -q '^| w4a16 best | 32.97 | 0.500 | 50 % | 106 |' "$work/table" || fail "$(cat "$work/table")"
grep -q '^| w4a4kv4 obr_gptq | 147.78 | 2.000 | 100 % | 15 | 1.00 |' "$work/table" || fail "$(cat "$work/table")"
grep -q '^| w4a4kv4 best | 54.37 | 1.000 | 50 % | 106 |' "$work/table" || fail "$(cat "$work/table")"

# What is there is not made again; a run that fails leaves no report and is made the next time.
ablation --only 'w4a16 best$' >/dev/null
[ "$(wc -l <"$work/runs")" = 3 ] || fail "made again: $(cat "$work/runs")"
touch "$work/fail"
! ablation --only 'w4a16 2:4 best' >/dev/null || fail "a failed run is no failure"
rm "$work/fail"
ablation --only 'w4a16 2:4 best' >"$work/table"
[ "$(wc -l <"$work/runs")" = 5 ] || fail "after a failure: $(cat "$work/runs")"
grep -q -- '--set prune.pattern=2:4' "$work/runs" || fail "$(cat "$work/runs")"
[ "$(ablation --list | grep -c '^\*')" = 6 ] || fail "$(ablation --list)"

# Every row's recipe is one that the real program takes.
ablation --list | sed 's/^..//' >"$work/rows"
while IFS= read -r row; do
    read -r recipe sets <<<"$(sed 's/.*\(configs\/\)/\1/' <<<"$row")"
    options=()
    for set in $sets; do options+=(--set "$set"); done
    "$program" compress "$PONS_SOURCE/$recipe" --check ${options[@]+"${options[@]}"} >/dev/null || fail "refused: $row"
done <"$work/rows"
[ "$(wc -l <"$work/rows")" -gt 30 ] || fail "few rows: $(cat "$work/rows")"
