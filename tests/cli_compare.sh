#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every exit rule on one model: the table, the list for machines, the page, and
# that the model file stays as it is.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
fail() {
  echo "$1"
  exit 1
}

"$EXEUNT" train fashion-mnist -q --threads 1 -s data.split.labels-per-class=20 -s train.epochs=1 \
  -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=500 \
  -s data.split.certify=500 -o m.safetensors >out 2>&1 || fail "$(cat out)"
cp m.safetensors before.safetensors
"$EXEUNT" compare m.safetensors -q -t 1 --max-macs 0.6 --timed 50 --report page.html >out 2>&1 ||
  fail "$(cat out)"
cmp -s m.safetensors before.safetensors || fail 'the model was changed'
for rule in entropy max-probability margin patience pcee fixed; do
  grep -q "^$rule  *\([0-9.]* %\|refused: \)" out || fail "no line for $rule: $(cat out)"
done
grep -q '^jei .*gate' out || fail "jei was not refused for want of gates: $(cat out)"
grep -q '^oracle' out && fail 'the oracle was compared'
grep -q '^at most 60 % of the work' out || fail "what was asked for is not told of: $(cat out)"
[ "$(grep -c '<svg' page.html)" -eq 2 ] || fail 'the page has not one drawing for wide and narrow'
grep -qiE 'https?:|<script|<link' page.html && fail 'the page names what lies outside'

"$EXEUNT" compare m.safetensors -q -t 1 --policies fixed,margin --timed 0 --max-drop 100 --json \
  >list 2>out || fail "$(cat out)"
[ "$(grep -c '"policy"' list)" -eq 2 ] || fail "not two rules: $(cat list)"
for key in accuracy mean_macs mean_ns p99_ns risk; do
  [ "$(grep -c "\"$key\"" list)" -eq 2 ] || fail "the list lacks $key: $(cat list)"
done
[ "$(head -c 1 list)" = '[' ] || fail 'not a list'

"$EXEUNT" compare m.safetensors -q -t 1 --timed 0 --max-macs 0.8 \
  --policies latency-aware,latency-aware:search=shared >out 2>&1 || fail "$(cat out)"
grep -q '^latency-aware:search=shared  *[0-9.]* %' out || fail "a value was not set: $(cat out)"
"$EXEUNT" compare m.safetensors -q --policies latency-aware:search=luck >out 2>&1 && fail 'luck'
grep -q 'search.*luck' out || fail "$(cat out)"
"$EXEUNT" compare m.safetensors -q --policies margin,nosuch >out 2>&1 && fail 'an unknown rule'
grep -q '"nosuch" is unknown; must be one of entropy' out || fail "$(cat out)"
"$EXEUNT" compare m.safetensors -q -t 1 --timed 0 --risk 0.2 --policies margin,entropy,fixed \
  --report page.html >out 2>&1 || fail "$(cat out)"
grep -q '^constraint risk 0.2 (disagreement, 90 % confidence)' out || fail "$(cat out)"
grep -qE '^risk at most 0.2 \(disagreement, 90 % confidence\) +(margin|entropy|fixed)' out ||
  fail "nothing is best for a risk: $(cat out)"
grep -q '^at most 0.25 points lost' out || fail "the other constraints are lacking: $(cat out)"
"$EXEUNT" compare m.safetensors -q --risk 0.1 --max-macs 1 >out 2>&1 && fail 'a risk and a constraint'
"$EXEUNT" compare m.safetensors -q --confidence 0.9 >out 2>&1 && fail 'a confidence of nothing'
grep -q 'go with --risk alone' out || fail "$(cat out)"
"$EXEUNT" compare m.safetensors -q --max-drop 1 --max-macs 1 >out 2>&1 && fail 'two constraints'
grep -q 'at most one of --max-drop' out || fail "$(cat out)"
exit 0
