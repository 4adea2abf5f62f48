#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B-LeNet, trained, as C in float and in int8, on all 10,000 test images: float is as
# good as the engine, and int8 within 0.5 points of it.
set -u
export OMP_WAIT_POLICY=passive
images=/usr/share/datasets/fashion-mnist
[ -r $images/train-images-idx3-ubyte.gz ] || exit 77
command -v cc >/dev/null || exit 77

"$EXEUNT" train fashion-mnist-lenet -q --threads 1 -s data.split.labels-per-class=2000 \
  -s train.epochs=4 -s train.batch=64 -s data.split.select=2000 -s data.split.certify=2000 \
  -o m.safetensors >log 2>&1 &&
  "$EXEUNT" calibrate m.safetensors -q --threads 1 --max-drop 1.5 >>log 2>&1 &&
  "$EXEUNT" evaluate m.safetensors -q --threads 1 --timed 0 --json >evaluation || { cat log; exit 1; }
engine=$(sed -nE 's/^  "accuracy": ([0-9.]+),?$/\1/p' evaluation | head -1)
zcat $images/t10k-images-idx3-ubyte.gz | tail -c +17 >inputs
zcat $images/t10k-labels-idx1-ubyte.gz | tail -c +9 | od -An -v -tu1 -w1 | tr -d ' ' >labels

for form in float int8; do
  mkdir -p $form
  option=
  [ $form = int8 ] && option=--int8
  # shellcheck disable=SC2086
  "$EXEUNT" export m.safetensors --to c -n net -o $form $option >log 2>&1 || { cat log; exit 1; }
  cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off -I$form $form/net.c \
    "$SRC/tests/export_device.c" -o run && ./run inputs 10000 >$form.out || exit 1
  paste -d' ' labels $form.out | awk '{ right += $1 == $2 } END { print right / NR }' >$form.accuracy
done
echo "engine ${engine:0:6}, float $(cat float.accuracy), int8 $(cat int8.accuracy)"
paste -d' ' float.out int8.out | awk '{ l += $1 != $14; e += $2 != $15 }
  END { print l " labels and " e " exits of " NR " differ between float and int8" }'
awk -v e="$engine" -v f="$(cat float.accuracy)" -v q="$(cat int8.accuracy)" \
  'BEGIN { exit !(f > 0.8 && (f - e) ^ 2 < 0.0003 ^ 2 && f - q < 0.005) }'
