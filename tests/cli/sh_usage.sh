#!/usr/bin/env bash
# Command lines: what is accepted, how the rest is refused, and that help says what it must.
. "$PONS_SOURCE/tests/support/program.sh"

prints() { grep -qE -e "$1" "$scratch/out" || fail "no '$1' in: $(cat "$scratch/out")"; }

accepts --version
prints '^pons [0-9]+\.[0-9]+\.[0-9]+$'
[ "$(wc -l <"$scratch/out")" = 1 ] || fail "three ranks print the version more than once"
accepts --help
for word in compress 'eval ppl' 'eval tasks' inspect tokenize 'Exit codes' 'bad recipe'; do prints "$word"; done
accepts --quiet compress --help
prints '--set=KEY=VALUE'
prints 'default: OUT.run'
accepts compress --keys
prints '^\| `obr.alpha` \| 0.5 \|'
refuses 2 '--keys excludes all other arguments' compress r.yaml --keys
accepts eval ppl --help
prints 'Tokens per window \(default: 2048\)'
accepts inspect --help
accepts plan --help
accepts tokenize --help
accepts eval tasks --help
accepts eval --help
[ "$(grep -c '^Usage' "$scratch/out")" = 1 ] || fail "help is printed more than once"

refuses 2 'no command'
refuses 2 "unknown command 'compres'" compres
refuses 2 "unknown command 'eval bleu'" eval bleu
refuses 2 "unknown option '--loud'" --loud
refuses 2 "'--bogus' is not an option \(see pons compress --help\)" compress r.yaml --bogus
refuses 2 "'--out' needs a value" compress r.yaml --model m --out
refuses 2 "'--force=1' takes no value" compress r.yaml --force=1
refuses 2 "unexpected argument 'b'" compress a b
refuses 2 'RECIPE is missing' compress --model m --out o
refuses 2 '--model is missing' compress r.yaml --out o
refuses 2 '--out is missing' compress r.yaml --model m
refuses 2 '--text is missing' eval ppl --model m
refuses 2 "--windows: found 'many', a whole number from 1" eval ppl --windows many
refuses 2 "--windows: found '0'" eval ppl --windows 0
refuses 2 "--length: found '1'" eval ppl --length=1
refuses 2 "--compute: found 'fp8'; allowed are auto, fp32, bf16" eval ppl --compute fp8
refuses 2 'PATH is missing' inspect
refuses 2 '--model or --tokenizer is missing' tokenize x
refuses 2 'give one of STRING and --text' tokenize --model m
refuses 2 'give one of STRING and --text' tokenize --model m --text t x
refuses 2 'give one of --model and --tokenizer' tokenize --model m --tokenizer t x
refuses 2 'must end in .ids' tokenize --model m --out ids.txt x

# Commands that share no work do not start MPI when they run alone: Open MPI would start its daemon.
if command -v strace >/dev/null; then
  for command in --version 'tokenize --tokenizer /nowhere x' 'inspect /nowhere' 'plan r.yaml --model m' 'report --markdown x.md r'; do
    strace -f -e trace=execve,clone,fork,vfork -o "$scratch/trace" "$PONS_BIN" $command >/dev/null 2>&1
    grep 'execve(' "$scratch/trace" | grep -v -e "(\"$PONS_BIN\"" -e '("/proc/self/exe"' >"$scratch/others" &&
      fail "pons $command starts other programs: $(cat "$scratch/others")"
  done
fi

# What stdout cannot take is an error, not silence.
"$PONS_BIN" --version >/dev/full 2>"$scratch/err"
[ $? = 6 ] || fail "a full standard output is not reported"
grep -q '^pons: standard output: No space left on device$' "$scratch/err" || fail "$(cat "$scratch/err")"
finish
