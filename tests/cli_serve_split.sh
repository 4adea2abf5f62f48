#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A network on two servers, as commands: the cut that was asked for or chosen,
# answers as from one, the other killed, and what is told of it.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
far=
near=
fail() {
  echo "$1"
  cat out err far.out far.err answer 2>/dev/null
  # shellcheck disable=SC2086 # none or two
  kill -KILL $far $near 2>/dev/null
  exit 1
}
port() { # FILE: of the server that writes to it
  for _ in $(seq 100); do grep -q '^serving' "$1" && break; sleep 0.1; done
  sed -n 's|^serving.*:\([0-9]*\)/$|\1|p' "$1"
}

"$EXEUNT" train fashion-mnist -q --threads 2 -s data.split.labels-per-class=60 -s train.batch=32 \
  -s train.epochs=1 -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=500 \
  -s data.split.certify=500 -o m.safetensors >out 2>err || fail train
"$EXEUNT" calibrate m.safetensors -q --max-drop 30 >out 2>err || fail calibrate
"$EXEUNT" serve m.safetensors --port 0 --upto 0 >out 2>err
[ $? = 2 ] || fail '--upto without --upstream is bad usage'
"$EXEUNT" serve m.safetensors --port 0 --upto 0 --upstream http://127.0.0.1:1 --shadow 0.5 >out 2>err
[ $? = 2 ] || fail '--shadow with --upstream is bad usage'
"$EXEUNT" serve m.safetensors --port 0 --upto 7 --upstream http://127.0.0.1:1 >out 2>err &&
  fail 'a cut after the last exit'
grep -q 'must be in \[0, 2\]' err || fail 'no word about exits'
"$EXEUNT" serve m.safetensors --port 0 --upto 0 --upstream https://127.0.0.1:1 --upstream-ca none.pem \
  >out 2>err && fail 'certificates that are not there'
grep -q 'none.pem' err || fail 'no word about certificates'
"$EXEUNT" serve m.safetensors --port 0 --upto auto --upstream http://127.0.0.1:1 >out 2>err &&
  fail 'a cut was chosen for a link that is not there'
grep -q 'did not answer (down)' err || fail 'no word about the link'

"$EXEUNT" serve m.safetensors --port 0 --threads 1 -s thresholds=0.3 >far.out 2>far.err &
far=$!
far_port=$(port far.out)
[ -n "$far_port" ] || fail 'no port of the other server'
"$EXEUNT" serve m.safetensors --port 0 --threads 1 -s thresholds=0.3 --upto 0 --cut float32 \
  --upstream "http://127.0.0.1:$far_port" --upstream-timeout 2 >out 2>err &
near=$!
near_port=$(port out)
[ -n "$near_port" ] || fail 'no port'
call() { # PORT VERB PATH [BODY]: into the file `answer`
  exec 3<>"/dev/tcp/127.0.0.1/$1" || fail 'cannot connect'
  printf '%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
    "$2" "$3" "$(printf %s "${4:-}" | wc -c)" "${4:-}" >&3
  cat <&3 >answer
  exec 3>&-
}
infer() { # PORT PARAMETERS
  call "$1" POST /v2/models/m/infer "{$2\"outputs\":[{\"name\":\"logits\"},{\"name\":\"label\"},{\"name\":\"macs\"}],\
\"inputs\":[{\"name\":\"input\",\"datatype\":\"UINT8\",\"shape\":[1,28,28],\"data\":[$zeros]}]}"
  grep -o '"outputs".*' answer
}
zeros=$(seq -s, 784 | sed 's/[0-9]\+/0/g')
deep='"parameters":{"max_risk":0},' # which full depth alone keeps
infer "$far_port" "$deep" >whole || fail 'no answer of the other server'
infer "$near_port" "$deep" >halves || fail 'no answer'
grep -q '"upstream":1,"alone":0' answer || fail 'it did not cross'
cmp -s whole halves || fail "two servers answer otherwise than one: $(cat whole halves)"

kill -KILL $far
wait $far 2>/dev/null
infer "$near_port" "$deep" >halves || fail 'no answer without the other server'
grep -q '"exit":0,.*"upstream":0,"alone":1' answer || fail 'not its own answer'
for _ in 1 2 3; do infer "$near_port" "$deep" >/dev/null; done
call "$near_port" GET /metrics
# On a machine that is slow the pause may be over before the fourth.
grep -q 'exeunt_upstream_total{model="m",outcome="down"} [34]' answer || fail 'three were to fail'
grep -q 'upstream http://127.0.0.1:[0-9]*/v2/models/m/infer does not answer' err || fail 'not told'

# It comes back, and after the pause is found again.
"$EXEUNT" serve m.safetensors --port "$far_port" --threads 1 -s thresholds=0.3 >far.out 2>far.err &
far=$!
[ -n "$(port far.out)" ] || fail 'the port is taken'
for _ in $(seq 40); do
  infer "$near_port" "$deep" >/dev/null
  grep -q '"upstream":1' answer && break
  sleep 0.1
done
grep -q '"upstream":1' answer || fail 'it was not found again'
grep -q 'answers again' err || fail 'its return was not told'
kill -TERM $near
wait $near || fail 'SIGTERM'

# The best cut, or none, whichever it is on this machine.
"$EXEUNT" serve m.safetensors --port 0 --threads 1 -s thresholds=0.3 --upto auto \
  --upstream "http://127.0.0.1:$far_port" >out 2>err &
near=$!
[ -n "$(port out)" ] || fail 'no port with --upto auto'
[ "$(grep -c 'on average' err)" -ge 2 ] || fail 'what was measured is not told'
[ "$(grep -c 'the least' err)" = 1 ] || fail 'one must be the least'
kill -TERM $near $far
wait $near || fail 'SIGTERM of the near one'
wait $far || fail 'SIGTERM of the far one'
