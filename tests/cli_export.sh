#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A model goes out as C: the files, what the compiler says of them, where the numbers
# of a stage lie, that no library is asked for, and what is refused.
set -u
export OMP_WAIT_POLICY=passive
images=/usr/share/datasets/fashion-mnist
[ -r $images/train-images-idx3-ubyte.gz ] || exit 77
command -v cc >/dev/null || exit 77
failed=0
wrong() { # WHAT
  echo "FAILED: $1"
  cat out 2>/dev/null
  failed=1
}

"$EXEUNT" train fashion-mnist-lenet -q --threads 1 -s data.split.labels-per-class=60 -s train.epochs=1 \
  -s data.split.select=500 -s data.split.certify=500 -o B-LeNet.safetensors >out 2>&1 || wrong train
"$EXEUNT" export B-LeNet.safetensors --to c >out 2>&1 && wrong 'a model that is not calibrated'
grep -q 'is not calibrated; run `exeunt calibrate`' out || wrong 'what to do is not said'
"$EXEUNT" calibrate B-LeNet.safetensors -q --threads 1 --max-drop 20 >out 2>&1 || wrong calibrate

"$EXEUNT" export B-LeNet.safetensors --to c >out 2>&1 || wrong export
[ -s b_lenet.c ] && [ -s b_lenet.h ] || wrong 'the name is not the file'\''s'
zcat $images/t10k-images-idx3-ubyte.gz | tail -c +17 | head -c $((50 * 784)) >inputs
for form in float int8; do
  mkdir -p $form
  option=
  [ $form = int8 ] && option=--int8
  # shellcheck disable=SC2086
  "$EXEUNT" export B-LeNet.safetensors --to c -n net -o $form --json $option >out 2>&1 || wrong "$form"
  grep -q "\"numbers\": \"$form\"" out || wrong '--json'
  flags="-std=c99 -Os -Wall -Wextra -Wpedantic -Werror -ffp-contract=off -I$form"
  # shellcheck disable=SC2086
  cc $flags -ffreestanding -D'NET_STAGE_1=__attribute__((section(".slow")))' -c $form/net.c -o net.o ||
    wrong 'compiling'
  bytes=$(sed -n 's/^#define NET_STAGE_BYTES_1 //p' $form/net.h)
  [ "$(size -A net.o | awk '$1 == ".slow" { print $2 }')" -ge "$bytes" ] ||
    wrong 'the numbers of stage 1 do not lie where they should'
  nm -u net.o | grep -vE ' (memcpy|memset|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$' >out && wrong 'asks for a library'
  # shellcheck disable=SC2086
  cc $flags net.o "$SRC/tests/export_device.c" -o run && ./run inputs 50 >lines || wrong 'running'
  # shellcheck disable=SC2086
  if echo 'int main(void) { return 0; }' | cc -fsanitize=address,undefined -x c - -o probe 2>/dev/null; then
    cc $flags -g -fsanitize=address,undefined -fno-sanitize-recover=all $form/net.c \
      "$SRC/tests/export_device.c" -o sane && ./sane inputs 50 >sane.lines 2>out || wrong 'sanitizers'
    cmp -s lines sane.lines || wrong 'other bits under sanitizers'
  fi
  [ "$(grep -cE '^[0-9] [01]( [0-9a-f]{8}){11}$' lines)" = 50 ] || wrong 'lines'
done

refuse() { # PART ARGUMENT...
  local part=$1
  shift
  "$EXEUNT" export B-LeNet.safetensors "$@" >out 2>&1
  [ $? = 1 ] && grep -qF -- "$part" out || wrong "export $*"
}
refuse 'must be one of c'
refuse '--to rust; must be one of' --to rust
refuse 'exit rule oracle cannot be written as C; must be one of max-probability' --to c --policy oracle
refuse 'name "9a"; must be [a-z]' --to c --name 9a
refuse 'cannot create' --to c -o nowhere
refuse '--form goes with --to onnx; without that it must be left out' --to c --form single
refuse '--name goes with --to c; without that it must be left out' --to onnx --name net
refuse '--int8 goes with --to c' --to onnx --int8
refuse '--samples goes with --to c --int8' --to c --samples 10
refuse '--data goes with --to c --int8' --to onnx --data fashion-mnist
exit $failed
