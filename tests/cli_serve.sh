#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The server as a command: it prints its port, answers, loads anew on SIGHUP,
# and ends with status 0 on SIGTERM. Spoken to through bash alone.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
server=
fail() {
  echo "$1"
  cat out err answer 2>/dev/null
  [ -z "$server" ] || kill -KILL "$server"
  exit 1
}

"$EXEUNT" train fashion-mnist -q --threads 2 -s data.split.labels-per-class=60 -s train.batch=32 \
  -s train.epochs=1 -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=500 \
  -s data.split.certify=500 -o a.safetensors >out 2>err || fail train
"$EXEUNT" serve a.safetensors --port 0 >out 2>err && fail 'an uncalibrated model was served'
grep -q 'a.safetensors: is not calibrated' err || fail 'no word about calibration'
"$EXEUNT" calibrate a.safetensors -q --max-drop 30 >out 2>err || fail calibrate
"$EXEUNT" serve a.safetensors a=a.safetensors >out 2>err && fail 'two models of one name'
grep -q 'two models are named "a"' err || fail 'no word about two names'
"$EXEUNT" serve a.safetensors --key k >out 2>err
[ $? = 2 ] || fail 'a key without a certificate is bad usage'

"$EXEUNT" serve a.safetensors deep=a.safetensors --port 0 --threads 2 >out 2>err &
server=$!
for _ in $(seq 100); do grep -q '^serving 2 models at ' out && break; sleep 0.1; done
port=$(sed -n 's|^serving.*:\([0-9]*\)/$|\1|p' out)
[ -n "$port" ] || fail 'no port was printed'
call() { # VERB PATH [BODY]: into the file `answer`
  exec 3<>"/dev/tcp/127.0.0.1/$port" || fail 'cannot connect'
  printf '%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
    "$1" "$2" "$(printf %s "${3:-}" | wc -c)" "${3:-}" >&3
  cat <&3 >answer
  exec 3>&-
}
infer() { # MODEL
  call POST "/v2/models/$1/infer" \
    "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"UINT8\",\"shape\":[1,28,28],\"data\":[$zeros]}]}"
}
zeros=$(seq -s, 784 | sed 's/[0-9]\+/0/g')
call GET /v2/health/ready
grep -q '200 OK' answer || fail 'not ready'
infer a
grep -q '"exit":[0-3],"confidence":0\.' answer || fail 'no answer'
tail -1 answer >before
infer deep
grep -q '"model_name":"deep"' answer || fail 'no answer of the second model'
kill -HUP $server
for _ in $(seq 100); do
  call GET /v2/models/a
  grep -q '"loads":2' answer && break
  sleep 0.1
done
grep -q '"loads":2' answer || fail 'not loaded anew'
infer a
tail -1 answer | cmp -s - before || fail 'the same model gave another answer'
kill -TERM $server
wait $server
status=$?
server=
[ $status = 0 ] || fail "SIGTERM: status $status"
