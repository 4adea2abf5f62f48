#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Python package: its wheel, made without a network, has what it must; the module in it
# loads the library beside it and answers as the command does.
set -u
export OMP_WAIT_POLICY=passive
python=/usr/bin/python3 # Debian's, which has its NumPy
$python -c 'import numpy' 2>/dev/null || exit 77
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77

(cd "$SRC" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=python $python -c '
import sys, wheel_backend
print(wheel_backend.build_wheel(sys.argv[1], {"build-dir": sys.argv[2]}))' "$OLDPWD" "$BUILD") >out 2>&1 ||
  { cat out; exit 1; }
wheel=$(tail -1 out)
$python -m zipfile -e "$wheel" installed || exit 1

"$EXEUNT" train fashion-mnist -q --threads 1 -s data.split.labels-per-class=60 -s train.batch=32 \
  -s train.epochs=1 -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=1000 \
  -s data.split.certify=1000 -o raw.safetensors &&
  cp raw.safetensors m.safetensors &&
  "$EXEUNT" calibrate m.safetensors -q --max-macs 0.8 || exit 1
$python "$SRC/tests/python_package.py" files || exit 1
"$EXEUNT" predict m.safetensors x.npy --json --all-exits >answers.json || exit 1
PYTHONPATH=installed $python "$SRC/tests/python_package.py" answers
