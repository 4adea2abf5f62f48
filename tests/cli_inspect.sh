#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Untrained networks by recipe, without opening data: the golden cumulative
# multiply-adds of the papers' networks.
set -u
failed=0

macs() { # RECIPE [-s ...]: the cumulative multiply-adds of each exit, in one line
  "$EXEUNT" inspect --json "$@" | tr -d ' \n' | grep -oE '"macs":[0-9]+,"params":[0-9]+' |
    grep -oE '"macs":[0-9]+' | cut -d: -f2 | tr '\n' ' '
}

expect() { # EXPECTED RECIPE...
  local expected=$1 found
  shift
  found=$(macs "$@")
  [ "$found" = "$expected " ] && return
  echo "inspect $*: found $found instead of $expected"
  failed=1
}

expect '218650 1122740' fashion-mnist-lenet
expect '2012992 3103168 3981696 4656736' fashion-mnist-msdnet
expect '6792704 14209024 27278848 41373696 58087936' fashion-mnist-msdnet \
  -s 'input={"shape":[3,32,32],"classes":100}' -s network.exits=5 -s network.base=1 \
  -s network.mode=lin_grow -s network.channels=16 -s network.growth=6 -s network.head-channels=128
"$EXEUNT" inspect fashion-mnist | grep -q 'of full depth' || failed=1
"$EXEUNT" inspect fashion-mnist --programs | grep -q 'conv' || failed=1
exit $failed
