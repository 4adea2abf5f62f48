#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What training says it cost: passes, and the multiply-adds that they executed,
# held against the network's own table.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
small=(-q --threads 1 -s data.split.labels-per-class=60 -s train.batch=32 -s train.epochs=1
  -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=200
  -s data.split.certify=200)
run() { # NAME OPTION...
  local name=$1
  shift
  "$EXEUNT" train fashion-mnist "${small[@]}" "$@" -o "$name.safetensors" --json >"$name.json" 2>err ||
    { echo "training $name failed"; cat err; exit 1; }
}

run joint
run trunk -s train.regime=frozen-trunk -s train.epochs=2 -s train.trunk-epochs=1
run heads -s train.regime=frozen-trunk -s train.epochs=1
for method in pcgrad dfs hdkd; do run $method -s method.name=$method; done

# NAME KEY [WITHIN]: a number of the training, or of an object in it; KEY table: the
# last exit's cumulative multiply-adds; exits: how many there are.
read_number() {
  case $2 in
    table) grep -oE '^ +"macs": [0-9]+' "$1.json" | grep -oE '[0-9]+$' | tail -1 ;;
    exits) grep -cE '^ +"macs": [0-9]+' "$1.json" ;;
    *) sed -n "/^    \"${3:-$2}\": /,\$p" "$1.json" | grep -m1 -oE "\"$2\": [0-9]+" |
      grep -oE '[0-9]+$' ;;
  esac
}
facts() { # NAME: sets them
  steps=$(read_number "$1" steps) batch=$(read_number "$1" batch) table=$(read_number "$1" table)
  exits=$(read_number "$1" exits)
  forwards=$(read_number "$1" forward passes) backwards=$(read_number "$1" backward passes)
  forward=$(read_number "$1" forward macs) backward=$(read_number "$1" backward macs)
}
holds() { # WHAT CONDITION
  (($2)) && return
  echo "does not hold: $1: $2"
  failed=1
}

facts joint
joint=$backward
holds 'joint, forward by the table' "forward > 0 && forward == steps * batch * table"
# A layer goes backward to its weights and to its input; the first has no input to care for.
holds 'joint, backward is nearly twice forward' "backward * 10 > 15 * forward && backward < 2 * forward"

for name in pcgrad dfs hdkd; do
  facts $name
  holds "$name, forward by the table" "forward > 0 && forward == forwards * batch * table"
  case $name in
    pcgrad) holds 'pcgrad shares a forward' "forwards == steps && backwards == exits * steps"
      holds 'pcgrad, backward of an exit ends at it' "backward > joint && backward < exits * joint" ;;
    dfs) holds 'dfs leaves out what is stopped' "backward > 0 && backward < joint" ;;
    hdkd) holds 'hdkd, passes' "forwards == 4 * steps && backwards == 3 * steps" ;;
  esac
done

# The frozen trunk runs forward alone; the phases of a run add up.
facts heads
heads_forward=$forward heads_backward=$backward
holds 'heads, forward by the table' "forward == steps * batch * table"
holds 'heads, backward of heads alone' "backward > 0 && 10 * backward < joint"
facts trunk
trunk=$((forward - heads_forward))
holds 'trunk, without the other heads' "trunk < heads_forward && 10 * trunk > 9 * heads_forward"
holds 'trunk, backward' "backward - heads_backward > trunk && backward - heads_backward < 2 * trunk"
exit $failed
