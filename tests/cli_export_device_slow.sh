#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B-LeNet, exported as C, under emulation: Cortex-M4, M7, M33 and 32-bit RISC-V give
# the labels, exits and bits of the logits that the same C gives on this machine.
# Prints a table of sizes; emulation says nothing of speed.
set -u
export OMP_WAIT_POLICY=passive
for tool in arm-none-eabi-gcc qemu-system-arm riscv64-unknown-elf-gcc qemu-system-riscv32; do
  command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
images=/usr/share/datasets/fashion-mnist
[ -r $images/t10k-images-idx3-ubyte.gz ] || { echo "skipped: no Fashion-MNIST"; exit 77; }
many=${DEVICE_MANY:-1000} few=${DEVICE_FEW:-100} # inputs, with and without floats in hardware
failed=0

"$EXEUNT" train fashion-mnist-lenet -q --threads 1 -s data.split.labels-per-class=500 \
  -s train.epochs=3 -s train.batch=64 -s data.split.select=1000 -s data.split.certify=1000 \
  -o m.safetensors >log 2>&1 &&
  "$EXEUNT" calibrate m.safetensors -q --threads 1 --max-drop 3 >>log 2>&1 || { cat log; exit 1; }
zcat $images/t10k-images-idx3-ubyte.gz | tail -c +17 | head -c $((1000 * 784)) >inputs

flags="-std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off"
main=$SRC/tests/export_device.c

# NAME|inputs|compiler and flags|code|RAM|emulator
targets="
cortex-m4|$many|arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard|0x0|0x20000000|qemu-system-arm -M mps2-an386
cortex-m7|$many|arm-none-eabi-gcc -mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard|0x0|0x20000000|qemu-system-arm -M mps2-an500
cortex-m33|$few|arm-none-eabi-gcc -mcpu=cortex-m33 -mthumb -mfloat-abi=soft|0x10000000|0x38000000|qemu-system-arm -M mps2-an505
rv32imac|$few|riscv64-unknown-elf-gcc -march=rv32imac -mabi=ilp32|0x80000000|0x80400000|qemu-system-riscv32 -M virt -bios none
rv32imafc|$many|riscv64-unknown-elf-gcc -march=rv32imafc -mabi=ilp32f|0x80000000|0x80400000|qemu-system-riscv32 -M virt -bios none
"

link() { # FORM CODE RAM OUTPUT COMPILER...: net.o and the test's main, for the emulator
  local form=$1 code=$2 ram=$3 output=$4
  shift 4
  case $1 in
    arm-*)
      sed "s/@CODE@/$code/; s/@RAM@/$ram/" "$SRC/tests/device/cortex_m.ld" >cortex_m.ld
      # shellcheck disable=SC2086 # lists of flags
      "$@" -I"$form" $flags -DDEVICE_COUNT="$count" "$form/net.o" "$main" \
        "$SRC/tests/device/cortex_m_start.c" -T cortex_m.ld -nostartfiles --specs=rdimon.specs \
        "$("$@" -print-file-name=rdimon-crt0.o)" -o "$output"
      ;;
    *)
      # shellcheck disable=SC2086
      "$@" --specs=picolibc.specs --oslib=semihost --crt0=hosted -I"$form" $flags \
        -DDEVICE_COUNT="$count" "$form/net.o" "$main" -Wl,--defsym=__flash=$code \
        -Wl,--defsym=__flash_size=4M -Wl,--defsym=__ram=$ram -Wl,--defsym=__ram_size=4M -o "$output"
      ;;
  esac
}

section() { # FILE NAME...: bytes of sections whose names begin so
  local file=$1
  shift
  local sum=0 name
  for name in "$@"; do
    sum=$((sum + $(size -A "$file" | awk -v n="$name" 'index($1, n) == 1 { s += $2 } END { print s + 0 }')))
  done
  echo $sum
}

for form in float int8; do
  mkdir -p $form
  option=
  [ $form = int8 ] && option=--int8
  # shellcheck disable=SC2086
  "$EXEUNT" export m.safetensors --to c -q -n net -o $form $option >log 2>&1 || { cat log; exit 1; }
  # shellcheck disable=SC2086
  cc $flags -I$form $form/net.c "$main" -o host && ./host inputs 1000 >$form.host || exit 1
  [ "$(wc -l <$form.host)" = 1000 ] || { echo "FAILED: $form on the host"; exit 1; }
  [ "$(awk '{ print $2 }' $form.host | sort -u | wc -l)" = 2 ] || { echo "FAILED: one exit alone"; exit 1; }
  while IFS='|' read -r name count compiler code ram emulator; do
    [ -n "$name" ] || continue
    # Without a C library; size and bits do not depend on how it is optimised.
    # shellcheck disable=SC2086
    $compiler $flags -Os -ffreestanding -I$form -c $form/net.c -o $form/net.o || exit 1
    echo "$form $name: code $(section $form/net.o .text) bytes, constants $(section $form/net.o .rodata .srodata) bytes"
    # shellcheck disable=SC2086
    link $form "$code" "$ram" device.elf $compiler || exit 1
    start=$SECONDS
    # shellcheck disable=SC2086
    timeout 300 $emulator -nographic -monitor none -serial none \
      -chardev stdio,id=console -semihosting-config enable=on,target=native,chardev=console \
      -kernel device.elf </dev/null >device.out 2>device.err
    status=$?
    if [ $status = 0 ] && cmp -s device.out <(head -n "$count" $form.host); then
      echo "$form $name: $count inputs, the same bits ($((SECONDS - start)) s)"
    else
      echo "FAILED: $form $name: status $status"
      diff device.out <(head -n "$count" $form.host) | head -6
      head -3 device.err
      failed=1
    fi
  done <<<"$targets"
done
grep -hE '^#define NET_(WORK|STAGE)' float/net.h int8/net.h
exit $failed
