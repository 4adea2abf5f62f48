#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A reproduction that was killed goes on with what it had finished, commands side
# by side share the work, and a result says what it is.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
fail() { echo "FAILED: $*"; cat out err err2 2>/dev/null; failed=1; }
run=("$EXEUNT" reproduce branchynet --quick -t 1 -o results)
kept() { # networks that are trained
  for model in results/runs/*.safetensors; do [ ! -e "${model%.safetensors}.json" ] || echo; done | wc -l
}

"${run[@]}" >out 2>err &
for _ in $(seq 600); do [ "$(kept)" -gt 0 ] && break; sleep 0.05; done
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
[ "$(kept)" -gt 0 ] || fail 'nothing was kept of a killed run'
[ -e results/branchynet-quick.json ] && fail 'it ended before it was killed: nothing was tested'
left=$((3 - $(kept)))

"${run[@]}" >out 2>err & # the two that go on make what is left, each run once
"${run[@]}" >out2 2>err2 || fail 'the second run'
wait $! || fail 'the third run'
made=$(cat err err2 | grep -c '^==')
[ "$made" -eq "$left" ] || fail "of $left runs that were left, $made were made"
cmp -s out out2 || fail 'two commands that shared their runs came to different ends'
for field in commit seeds steps passes verdict per_seed claim difference interval date; do
  grep -q "\"$field\"" results/branchynet-quick.json || fail "the result lacks $field"
done
grep -q '"verdict": *"met"' results/branchynet-quick.json && fail 'a quick run counted as met'
ls results/runs | grep -q -e lock -e checkpoint && fail 'more than results and networks was left'
[ "$(kept)" -eq "$(ls results/runs | grep -c safetensors)" ] || fail 'a calibrated network was left'

# What was changed by hand is no longer what the run depends on.
trained=$(ls results/runs/*.safetensors | head -1)
sed -i 's/"seed": 1/"seed": 2/' "${trained%.safetensors}.json"
grep -l '"calibrate"' results/runs/*.json | xargs rm
"${run[@]}" >out2 2>err2 || fail 'the fourth run'
[ "$(grep -c '^==' err2)" -eq 1 ] || fail 'a run of another seed was believed, or others were not'
rm "$trained" && grep -l '"calibrate"' results/runs/*.json | xargs rm
"${run[@]}" >out2 2>err2 && fail 'a network that is gone was believed to be there'
grep -q 'is gone; delete' err2 || fail 'the message does not say what to do'

"$EXEUNT" reproduce no-such-paper >out 2>err && fail 'an unknown paper was run'
grep -q 'no-such-paper' err || fail 'the message does not name the paper'
"$EXEUNT" reproduce >out 2>err && fail 'no name, and something was run'
[ $? -eq 0 ] && "$EXEUNT" reproduce boost --all-training >out 2>err && fail 'both a name and all'
exit $failed
