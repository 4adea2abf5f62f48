#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The dashboard in a real browser: its script runs under the page's own policy,
# asks for figures, and says what came.
set -u
export OMP_WAIT_POLICY=passive
browser=$(command -v chromium) || exit 77
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
server=
fail() {
  echo "$1"
  cat out err page 2>/dev/null
  [ -z "$server" ] || kill -KILL "$server"
  exit 1
}

"$EXEUNT" train fashion-mnist -q --threads 2 -s data.split.labels-per-class=60 -s train.batch=32 \
  -s train.epochs=1 -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=500 \
  -s data.split.certify=500 -o a.safetensors >out 2>err || fail train
"$EXEUNT" calibrate a.safetensors -q --max-drop 30 >out 2>err || fail calibrate
"$EXEUNT" serve a.safetensors --port 0 --threads 1 >out 2>err &
server=$!
for _ in $(seq 100); do grep -q '^serving 1 model at ' out && break; sleep 0.1; done
port=$(sed -n 's|^serving.*:\([0-9]*\)/$|\1|p' out)
body="{\"inputs\":[{\"name\":\"input\",\"datatype\":\"UINT8\",\"shape\":[1,28,28],\"data\":[$(seq -s, 784 | sed 's/[0-9]\+/0/g')]}]}"
exec 3<>"/dev/tcp/127.0.0.1/$port" || fail 'cannot connect'
printf 'POST /v2/models/a/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
  ${#body} "$body" >&3
cat <&3 | grep -q '"exit":' || fail 'no answer'
sleep 2 # the second must be over
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --virtual-time-budget=5000 \
  --user-data-dir="$PWD/browser" --dump-dom "http://127.0.0.1:$port/" >page 2>err || fail 'no page'
grep -q 'of the work saved' page || fail 'the page does not say what was saved'
grep -q '>live<' page || fail 'the page is not live'
# Charts where the server was built with uPlot; else the page says that it has none.
charts=0
grep -q 'id="bare" hidden' page && charts=4
[ "$(grep -o '<canvas' page | wc -l)" = $charts ] || fail "not $charts charts on the page"
kill -TERM $server
wait $server || fail 'SIGTERM'
