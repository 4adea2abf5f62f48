#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command as a newcomer and a script meet it: help, versions, exit status
# 2 for bad usage with the value and the rule, 1 for what failed.
set -u
failed=0

expect() { # STATUS PATTERN ARGUMENT...: exit status, and a line that matches, on either stream
  local status=$1 pattern=$2 output
  shift 2
  output=$("$EXEUNT" "$@" 2>&1 </dev/null)
  local got=$?
  if [ $got -ne "$status" ] || ! grep -qE -- "$pattern" <<<"$output"; then
    echo "exeunt $*: status $got instead of $status, or no line like '$pattern':"
    echo "$output"
    failed=1
  fi
}

expect 2 'usage: exeunt COMMAND'
expect 0 'Begin with `exeunt demo`' --help
expect 0 '^exeunt [0-9]+\.[0-9]+\.[0-9]+$' --version
expect 2 '"trian" is not a command' trian
expect 0 '^# COMMANDS$' --manual
for command in demo train calibrate evaluate compare predict serve inspect verify papers reproduce bench govern; do
  expect 0 "^usage: exeunt $command" $command --help
  expect 0 '--threads N .*\[0 to 256\].*default 0' $command --help
  expect 2 'option --nosuch is unknown' $command --nosuch
done
expect 2 'too few arguments' train
expect 2 'argument "b" is one too many' inspect a b
expect 2 '--threads = 999; must be an integer in \[0, 256\]' inspect fashion-mnist --threads 999
expect 2 '--threads needs a value' inspect fashion-mnist --threads
expect 2 'must have one of --max-drop, --max-macs, --max-latency and --risk' calibrate x
expect 2 'must have one of' calibrate x --max-drop 1 --max-macs 0.5
expect 2 'must have one of' calibrate x --max-drop 1 --risk 0.01
expect 2 'go with --risk alone' calibrate x --max-drop 1 --form ltt
expect 2 '--budgeted does not go with --risk' calibrate x --risk 0.01 --budgeted
expect 2 'risk = 1.5; must be in \[0, 1\) for accuracy' calibrate x --risk 1.5 --risk-of accuracy
expect 2 'risk of "hellinger"; must be disagreement' calibrate x --risk 0.1 --risk-of hellinger
expect 2 'form of risk "naive"; must be ltt' calibrate x --risk 0.1 --form naive
expect 2 'confidence = 1; must be above 0 and below 1' calibrate x --risk 0.1 --confidence 1
expect 2 'crc keeps the risk on average' calibrate x --risk 0.1 --form crc --confidence 0.9
expect 1 'recipe "nosuch" is neither a file nor one of .*fashion-mnist' train nosuch
expect 1 'nosuch.safetensors: .*No such file' evaluate nosuch.safetensors
expect 1 'paper "nosuch" is unknown; must be one of .*branchynet, .*sdn' papers nosuch
expect 1 'parameter "wdths" is unknown; must be one of' inspect fashion-mnist -s network.wdths=3
expect 1 'architecture .*nosuch.*must be one of' inspect fashion-mnist -s network.architecture=nosuch
expect 1 'momentum = 7; must be' inspect fashion-mnist -s train.momentum=7
expect 1 'method "nosuch" is unknown' inspect fashion-mnist -s method.name=nosuch
expect 1 'key "trian" is unknown' inspect fashion-mnist -s trian.epochs=1
expect 0 '^joint: Trains all exits together' train --method joint --help
expect 0 'label-smoothing=0 +\[0, 0.9\]' train --method joint --help
expect 2 'method "nosuch" is unknown' train --method nosuch --help
expect 0 'learning-rate=0.1 +\[0, 100\]' train --help
expect 0 'learning-rate=0.1 +\[0, 100\]' help train
expect 0 'labels-per-class=0' train --help
expect 0 '^  msdnet ' train --help
expect 0 'docs/recipes.md' train --help
expect 0 '^max-probability: Leaves where' calibrate --policy max-probability --help
expect 0 'patience=' evaluate -p patience --help
expect 2 'exit rule "nosuch" is unknown' predict --policy nosuch --help
expect 0 '^  entropy ' calibrate --help
expect 0 'growth=' inspect msdnet --help
expect 0 'Cited|After Huang et al' inspect msdnet --help
many=()
for _ in $(seq 64); do many+=(-s train.epochs=1); done
expect 1 'method "nosuch" is unknown' train fashion-mnist -m nosuch "${many[@]:2}"
expect 2 '--method counts as one of the 64' train fashion-mnist -m nosuch "${many[@]}"
expect 0 'thresholds=0.9' predict --help
echo 'not json' >bad.json
expect 1 'bad.json' inspect bad.json
head -c 4096 /dev/urandom >bad.safetensors
expect 1 'bad.safetensors' inspect bad.safetensors
expect 0 'BranchyNet' papers
expect 0 '"claims"' papers sdn --json
EXEUNT_INSPECT_THREADS=999 expect 2 'EXEUNT_INSPECT_THREADS = 999; must be an integer in \[0, 256\]' inspect fashion-mnist
EXEUNT_PAPERS_JSON=yes expect 2 'EXEUNT_PAPERS_JSON = yes; must be 1 or 0' papers sdn
EXEUNT_PAPERS_JSON=1 expect 0 '"claims"' papers sdn
expect 0 'EXEUNT_SERVE_THREADS for --threads' serve --help
exit $failed
