#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deploy/Containerfile installs every library that the command is linked with.
set -u
file=$SRC/deploy/Containerfile
for command in dpkg objdump; do command -v $command >/dev/null || exit 77; done
[ -x "$BUILD/exeunt" ] || exit 77
# The words of the last stage, where the command is run.
sed '1,/^FROM.*AS build/d' "$file" | sed '1,/^FROM/d' | tr -s ' \\' '\n' >words
echo libc6 >>words # everybody's
n=0 failed=0
for library in $(objdump -p "$BUILD/exeunt" | awk '$1 == "NEEDED" { print $2 }'); do
  n=$((n + 1))
  dpkg -S "*/$library" 2>/dev/null | sed 's/:.*//' >owners # cross compilers have a libm too
  grep -qxFf owners words && [ -s owners ] && continue
  echo "$file: the command needs $library, of $(paste -sd ' ' owners), which is not installed"
  failed=1
done
[ $n -ge 5 ] || { echo "only $n libraries were found"; failed=1; }
exit $failed
