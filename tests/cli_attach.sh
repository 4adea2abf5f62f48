#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A trained network is given exits through the command, with labels and without; it
# can be calibrated, verified and evaluated as any other; what is asked wrongly is told.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
fail() { echo "FAILED: $*"; cat out err; failed=1; }
"$EXEUNT" train fashion-mnist -q --threads 1 -s data.split.labels-per-class=200 -s train.batch=32 \
  -s train.epochs=2 -s network.stem=8 -s 'network.widths=[8,12,16,16]' -s data.split.select=1500 \
  -s data.split.certify=1500 -o given.safetensors >out 2>err || fail train
few=(-q -t 1 -s epochs=4 -s gain=0)

"$EXEUNT" attach given.safetensors "${few[@]}" --exits 2 --max-drop 20 -o m.safetensors >out 2>err ||
  fail attach
grep -q 'full depth gives the bits of the network that was given' out || fail 'other bits'
grep -qE '^[12] of [0-9]+ places pay' out || fail 'more exits than were asked for, or none'
grep -q 'met, on data that chose nothing' out || fail 'not calibrated'
"$EXEUNT" verify m.safetensors -q -t 1 >out 2>err || fail verify
"$EXEUNT" evaluate m.safetensors -q -t 1 --json --timed 0 >out 2>err || fail evaluate
full() { "$EXEUNT" evaluate "$1" -q -t 1 --timed 0 --json --policy fixed | grep -A3 '"full"' | grep accuracy; }
[ "$(full given.safetensors)" = "$(full m.safetensors)" ] || fail 'full depth answers otherwise'

"$EXEUNT" attach given.safetensors "${few[@]}" --unlabelled --max-drop 30 -o u.safetensors --json >out 2>err ||
  fail unlabelled
grep -q '"labelled": false' out || fail 'labels were looked at'
grep -q '"certified"' out || fail 'agreement is not certified'

"$EXEUNT" attach given.safetensors >out 2>err && fail 'no output, and it went on'
grep -q 'must have --output' err || fail 'the message does not say what is missing'
"$EXEUNT" attach given.safetensors -q -o n.safetensors --exits many >out 2>err && fail 'exits many'
grep -q 'exits' err || fail 'the message does not name the value'
"$EXEUNT" attach given.safetensors "${few[@]}" -s gain=1 -o n.safetensors >out 2>err && fail 'gain 1'
grep -q 'none saves' err && grep -q '^place' err || fail 'it is not told why no exit pays'
[ ! -e n.safetensors ] || fail 'a model was left'
exit $failed
