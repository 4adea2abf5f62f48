#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# soak.sh MODEL [SECONDS]: a server held at saturation (ten minutes, if nothing else
# is said) while every answer is held against `exeunt predict`: wrong answers, refusals,
# and memory over time; one request in sixteen is malformed and must be told so. The
# model is loaded anew every twenty seconds, and drained at the end. With EXEUNT set
# to a build under AddressSanitizer or ThreadSanitizer it is that which is held.
# SERVE_OPTIONS are the server's. Ends with status 1 where anything was wrong.
#
# With UPTO set to the number of an exit it is a device that is held, before a server
# that goes on behind that exit and is killed and started again every twenty seconds;
# what the device answered alone meanwhile is counted apart.
set -eu
model=$(realpath "$1")
seconds=${2:-600}
exeunt=${EXEUNT:-$(dirname "$0")/../build/exeunt}
images=/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
work=$(mktemp -d)
server=
trap 'kill "$server" "$reloading" $(cat "$work/far.pid" 2>/dev/null) 2>/dev/null || true; rm -rf "$work"' EXIT
reloading=

zcat "$images" | tail -c +17 | head -c $((784 * 1000)) >"$work/images" || true
{
  printf '\x93NUMPY\x01\x00\x76\x00'
  printf "%-117s\n" "{'descr': '|u1', 'fortran_order': False, 'shape': (1000, 1, 28, 28), }"
  cat "$work/images"
} >"$work/images.npy"
"$exeunt" predict "$model" "$work/images.npy" --json -q |
  sed -nE 's/.*"label": ?([0-9]+).*/\1/p' >"$work/labels"
[ "$(wc -l <"$work/labels")" = 1000 ] || { echo "soak: predict gave no 1,000 labels"; exit 1; }

cat >"$work/ask.lua" <<LUA
local images = io.open("$work/images", "rb"):read("*a")
local expected = {}
for line in io.lines("$work/labels") do expected[#expected + 1] = tonumber(line) end
wrk.method = "POST"
local sent = 0
right, wrong, refused, told, missed, alone = 0, 0, 0, 0, 0, 0
local threads = {}
function setup(thread) threads[#threads + 1] = thread end
function request()
  sent = sent + 1
  local i = math.random(0, 999)
  local body = '{"id":"' .. i .. '","outputs":[{"name":"label","parameters":{"binary_data":false}}],' ..
    '"inputs":[{"name":"input","datatype":"UINT8","shape":[1,1,28,28],' ..
    '"parameters":{"binary_data_size":784}}]}'
  wrk.headers["Inference-Header-Content-Length"] = tostring(#body)
  if sent % 16 == 0 then return wrk.format(nil, nil, nil, body .. "too short") end
  return wrk.format(nil, nil, nil, body .. images:sub(i * 784 + 1, i * 784 + 784))
end
function response(status, headers, body)
  if status == 400 then told = told + 1 return end
  if status == 503 then refused = refused + 1 return end
  local i, label = body:match('"id": *"(%d+)"'), body:match('"data": *%[(%d+)%]')
  if status ~= 200 or not i or not label then missed = missed + 1
  elseif body:match('"alone":1') then alone = alone + 1
  elseif expected[tonumber(i) + 1] == tonumber(label) then right = right + 1
  else wrong = wrong + 1 end
end
function done()
  local sum = {}
  for _, name in ipairs({"right", "wrong", "refused", "alone", "told", "missed"}) do
    local n = 0
    for _, thread in ipairs(threads) do n = n + (thread:get(name) or 0) end
    sum[#sum + 1] = name .. " " .. n
  end
  print("answers: " .. table.concat(sum, ", "))
end
LUA

far() { # PORT: the server behind the cut
  "$exeunt" serve "m=$model" --port "$1" --drift-window 0 >"$work/far.out" 2>>"$work/far.err" &
  echo $! >"$work/far.pid"
  until grep -q '^serving' "$work/far.out"; do
    kill -0 "$(cat "$work/far.pid")" || { cat "$work/far.err"; exit 1; }
    sleep 0.1
  done
}
if [ -n "${UPTO:-}" ]; then
  far 0
  far_port=$(sed -n 's|.*:\([0-9]*\)/$|\1|p' "$work/far.out")
  SERVE_OPTIONS="${SERVE_OPTIONS:-} --upto $UPTO --cut float32 --upstream http://127.0.0.1:$far_port"
fi

: >"$work/out"
# Word splitting of SERVE_OPTIONS is wanted.
# shellcheck disable=SC2086
"$exeunt" serve "m=$model" --port 0 --drift-window 0 ${SERVE_OPTIONS:-} >"$work/out" 2>"$work/err" &
server=$!
until grep -q '^serving' "$work/out"; do
  kill -0 $server || { cat "$work/err"; exit 1; }
  sleep 0.1
done
port=$(sed -n 's|.*:\([0-9]*\)/$|\1|p' "$work/out")

memory() { awk '/VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$server/status"; }
(
  while sleep 20; do
    kill -HUP $server
    if [ -n "${UPTO:-}" ]; then
      kill -KILL "$(cat "$work/far.pid")"
      sleep 2
      far "$far_port"
    fi
    echo "$(memory) MB" >>"$work/memory"
  done
) &
reloading=$!

wrk -t 1 -c 64 -d "$seconds" --timeout 30s -s "$work/ask.lua" \
  "http://127.0.0.1:$port/v2/models/m/infer" >"$work/wrk"
kill $reloading
kill -TERM $server
status=0
wait $server || status=$?
grep -E 'answers:|Requests/sec|Socket errors' "$work/wrk" || cat "$work/wrk"
echo "memory, every 20 s: $(head -1 "$work/memory" 2>/dev/null) first, $(tail -1 "$work/memory" 2>/dev/null) last, $(sort -n "$work/memory" 2>/dev/null | tail -1) most"
echo "server ended with status $status"
grep -vE '^(serving|loaded)' "$work/err" | head -40 || true
grep -qE 'right [1-9][0-9]*, wrong 0, .*told [1-9][0-9]*, missed 0$' "$work/wrk" && [ $status = 0 ]
