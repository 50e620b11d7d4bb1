#!/usr/bin/env bash
# Models that were read wrongly or refused with a misleading line: the perplexities are those of transformers 5.24.0 (fp32, eager) on
# the same weights and ids. Each case is from a public report about another program.
. "$PONS_SOURCE/tests/support/program.sh"
export PYTHONPATH=$PONS_SOURCE/tests/support PYTHONDONTWRITEBYTECODE=1
tiny=$PONS_FIXTURES/cases/tiny ids=$PONS_FIXTURES/cases/t.i32

# variant NAME JSON: the tiny model with these keys in config.json.
variant() {
  mkdir -p "$scratch/$1"
  cp "$tiny/model.safetensors" "$scratch/$1"
  python3 - "$tiny/config.json" "$2" "$scratch/$1/config.json" <<'PYTHON' || fail "variant $1"
import json, sys
c = json.load(open(sys.argv[1])) | json.loads(sys.argv[2])
json.dump(c, open(sys.argv[3], "w"))
PYTHON
}
# gguf NAME PYTHON: the tiny model as a GGUF file; PYTHON changes p (pairs) and t (tensors).
gguf() {
  python3 - "$tiny" "$scratch/$1" "$2" <<'PYTHON' || fail "gguf $1"
import math, struct, sys
import gguf
p, t = gguf.metadata(sys.argv[1]), gguf.tensors(sys.argv[1])
exec(sys.argv[3])
gguf.save(sys.argv[2], p, t)
PYTHON
}
# perplexity PATH VALUE
perplexity() {
  on 1 -q eval ppl --model "$scratch/$1" --text "$ids" --length 64 --compute fp32 --json || fail "$1: $(cat "$scratch/err")"
  python3 -c 'import json, sys; x = json.load(sys.stdin)["perplexity"]; print(x); sys.exit(not abs(x / float(sys.argv[1]) - 1) < 2e-5)' \
    "$2" <"$scratch/out" || fail "$1: perplexity is not $2"
}

variant plain '{}'
perplexity plain 114.3546

# ---- rotary keys at another level or without their companion
llama3='"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0'
variant top-level "{\"rope_scaling\": {$llama3}, \"original_max_position_embeddings\": 64}"
perplexity top-level 105.6385
variant nested "{\"rope_scaling\": {$llama3, \"original_max_position_embeddings\": 64}}"
perplexity nested 105.6385
variant both "{\"rope_scaling\": {$llama3, \"original_max_position_embeddings\": 64}, \"original_max_position_embeddings\": 64}"
perplexity both 105.6385
variant contradiction "{\"rope_scaling\": {$llama3, \"original_max_position_embeddings\": 128}, \"original_max_position_embeddings\": 64}"
refuses 4 'original_max_position_embeddings: found 64, allowed the value of rope_scaling.original_max_position_embeddings, 128' \
  inspect "$scratch/contradiction"
variant linear '{"rope_scaling": {"rope_type": "linear", "factor": 4.0}}'
perplexity linear 101.0953
for keys in '("llama.rope.scaling.factor", "f32", 4.0)' '("llama.rope.scale_linear", "f32", 4.0)' \
  '("llama.rope.scaling.type", "str", "linear"), ("llama.rope.scaling.factor", "f32", 4.0)'; do
  gguf linear.gguf "p += [$keys]"
  perplexity linear.gguf 101.0953
done
gguf none.gguf 'p += [("llama.rope.scaling.type", "str", "none"), ("llama.rope.scaling.factor", "f32", 4.0)]'
perplexity none.gguf 114.3546

# ---- llama3 scaling as frequency divisors: few points of the ramp between the two wavelengths
divisors() { # divisors ORIGINAL LOW HIGH FACTOR
  gguf divisors.gguf "
d = []
for i in range(4):
    wave = 2 * math.pi * 10000.0 ** (2 * i / 8)
    s = ($1 / wave - $2) / ($3 - $2)
    d.append(1.0 if wave < $1 / $3 else $4 if wave > $1 / $2 else 1 / ((1 - s) / $4 + s))
t['rope_freqs.weight'] = [4], struct.pack('<4f', *d)"
  variant divisors "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": $4, \"low_freq_factor\": $2, \"high_freq_factor\": $3,
    \"original_max_position_embeddings\": $1}}"
}
divisors 100.0 2.0 3.0 4.0
perplexity divisors 104.5146
perplexity divisors.gguf 104.5146
for shape in '300.0 2.0 3.0 4.0' '50.0 1.0 1.5 8.0' '64.0 1.0 4.0 8.0' '5000.0 1.0 40.0 4.0' '1000.0 3.0 7.0 2.0'; do
  # shellcheck disable=SC2086
  divisors $shape
  on 1 -q eval ppl --model "$scratch/divisors" --text "$ids" --length 64 --compute fp32 --json || fail "$shape: $(cat "$scratch/err")"
  perplexity divisors.gguf "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["perplexity"])' <"$scratch/out")"
done
gguf other.gguf 't["rope_freqs.weight"] = [4], struct.pack("<4f", 1, 3, 2, 4)'
refuses 5 'rope_freqs.weight: its frequency divisors are not those of llama3 scaling' inspect "$scratch/other.gguf"

# ---- numbers: what is found is shown as it was written
variant float '{"num_hidden_layers": 1.0}'
refuses 4 'num_hidden_layers: found 1\.0, allowed an integer' inspect "$scratch/float"
variant text '{"num_hidden_layers": "1"}'
refuses 4 'num_hidden_layers: found "1", allowed an integer' inspect "$scratch/text"

# ---- a split GGUF file is read together, whichever part is named
split() { # split PYTHON: parts m-0000K-of-00003.gguf, as llama.cpp's gguf-split makes them: the later ones have split keys alone
  python3 - "$tiny" "$scratch" "$1" <<'PYTHON' || fail "split"
import sys
import gguf
tiny, folder, code = sys.argv[1:]
t = list(gguf.tensors(tiny).items())
count, total, cuts = 3, len(t), [0, 4, 9, len(t)]
exec(code)
for i in range(count):
    keys = [("split.no", "u16", i), ("split.count", "u16", count), ("split.tensors.count", "i32", total)]
    pairs = (gguf.metadata(tiny) if i == 0 else []) + keys
    gguf.save(f"{folder}/m-{i + 1:05d}-of-{count:05d}.gguf", pairs, dict(t[cuts[i]:cuts[i + 1]]))
PYTHON
}
split ''
for part in 1 2 3; do perplexity m-0000$part-of-00003.gguf 114.3546; done
split 'cuts = [0, 0, 5, len(t)]' # --no-tensor-first-split
perplexity m-00001-of-00003.gguf 114.3546
cp "$scratch/m-00001-of-00003.gguf" "$scratch/renamed.gguf"
refuses 5 'renamed.gguf: part 1 of 3 \(split.count\).*-00001-of-00003.gguf' inspect "$scratch/renamed.gguf"
cp "$scratch/m-00002-of-00003.gguf" "$scratch/m-00003-of-00003.gguf"
refuses 4 'm-00003-of-00003.gguf: found part 2 of 3 .*allowed: part 3 of 3' inspect "$scratch/m-00001-of-00003.gguf"
rm "$scratch/m-00003-of-00003.gguf"
refuses 4 'm-00003-of-00003.gguf: part 3 of 3 of the model is missing' inspect "$scratch/m-00001-of-00003.gguf"
split 'total += 1'
refuses 4 'its parts hold 12 tensors, but split.tensors.count is 13' inspect "$scratch/m-00002-of-00003.gguf"
finish
