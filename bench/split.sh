#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# split.sh MODEL [SECONDS]: one network on two machines, over links from slow to fast:
# split behind an exit, against all of it on the device, and against sending the image
# (as PNG) to the server. Mean time of an answer, bytes on the link per image both ways,
# accuracy. One client asks for one image at a time, so the mean is the time by the
# number of answers (wrk's own figures of latency allow for requests that it did not send).
#
# The machines are network namespaces, joined by a pair of interfaces whose rate
# `tc` shapes both ways (token bucket; a delay is not added). DEVICE=0.1 gives the
# device a tenth of a processor (cgroup cpu quota of 1 ms in 10), the server has one of
# its own. Needs root, iproute2, wrk and python3.
set -eu
model=$(realpath "$1")
seconds=${2:-5}
rates=${RATES:-100kbit 300kbit 1mbit 3mbit 10mbit 100mbit}
cuts=${CUTS:-0:int4 1:int8 1:int4 2:int4 0:input 1:input 2:input}
device=${DEVICE:-1}
exeunt=$(realpath "${EXEUNT:-$(dirname "$0")/../build/exeunt}")
data=/usr/share/datasets/fashion-mnist
work=$(mktemp -d)
near=exeunt-near far=exeunt-far
group=/sys/fs/cgroup/cpu/exeunt-device
servers=()
end() {
  [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true
  ip netns delete $near 2>/dev/null || true
  ip netns delete $far 2>/dev/null || true
  sleep 0.2
  rmdir $group 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

if ! ip netns add $near || ! ip netns add $far; then
  echo 'split: no network namespaces here'
  exit 77
fi
ip -n $near link add link-near type veth peer name link-far netns $far
ip -n $near address add 10.99.0.1/24 dev link-near
ip -n $far address add 10.99.0.2/24 dev link-far
for side in near far; do
  ip -n exeunt-$side link set lo up
  ip -n exeunt-$side link set link-$side up
done
if [ "$device" != 1 ]; then
  mkdir -p $group
  echo 10000 >$group/cpu.cfs_period_us
  awk -v share="$device" 'BEGIN { printf "%d", share * 10000 }' >$group/cpu.cfs_quota_us
fi
shape() { # RATE: a bucket of two packets, or of what the kernel's clock needs
  local bits
  bits=$(echo "$1" | sed 's/gbit/000000000/; s/mbit/000000/; s/kbit/000/')
  for side in near far; do
    tc -n exeunt-$side qdisc replace dev link-$side root tbf rate "$1" \
      burst $((bits / 8 / 250 > 3200 ? bits / 8 / 250 : 3200)) latency 10s
  done
}
bytes() { # on the link, both ways
  ip -n $near -s -j link show dev link-near |
    python3 -c 'import json, sys; s = json.load(sys.stdin)[0]["stats64"]; print(s["tx"]["bytes"] + s["rx"]["bytes"])'
}

# 1,000 test images as they are, as the smallest PNG of five filters, and their labels.
python3 - "$work" $data/t10k-images-idx3-ubyte.gz $data/t10k-labels-idx1-ubyte.gz <<'PY'
import gzip, struct, sys, zlib

work, images, labels = sys.argv[1:]
pixels = gzip.open(images).read()[16:16 + 784 * 1000]
digits = gzip.open(labels).read()[8:1008]


def filtered(rows, kind):
    out, above = b"", bytes(28)
    for row in rows:
        left = bytes(1) + row[:-1]
        corner = bytes(1) + above[:-1]
        line = bytearray()
        for x, a, b, c in zip(row, left, above, corner):
            p = a + b - c
            paeth = min((a, b, c), key=lambda v: abs(p - v))
            line.append((x - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        out += bytes([kind]) + bytes(line)
        above = row
    return out


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(image):
    rows = [image[28 * r:28 * r + 28] for r in range(28)]
    body = min((zlib.compress(filtered(rows, kind), 9) for kind in range(5)), key=len)
    head = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


total = 0
with open(work + "/pngs", "wb") as pngs, open(work + "/index", "w") as index:
    for i in range(1000):
        file = png(pixels[784 * i:784 * i + 784])
        total += len(file)
        pngs.write(struct.pack("<I", len(file)) + file)
        index.write("%d %d\n" % (digits[i], len(file) + 4))
open(work + "/images", "wb").write(pixels)
print("images: 784 bytes of pixels, %d as PNG on average" % (total // 1000))
PY

cat >"$work/ask.lua" <<LUA
local images = io.open("$work/images", "rb"):read("*a")
local pngs = io.open("$work/pngs", "rb"):read("*a")
local label, from, size, at = {}, {}, {}, 1
for line in io.lines("$work/index") do
  local l, n = line:match("(%d+) (%d+)")
  label[#label + 1], from[#from + 1], size[#size + 1] = tonumber(l), at, tonumber(n)
  at = at + tonumber(n)
end
local png, i = os.getenv("ASK") == "png", 0
wrk.method = "POST"
right, asked = 0, 0
local thread
function setup(given) thread = given end
function request()
  i = i % #label + 1
  local kind, shape, n = "UINT8", "1,1,28,28", 784
  if png then kind, shape, n = "BYTES", "1", size[i] end
  local head = '{"id":"' .. i .. '","outputs":[{"name":"label"}],"inputs":[{"name":"input","datatype":"' .. kind ..
    '","shape":[' .. shape .. '],"parameters":{"binary_data_size":' .. n .. '}}]}'
  wrk.headers["Inference-Header-Content-Length"] = tostring(#head)
  local body = png and pngs:sub(from[i], from[i] + n - 1) or images:sub(i * 784 - 783, i * 784)
  return wrk.format(nil, nil, nil, head .. body)
end
function response(status, headers, body)
  local k, l = body:match('"id": *"(%d+)"'), body:match('"data": *%[(%d+)%]')
  asked = asked + 1
  if status == 200 and tonumber(l) == label[tonumber(k)] then right = right + 1 end
end
function done(summary, latency)
  print(string.format("result %d %.4f %.3f", thread:get("asked"),
    thread:get("right") / thread:get("asked"), summary.duration / 1e3 / thread:get("asked")))
end
LUA

port=0
start() { # NAMESPACE ADDRESS OPTION...: sets port
  local side=$1 address=$2
  shift 2
  : >"$work/out"
  ip netns exec "$side" "$exeunt" serve "m=$model" --address "$address" --port 0 --threads 1 \
    --drift-window 0 "$@" >"$work/out" 2>"$work/err" &
  servers+=($!)
  until grep -q '^serving' "$work/out"; do
    kill -0 "${servers[-1]}" || { cat "$work/err"; exit 1; }
    sleep 0.1
  done
  port=$(sed -n 's|.*:\([0-9]*\)/$|\1|p' "$work/out")
  if [ "$side" = $near ] && [ "$device" != 1 ]; then
    for task in /proc/"${servers[-1]}"/task/*; do echo "${task##*/}" >$group/tasks; done
  fi
}
run() { # NAME ADDRESS PORT [png]
  local before after
  before=$(bytes)
  ASK=${4:-} ip netns exec $near wrk -t 1 -c 1 -d "$seconds" --timeout 60s -s "$work/ask.lua" \
    "http://$2:$3/v2/models/m/infer" >"$work/wrk"
  after=$(bytes)
  awk -v name="$1" -v bytes=$((after - before)) '$1 == "result" {
    printf "  %-20s %9.2f ms  %6.0f bytes  %.2f %% right of %d\n", name, $4, bytes / $2, 100 * $3,
      $2 }' "$work/wrk"
}

start $far 10.99.0.2
server_port=$port
start $near 127.0.0.1
whole_port=$port
echo "device with $device of a processor; time of an answer, bytes on the link per image"
run 'all on the device' 127.0.0.1 "$whole_port"
for rate in $rates; do
  shape "$rate"
  echo "$rate"
  run 'PNG to the server' 10.99.0.2 "$server_port" png
  for cut in $cuts; do
    start $near 127.0.0.1 --upto "${cut%:*}" --cut "${cut#*:}" --upstream-timeout 60 \
      --upstream "http://10.99.0.2:$server_port"
    run "up to exit ${cut%:*}, ${cut#*:}" 127.0.0.1 "$port"
    kill -TERM "${servers[-1]}"
    wait "${servers[-1]}" || true
    unset 'servers[-1]'
  done
done
