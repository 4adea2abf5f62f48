#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A model goes out as ONNX: the checker of python3-onnx takes it, and ONNX Runtime gives
# the engine's answers and exits, for many rules, in both forms.
# Samples with a score within 1e-5 of a threshold may differ, and are counted.
# MODEL=FILE N=10000: another model and more test images than usual, by hand.
set -u
export OMP_WAIT_POLICY=passive
images=/usr/share/datasets/fashion-mnist
python=/usr/bin/python3
runtime=$SRC/build-node/node_modules/onnxruntime-node
[ -r $images/train-images-idx3-ubyte.gz ] || exit 77
$python -c 'import numpy, onnx' 2>/dev/null || { echo "python3-onnx is not installed"; exit 77; }
failed=0
wrong() { # WHAT
  echo "FAILED: $1"
  tail -5 out 2>/dev/null
  failed=1
}

n=${N:-200}
model=${MODEL:-net.safetensors}
if [ -z "${MODEL:-}" ]; then
  "$EXEUNT" train fashion-mnist -q --threads 1 -s data.split.labels-per-class=200 \
    -s train.epochs=2 -s data.split.select=500 -s data.split.certify=500 -o net.safetensors >out 2>&1 || wrong train
  "$EXEUNT" calibrate net.safetensors -q --threads 1 --temperature --max-drop 20 >out 2>&1 || wrong calibrate
fi
$python - "$images/t10k-images-idx3-ubyte.gz" "$n" <<'PYTHON' || wrong inputs
import gzip, sys
import numpy
pixels = numpy.frombuffer(gzip.open(sys.argv[1]).read(), numpy.uint8, offset=16)
pixels = pixels.reshape(-1, 1, 28, 28)[:int(sys.argv[2])].astype(numpy.float32)
numpy.save('inputs.npy', pixels)
pixels.tofile('inputs')
PYTHON

run() { # FILE BATCH: lines of label, exit, confidence, logits
  node - "$runtime" "$1" "$2" <<'NODE'
const [runtime, file, size] = process.argv.slice(2)
const fs = require('fs'), ort = require(runtime), bytes = fs.readFileSync('inputs')
const x = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), one = 28 * 28
ort.InferenceSession.create(file, {intraOpNumThreads: 1}).then(async session => {
  const lines = []
  for (let from = 0; from < x.length / one; from += +size) {
    const part = x.slice(from * one, (from + +size) * one), n = part.length / one
    const out = await session.run({input: new ort.Tensor('float32', part, [n, 1, 28, 28])})
    const width = out.logits.dims[1]
    for (let i = 0; i < n; i++)
      lines.push([out.label.data[i], out.exit.data[i], out.confidence.data[i],
                  ...out.logits.data.slice(i * width, (i + 1) * width)].join(' '))
  }
  fs.writeFileSync('lines', lines.join('\n') + '\n')
}).catch(error => { console.error(String(error)); process.exit(1) })
NODE
}

compare() { # WHAT: lines against ours
  $python - "$1" <<'PYTHON'
import json, sys
import numpy
theirs = numpy.loadtxt('lines', ndmin=2)
ours = [json.loads(line) for line in open('ours')]

def near(step):
    reading = step.get('reading', {'what': ''})
    counted = reading['what'] in ('', 'equal answers in a row', 'accuracy of like samples')
    return not counted and abs(reading['value'] - reading['threshold']) < 1e-5

differ = nearby = 0
off = 0.0
for line, mine in zip(theirs, ours):
    if int(line[0]) == mine['label'] and int(line[1]) == mine['exit']:
        answer = numpy.array(mine['logits'])
        off = max(off, abs(line[3:] - answer).max() / max(1, abs(answer).max()),
                  abs(line[2] - mine['confidence']))
    elif any(near(step) for step in mine['steps']):
        nearby += 1
    else:
        differ += 1
exits = numpy.bincount(theirs[:, 1].astype(int))
print(f'{sys.argv[1]}: {len(theirs)} inputs, by exit {exits.tolist()}; {differ} differ, '
      f'{nearby} more near a threshold; outputs off by {off:.2g}')
sys.exit(1 if len(theirs) != len(ours) or differ > 0 or off > 1e-4 else 0)
PYTHON
}

have_runtime=no
[ -d "$runtime" ] && command -v node >/dev/null && have_runtime=yes
[ $have_runtime = yes ] || echo "ONNX Runtime is not installed: files are checked, not run"
both() { # WHAT ARGUMENT...: files of both forms, checked and run
  local what=$1
  shift
  for form in batch single; do
    "$EXEUNT" export "$model" --to onnx "$@" --form $form -o $form.onnx >out 2>&1 || wrong "$what, $form"
    $python -c "import onnx; onnx.checker.check_model(onnx.load('$form.onnx'), full_check=True)" >out 2>&1 ||
      wrong "$what, $form: the checker"
  done
  [ $have_runtime = yes ] || return
  "$EXEUNT" predict --json --explain -q "$model" inputs.npy "$@" >ours 2>out || wrong "predict $what"
  run batch.onnx 64 2>out && compare "$what, batch" || wrong "$what, batch"
  run single.onnx 1 2>out && compare "$what, single" || wrong "$what, single"
}
both 'its own rule'
both max-probability -p max-probability -s thresholds=0.3
both 'nobody is left for the second stage' -p max-probability -s thresholds=0
both 'the surest answer' -p max-probability -s thresholds=0.5 -s fallback=true
both margin -p margin -s thresholds=0.1
both entropy -p entropy -s thresholds=1.9
both patience -p patience -s patience=1
both fixed -p fixed -s exit=1
if [ -z "${MODEL:-}" ]; then
  for rule in pcee predictive; do # what was learned, and a rule that goes past exits
    "$EXEUNT" calibrate $model -q --threads 1 --policy $rule --max-drop 2 -o learned.safetensors >out 2>&1 || wrong "calibrate $rule"
    model=learned.safetensors both "$rule, learned"
  done
fi

refuse() { # PART ARGUMENT...
  local part=$1
  shift
  "$EXEUNT" export "$model" "$@" >out 2>&1
  [ $? = 1 ] && grep -qF -- "$part" out || wrong "export $*"
}
refuse 'exit rule oracle cannot be written as ONNX; must be one of max-probability' --to onnx -p oracle
refuse 'jei: exit 0 has no gate; every exit but the last must' --to onnx -p jei
refuse '--form tree; must be batch or single' --to onnx -p entropy --form tree
refuse '--int8 goes with --to c' --to onnx -p entropy --int8
refuse 'nowhere' --to onnx -p entropy -o nowhere/x.onnx
[ -e nowhere ] && wrong 'a folder was made'
exit $failed
