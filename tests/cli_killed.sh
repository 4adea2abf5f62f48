#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Training through the command is killed again and again, before its first
# checkpoint, while it writes one, in both phases, and resumed each time: the
# weights are those of a run that nobody disturbed, and nothing is left behind.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
train() { # MODEL OPTION...
  local model=$1
  shift
  exec "$EXEUNT" train fashion-mnist -q --threads 2 -s data.split.labels-per-class=60 \
    -s train.batch=16 -s train.epochs=3 -s train.regime=trunk-then-joint -s network.stem=8 \
    -s 'network.widths=[8,8,12,16]' -s data.split.select=500 -s data.split.certify=500 \
    -o "$model" "$@"
}
weights() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1" | sha256sum; }
fail() {
  echo "$1"
  cat out
  exit 1
}

(train whole.safetensors) >out 2>&1 || fail 'training failed'

kills=0 status=137
for i in $(seq 0 12); do
  (train killed.safetensors --resume --checkpoint-seconds 0.01) >out 2>&1 &
  sleep "$(awk "BEGIN { print 0.02 + 0.07 * ($i % 13) }")"
  kill -KILL $! 2>/dev/null
  wait $! 2>/dev/null
  status=$?
  [ $status = 137 ] || break
  kills=$((kills + 1))
done
if [ $status = 137 ]; then # a slow machine: the rest without being disturbed
  (train killed.safetensors --resume) >out 2>&1
  status=$?
fi
[ $status = 0 ] || fail "after $kills kills: status $status"
[ $kills -ge 3 ] || fail "killed only $kills times: too little was tested"
[ "$(weights whole.safetensors)" = "$(weights killed.safetensors)" ] ||
  fail "killed $kills times and resumed, the weights differ"
left=$(ls | grep -vxE 'out|whole.safetensors|killed.safetensors')
[ -z "$left" ] || fail "left behind: $left"
echo "killed $kills times"
