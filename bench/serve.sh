#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# serve.sh MODEL [SECONDS]: a server under as many requests as it can answer, by its
# own rule and at full depth: requests, seconds, percentiles, and what was refused, as
# ask.lua tells them. One test image of Fashion-MNIST a request, in binary; wrk asks.
# `bench/run --tasks serving` measures the same in rounds, of models of its own.
set -eu
model=$(realpath "$1")
seconds=${2:-10}
here=$(dirname "$0")
exeunt=${EXEUNT:-$here/../build/exeunt}
images=/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
zcat "$images" | tail -c +17 | head -c $((784 * 1000)) >"$work/images"

run() { # NAME OPTION...
  local name=$1
  shift
  : >"$work/out" # nothing of the run before
  "$exeunt" serve "m=$model" --port 0 "$@" >>"$work/out" &
  server=$!
  until grep -q '^serving' "$work/out"; do sleep 0.1; done
  local port
  port=$(sed -n 's|.*:\([0-9]*\)/$|\1|p' "$work/out")
  printf '%-12s ' "$name"
  wrk -t 1 -c 32 -d "$seconds" -s "$here/ask.lua" \
    "http://127.0.0.1:$port/v2/models/m/infer" -- "$work/images" | tail -1
  kill -TERM $server
  wait $server
}

run 'its rule' --drift-window 0
run 'full depth' --drift-window 0 --policy fixed
