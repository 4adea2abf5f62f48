#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The server behind TLS, with a certificate made here and asked by curl: health and
# answers, which are those of `exeunt predict`; the bearer token; who does not speak
# TLS, or an old one, is refused; and what is wrong with certificate or key is said.
set -u
export OMP_WAIT_POLICY=passive
for command in openssl curl; do command -v $command >/dev/null || exit 77; done
images=/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
[ -r $images ] || exit 77
n=20
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
"$EXEUNT" calibrate a.safetensors -q --max-drop 30 >out 2>err || fail calibrate

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 "$@" 2>err || fail "$*"; }
key -out key.pem
key -out other.pem
openssl req -x509 -key key.pem -out cert.pem -days 2 -subj /CN=exeunt \
  -addext subjectAltName=IP:127.0.0.1 2>err || fail 'no certificate'
openssl pkey -in key.pem -aes256 -passout pass:exeunt -out locked.pem 2>err || fail 'no locked key'
sed 's/^MH/!!/;s/^MI/!!/' cert.pem >damaged.pem
echo nonsense >nonsense.pem

# ---- what cannot be served with ----
refused() { # CERTIFICATE KEY WORDS
  "$EXEUNT" serve a.safetensors --port 0 --certificate "$1" --key "$2" >out 2>err &
  server=$!
  wait $server
  local status=$?
  server=
  [ $status = 1 ] || fail "certificate $1, key $2: status $status"
  grep -q "$3" err || fail "certificate $1, key $2: nothing of \"$3\""
}
refused absent.pem key.pem '^exeunt serve: absent.pem: '
refused cert.pem absent.pem '^exeunt serve: absent.pem: '
refused nonsense.pem key.pem ' nonsense.pem: holds no CERTIFICATE; must be PEM'
refused cert.pem nonsense.pem ' nonsense.pem: holds no PRIVATE KEY; must be PEM'
refused cert.pem cert.pem ' cert.pem: holds no PRIVATE KEY; must be PEM'
refused cert.pem locked.pem ' locked.pem: the key is encrypted'
refused cert.pem other.pem 'with cert.pem and other.pem: .*key do not match'
refused damaged.pem key.pem 'with damaged.pem and key.pem: .*certificate'

# ---- a server ----
echo a-secret >token
"$EXEUNT" serve a.safetensors --port 0 --threads 2 --certificate cert.pem --key key.pem \
  --token-file token >out 2>err &
server=$!
for _ in $(seq 100); do grep -q '^serving 1 model at https://' out && break; sleep 0.1; done
port=$(sed -n 's|^serving.*https://.*:\([0-9]*\)/$|\1|p' out)
[ -n "$port" ] || fail 'no port was printed'
ask() { # STATUS PATH OPTION...: into the file `answer`
  local expected=$1 path=$2 status
  shift 2
  status=$(curl -sS --noproxy '*' --max-time 20 --cacert cert.pem -o answer -w '%{http_code}' "$@" \
    "https://127.0.0.1:$port$path" 2>err)
  [ "$status" = "$expected" ] || fail "$path $*: status $status, expected $expected"
}
bearer='Authorization: Bearer a-secret'
ask 200 /v2/health/live
ask 200 /v2/health/ready
ask 401 /v2
ask 401 /v2 -H 'Authorization: Bearer another'
ask 401 /v2/models/a/infer -d '{}'
ask 200 /v2/models/a -H "$bearer"

# One after another on one connection, each held against predict.
{
  printf '\x93NUMPY\x01\x00\x76\x00'
  printf "%-117s\n" "{'descr': '|u1', 'fortran_order': False, 'shape': ($n, 1, 28, 28), }"
  zcat $images 2>/dev/null | tail -c +17 | head -c $((784 * n))
} >images.npy
"$EXEUNT" predict a.safetensors images.npy --json -q >predicted 2>err || fail predict
sed -nE 's/.*"label": ?([0-9]+).*"exit": ?([0-9]+).*/\1 \2/p' predicted >expected
[ "$(wc -l <expected)" = $n ] || fail "predict gave no $n answers"
head='{"outputs":[{"name":"label","parameters":{"binary_data":false}},
  {"name":"exit","parameters":{"binary_data":false}}],"inputs":[{"name":"input",
  "datatype":"UINT8","shape":[1,1,28,28],"parameters":{"binary_data_size":784}}]}'
for i in $(seq 0 $((n - 1))); do
  { printf %s "$head"; tail -c +$((129 + 784 * i)) images.npy | head -c 784; } >"body$i"
  [ "$i" = 0 ] || echo next
  printf '%s\n' "url = \"https://127.0.0.1:$port/v2/models/a/infer\"" 'cacert = cert.pem' \
    'silent' 'show-error' 'max-time = 20' 'noproxy = "*"' "header = \"$bearer\"" \
    "header = \"Inference-Header-Content-Length: ${#head}\"" "data-binary = \"@body$i\"" \
    "write-out = \" %{num_connects}\\n\""
done >asks
curl -K asks >answer 2>err || fail 'curl'
sed -nE 's/.*"data": ?\[([0-9]+)\].*"data": ?\[([0-9]+)\].*/\1 \2/p' answer >got
cmp -s got expected || { diff got expected; fail 'not the answers of predict'; }
[ "$(grep -c ' 0$' answer)" = $((n - 1)) ] || fail 'not on one connection'
ask 200 /v2/models/a/infer -H "$bearer" -H 'Accept: text/event-stream' \
  -H "Inference-Header-Content-Length: ${#head}" --data-binary @body0
grep -q '^event: final' answer || fail 'no events'

# ---- who does not speak as is asked ----
curl -sS --noproxy '*' --max-time 5 -o answer "http://127.0.0.1:$port/v2/health/live" 2>err
[ $? = 52 ] || fail 'plain HTTP is answered'
curl -sS --noproxy '*' --max-time 5 -o answer "https://127.0.0.1:$port/v2/health/live" 2>err
[ $? = 60 ] || fail 'curl trusts a certificate that it was not given'
speak() { # OPTION...: does a handshake of these succeed?
  openssl s_client -connect "127.0.0.1:$port" -CAfile cert.pem "$@" </dev/null >answer 2>err
}
speak -tls1_3 || fail 'TLS 1.3 is refused'
speak -tls1_2 || fail 'TLS 1.2 is refused'
speak -tls1_1 -cipher DEFAULT@SECLEVEL=0 && fail 'TLS 1.1 is spoken'
grep -q 'written [1-9]' answer || fail 'openssl did not even offer TLS 1.1'

# Handshakes that are never ended do not keep others out.
for _ in $(seq 8); do
  exec {fd}<>"/dev/tcp/127.0.0.1/$port" || fail 'cannot connect'
  printf '\x16\x03\x01\x02\x00\x01' >&$fd
done
ask 200 /v2/health/live

kill -TERM $server
wait $server
status=$?
server=
[ $status = 0 ] || fail "SIGTERM: status $status"
