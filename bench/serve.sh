#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# serve.sh MODEL [SECONDS]: a server under as many requests as it can answer, by its
# own rule and at full depth: requests a second, 99th percentile, and what was
# refused. One test image of Fashion-MNIST a request, in binary; wrk asks.
set -eu
model=$(realpath "$1")
seconds=${2:-10}
exeunt=${EXEUNT:-$(dirname "$0")/../build/exeunt}
images=/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
zcat "$images" | tail -c +17 | head -c $((784 * 1000)) >"$work/images"
cat >"$work/ask.lua" <<LUA
local file = io.open("$work/images", "rb")
local images = file:read("*a")
local head = '{"outputs":[{"name":"label"}],"inputs":[{"name":"input","datatype":"UINT8",' ..
  '"shape":[1,1,28,28],"parameters":{"binary_data_size":784}}]}'
wrk.method = "POST"
wrk.headers["Inference-Header-Content-Length"] = tostring(#head)
function request()
  local i = math.random(0, 999) * 784
  return wrk.format(nil, nil, nil, head .. images:sub(i + 1, i + 784))
end
LUA

run() { # NAME OPTION...
  local name=$1
  shift
  : >"$work/out" # nothing of the run before
  "$exeunt" serve "m=$model" --port 0 "$@" >>"$work/out" &
  server=$!
  until grep -q '^serving' "$work/out"; do sleep 0.1; done
  local port
  port=$(sed -n 's|.*:\([0-9]*\)/$|\1|p' "$work/out")
  wrk -t 1 -c 32 -d "$seconds" --latency -s "$work/ask.lua" \
    "http://127.0.0.1:$port/v2/models/m/infer" >"$work/wrk"
  printf '%-12s %s requests/s, 99 %% within %s, refused %s\n' "$name" \
    "$(awk '/Requests\/sec/ { print $2 }' "$work/wrk")" "$(awk '$1 == "99%" { print $2 }' "$work/wrk")" \
    "$(awk -F: '/Non-2xx/ { print $2 + 0 }' "$work/wrk" | grep . || echo 0)"
  kill -TERM $server
  wait $server
}

run 'its rule' --drift-window 0
run 'full depth' --drift-window 0 --policy fixed
