#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three networks joined to one model: calibrated, verified, evaluated and run like any other.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  "$@" >out 2>err && return
  echo "FAILED: $what"
  cat out err
  failed=1
}
refused() { # TEXT COMMAND...
  local text=$1
  shift
  "$@" >out 2>&1 && { echo "not refused: $*"; failed=1; }
  grep -qF -- "$text" out || { echo "$*: does not say \"$text\""; cat out; failed=1; }
}

train() { # OUTPUT LABELS-PER-CLASS NETWORK...
  local output=$1 labels=$2
  shift 2
  check "train $output" "$EXEUNT" train fashion-mnist -q --threads 1 -o "$output" "$@" \
    -s "data.split.labels-per-class=$labels" -s train.batch=32 -s train.epochs=2 \
    -s data.split.select=1000 -s data.split.certify=1000
}
# Other training samples: each network has its own mean and deviation.
train a.safetensors 40 -s network.stem=4 -s 'network.widths=[6,8]' -s 'network.strides=[2,2]'
train b.safetensors 50 -s network.stem=4 -s 'network.widths=[8,8]'
train c.safetensors 60 -s network.stem=8 -s 'network.widths=[8,16,16]'

check join "$EXEUNT" join a.safetensors b.safetensors c.safetensors -o m.safetensors
grep -qE '^ +3 .* 100\.0 %  c\.safetensors' out || { echo 'join lists no third network'; cat out; failed=1; }
check inspect "$EXEUNT" inspect m.safetensors
grep -qE '^ +2 .* b\.safetensors$' out || { echo 'inspect does not name the networks'; cat out; failed=1; }
for rule in adaptive max-probability; do
  check "calibrate $rule" "$EXEUNT" calibrate m.safetensors -q --threads 2 --policy $rule --max-drop 20
  check "verify $rule" "$EXEUNT" verify m.safetensors -q --threads 2
  # Fails where the engine and replay of the trace differ in exit or cost.
  check "evaluate $rule" "$EXEUNT" evaluate m.safetensors -q --threads 2 --timed 0 --json --report page.html
  for key in mean_macs executed_macs; do
    sed -n "s/^  \"$key\": \([0-9]*\).*/\1/p" out
  done | uniq | wc -l | grep -qx 1 || { echo "$rule: executed multiply-adds are not the table's"; failed=1; }
done

# Straight to the second network: its answers, and its work, are those of it alone.
last=$(($("$EXEUNT" inspect b.safetensors | grep -cE '^ +[0-9]+ ') - 1))
figures() { # accuracy and multiply-adds of a model whose answers are forced to an exit
  "$EXEUNT" evaluate "$1" -q --threads 2 --timed 0 --policy fixed -s "exit=$2" |
    grep -oE '^accuracy +[0-9.]+|[0-9.]+ [kM] of'
}
alone=$(figures b.safetensors $last) joined=$(figures m.safetensors 1)
[ -n "$alone" ] && [ "$alone" = "$joined" ] || { echo "alone $alone, joined $joined"; failed=1; }

refused 'must be named from cheap to dear' "$EXEUNT" join c.safetensors a.safetensors -o x.safetensors
refused 'must be another file' "$EXEUNT" join a.safetensors c.safetensors -o c.safetensors
check 'train, other split' "$EXEUNT" train fashion-mnist -q --threads 1 -o d.safetensors \
  -s data.split.labels-per-class=20 -s data.split.seed=2 -s train.epochs=1 \
  -s data.split.select=1000 -s data.split.certify=1000
refused 'its select samples are not those of a.safetensors' \
  "$EXEUNT" join a.safetensors d.safetensors -o x.safetensors
[ ! -e x.safetensors ] || { echo 'a refused join left a file'; failed=1; }
exit $failed
