#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A model's life through the command: train, calibrate, verify, evaluate,
# predict, on a few real images.
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  "$@" >out 2>err && return
  echo "FAILED: $what"
  cat out err
  failed=1
}

small=(-q --threads 2 -s data.split.labels-per-class=60 -s train.batch=32 -s train.epochs=2
  -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=1000
  -s data.split.certify=1000)

check train "$EXEUNT" train fashion-mnist "${small[@]}" -o a.safetensors
check 'train again' "$EXEUNT" train fashion-mnist "${small[@]}" -o b.safetensors --json
grep -q '"best_epoch"' out || { echo 'train --json lacks best_epoch'; failed=1; }
weights() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1" | sha256sum; }
[ "$(weights a.safetensors)" = "$(weights b.safetensors)" ] ||
  { echo 'the same seed gave other weights'; failed=1; }

check calibrate "$EXEUNT" calibrate a.safetensors -q --max-drop 20
grep -q 'met, on data that chose nothing' out || { echo 'calibrate does not say met'; cat out; failed=1; }
check verify "$EXEUNT" verify a.safetensors -q
grep -q 'the receipt holds' out || failed=1
check evaluate "$EXEUNT" evaluate a.safetensors -q --json --timed 50 --report page.html --dynamic dynamic.txt
for key in n accuracy mean_macs executed_macs mean_ns full exits anytime budgeted policy receipt; do
  grep -q "\"$key\"" out || { echo "evaluate --json lacks $key"; failed=1; }
done
grep -q '</html>' page.html || { echo 'no page'; failed=1; }
[ "$(awk 'NF != 2' dynamic.txt | wc -l)" = 0 ] && [ -s dynamic.txt ] || { echo 'dynamic.txt'; failed=1; }
check 'evaluate, text' "$EXEUNT" evaluate a.safetensors -q --timed 0 --policy fixed -s exit=0
grep -qE '^ +1 +100\.0 %' out || { echo 'rule fixed, exit 0: not all left there'; cat out; failed=1; }
cp a.safetensors timed.safetensors
cp a.safetensors scaled.safetensors
check 'calibrate, temperature' "$EXEUNT" calibrate scaled.safetensors -q --max-drop 20 --temperature
grep -aqF 'temperature\":[' scaled.safetensors || { echo 'no temperature was kept'; failed=1; }
check 'verify, scaled' "$EXEUNT" verify scaled.safetensors -q
check 'calibrate, product' "$EXEUNT" calibrate scaled.safetensors -q --max-drop 20 --transform product
check 'verify, product' "$EXEUNT" verify scaled.safetensors -q
"$EXEUNT" calibrate scaled.safetensors -q --max-drop 20 --transform sum >out 2>&1 && failed=1
grep -q 'transform = "sum"; must be own or product' out || { cat out; failed=1; }
check 'calibrate, latency' "$EXEUNT" calibrate timed.safetensors -q --threads 2 --max-latency 1e6
grep -qE '^latency .* us on certify, at most [0-9.]+ by the 90 % bound' out ||
  { echo 'calibrate --max-latency prints no latency'; cat out; failed=1; }
check 'evaluate, latency' "$EXEUNT" evaluate timed.safetensors -q --threads 2 --timed 200
grep -qE '^latency .* us per input; asked for at most' out ||
  { echo 'evaluate prints no latency'; cat out; failed=1; }
cp a.safetensors risk.safetensors
check 'calibrate, risk' "$EXEUNT" calibrate risk.safetensors -q --risk 0.1 --confidence 0.95
grep -q 'certified: disagreement at most 0.1 with 95 % confidence (ltt)' out ||
  { echo 'calibrate --risk does not say certified'; cat out; failed=1; }
check 'verify, risk' "$EXEUNT" verify risk.safetensors -q
grep -q '^ok *last policy that passed' out || { echo 'verify does not walk again'; cat out; failed=1; }
check 'evaluate, risk' "$EXEUNT" evaluate risk.safetensors -q --timed 0
grep -qE '^risk +disagreement 0\.[0-9]+; promised at most 0.1 with 95 % confidence' out ||
  { echo 'evaluate prints no risk'; cat out; failed=1; }
"$EXEUNT" calibrate risk.safetensors -q --risk 0.001 >out 2>&1
[ $? = 1 ] && grep -q '1000 samples in certify; it takes at least 2302' out ||
  { echo 'too few samples were not refused'; cat out; failed=1; }
check bench "$EXEUNT" bench a.safetensors --rounds 5 --json
grep -q '"exits"' out || failed=1

# Frequencies: simulated; and set, in a folder that stands for the machine's.
check 'govern, simulated' "$EXEUNT" govern a.safetensors -q --samples 200
grep -q '^SIMULATED: ' out && grep -qE '^governed for all that may follow .* [0-9.]+ uJ' out ||
  { echo 'govern does not say that it is simulated'; cat out; failed=1; }
cpu=sys/devices/system/cpu/cpu0/cpufreq
"$EXEUNT" govern a.safetensors -q --governor cpufreq --sysfs sys >out 2>&1
[ $? = 1 ] && grep -q 'does not let its frequency be set' out || { echo 'no cpufreq'; cat out; failed=1; }
mkdir -p "$cpu"
echo schedutil >"$cpu/scaling_governor"
echo '<unsupported>' >"$cpu/scaling_setspeed"
echo 'schedutil userspace' >"$cpu/scaling_available_governors"
echo '2000000 1000000' >"$cpu/scaling_available_frequencies"
check 'govern, cpufreq' "$EXEUNT" govern a.safetensors -q --samples 20 --governor cpufreq --sysfs sys
grep -q '^measured on this machine' out && grep -q 'not told' out ||
  { echo 'govern --governor cpufreq'; cat out; failed=1; }
[ "$(cat "$cpu/scaling_governor")" = schedutil ] || { echo 'the governor was not put back'; failed=1; }
"$EXEUNT" govern a.safetensors -q --samples 10000 --governor cpufreq --sysfs sys >out 2>&1 &
for _ in $(seq 200); do
  [ "$(cat "$cpu/scaling_governor")" = userspace ] && break
  sleep 0.05
done
kill -TERM $!
wait $!
[ $? = 1 ] && [ "$(cat "$cpu/scaling_governor")" = schedutil ] ||
  { echo 'a run that was stopped did not put the governor back'; cat out; failed=1; }

# Two inputs of zeros as .npy: header of 128 bytes, then floats.
header="{'descr': '<f4', 'fortran_order': False, 'shape': (2, 28, 28), }"
{ printf '\x93NUMPY\x01\x00\x76\x00'; printf '%-117s\n' "$header"; head -c 6272 /dev/zero; } >two.npy
check predict "$EXEUNT" predict a.safetensors two.npy --json --all-exits
[ "$(wc -l <out)" = 2 ] && grep -q '"logits"' out && grep -q '"exits"' out ||
  { echo 'predict --json'; cat out; failed=1; }
check 'predict, explained' "$EXEUNT" predict a.safetensors two.npy --explain
grep -qE '^ +(max-probability|entropy) .*, leaves (from|below) .*multiply-adds spent' out ||
  { echo 'predict --explain'; cat out; failed=1; }
check 'predict, text' "$EXEUNT" predict a.safetensors two.npy
grep -qE 'two.npy \[1\]: .*exit [1-4] of 4, confidence' out || { echo 'predict'; cat out; failed=1; }

# Classes by label and by number; rules without any say so.
cp a.safetensors classes.safetensors
check 'calibrate, classes' "$EXEUNT" calibrate classes.safetensors -q --policy classy \
  --classes Sneaker,8 --max-drop 20
check 'evaluate, classes' "$EXEUNT" evaluate classes.safetensors -q --timed 0 --classes Bag
grep -qE '^interest   Bag \(1000 samples\): [0-9.]+ % right and early' out &&
  grep -qE '^others .* 0\.0 % are refused early' out ||
  { echo 'evaluate --classes tells nothing of them'; cat out; failed=1; }
"$EXEUNT" evaluate a.safetensors -q --timed 0 --classes Bag >out 2>&1
[ $? = 1 ] && grep -q 'knows no classes of interest' out ||
  { echo 'evaluate: a rule without classes took some'; cat out; failed=1; }
check 'calibrate, refusing' "$EXEUNT" calibrate classes.safetensors -q --policy classy \
  --classes Sneaker,8 -s others=refuse -s from=0,1 --max-macs 0.7
check 'evaluate, refusing' "$EXEUNT" evaluate classes.safetensors -q --timed 0 --json
grep -q '"false_alarms"' out || { echo 'evaluate --json lacks classes of interest'; failed=1; }
check 'predict, classes' "$EXEUNT" predict classes.safetensors two.npy --classes Bag
"$EXEUNT" predict classes.safetensors two.npy --classes Hat >out 2>&1
[ $? = 1 ] && grep -q 'class "Hat" is unknown; must be a number below 10 or one of T-shirt' out ||
  { echo 'an unknown class was not refused'; cat out; failed=1; }
"$EXEUNT" predict a.safetensors two.npy --classes Bag >out 2>&1
[ $? = 1 ] && grep -q 'knows no classes of interest' out ||
  { echo 'a rule without classes took some'; cat out; failed=1; }

cp a.safetensors broken.safetensors
printf '\x01' | dd of=broken.safetensors bs=1 seek=$(($(stat -c %s broken.safetensors) - 40)) conv=notrunc status=none
"$EXEUNT" verify broken.safetensors -q >out 2>&1
[ $? = 1 ] && grep -q 'does NOT hold' out || { echo 'changed weights were verified'; cat out; failed=1; }
exit $failed
