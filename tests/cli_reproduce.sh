#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A reproduction that was killed goes on with what it had finished, and its
# result says what it is.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
fail() { echo "FAILED: $*"; cat out err 2>/dev/null; failed=1; }
run=("$EXEUNT" reproduce branchynet --quick -t 1 -o results)

"${run[@]}" >out 2>err &
for _ in $(seq 600); do [ -s results/branchynet-quick.partial.json ] && break; sleep 0.05; done
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
[ -s results/branchynet-quick.partial.json ] || fail 'nothing was kept of a killed run'
[ -e results/branchynet-quick.json ] && fail 'it ended before it was killed: nothing was tested'
kept=$(grep -c '"executed_macs"' results/branchynet-quick.partial.json)

"${run[@]}" >out 2>err || fail 'the second run'
[ "$(grep -c '^==' err)" -lt 3 ] || fail "all three runs were made again, after $kept figures"
[ -e results/branchynet-quick.partial.json ] && fail 'the partial result is still there'
for field in commit seeds steps passes verdict per_seed; do
  grep -q "\"$field\"" results/branchynet-quick.json || fail "the result lacks $field"
done
grep -q '"verdict": "met"' results/branchynet-quick.json && fail 'a quick run counted as met'
ls results | grep -q safetensors && fail 'a model was left behind'
"$EXEUNT" reproduce no-such-paper >out 2>err && fail 'an unknown paper was run'
grep -q 'no-such-paper' err || fail 'the message does not name the paper'
exit $failed
