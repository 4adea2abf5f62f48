#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Networks exported from PyTorch: imported, they give PyTorch's own outputs, and
# ONNX Runtime's where that is installed, to 1e-3 relative.
set -u
failed=0
python=/usr/bin/python3
$python -c 'import torch, numpy' 2>/dev/null || { echo "python3-torch is not installed"; exit 77; }
$python "$SRC/tests/onnx_torch.py" . >torch.log 2>&1 || { tail -5 torch.log; exit 1; }

compare() { # NAME: our lines of JSON against NAME.y.npy
  $python - "$1" <<'EOF'
import json, sys
import numpy
name = sys.argv[1]
theirs = numpy.load(name + '.y.npy')
ours = numpy.array([json.loads(line)['logits'] for line in open(name + '.json')])
if name == 'mobile':  # the softmax at its end is left out
    ours = numpy.exp(ours) / numpy.exp(ours).sum(1, keepdims=True)
off = abs(ours - theirs).max()
print(f'{name}: off by {off:.2g} of {abs(theirs).max():.3g}')
sys.exit(ours.shape != theirs.shape or not off <= 1e-3 * abs(theirs).max())
EOF
}

runtime() { # NAME: ONNX Runtime's outputs, as JSON lines, into NAME.ort
  node - "$SRC/build-node/node_modules/onnxruntime-node" "$1" <<'EOF'
const [runtime, name] = process.argv.slice(2)
const fs = require('fs'), ort = require(runtime)
const npy = fs.readFileSync(`${name}.x.npy`), header = npy.readUInt16LE(8)
let shape = /'shape': \(([^)]*)\)/.exec(npy.toString('latin1'))[1].split(',').map(Number)
if (name == 'sensor') shape = [shape[0], shape[1], shape[3]]
const x = new Float32Array(npy.buffer.slice(npy.byteOffset + 10 + header, npy.byteOffset + npy.length))
ort.InferenceSession.create(`${name}.onnx`).then(async session => {
  const out = (await session.run({input: new ort.Tensor('float32', x, shape)})).logits
  const n = out.dims[1], lines = []
  for (let i = 0; i < out.dims[0]; i++) lines.push(JSON.stringify(Array.from(out.data.slice(i * n, (i + 1) * n))))
  fs.writeFileSync(`${name}.ort`, lines.join('\n') + '\n')
})
EOF
}

compare_runtime() { # NAME
  $python - "$1" <<'EOF'
import json, sys
import numpy
name = sys.argv[1]
theirs = numpy.array([json.loads(line) for line in open(name + '.ort')])
ours = numpy.array([json.loads(line)['logits'] for line in open(name + '.json')])
if name == 'mobile':
    ours = numpy.exp(ours) / numpy.exp(ours).sum(1, keepdims=True)
off = abs(ours - theirs).max()
print(f'{name}: off from ONNX Runtime by {off:.2g}')
sys.exit(not off <= 1e-3 * abs(theirs).max())
EOF
}

have_runtime=no
[ -d "$SRC/build-node/node_modules/onnxruntime-node" ] && command -v node >/dev/null && have_runtime=yes
for file in *.onnx; do
  name=${file%.onnx}
  "$EXEUNT" import "$file" -q >"$name.log" || { failed=1; continue; }
  [ "$name" = exits ] && continue
  "$EXEUNT" predict --json -q "$name.safetensors" "$name.x.npy" >"$name.json" || failed=1
  compare "$name" || { echo "$name: not PyTorch's outputs"; failed=1; }
  if [ $have_runtime = yes ]; then
    runtime "$name" && compare_runtime "$name" || { echo "$name: not ONNX Runtime's outputs"; failed=1; }
  fi
done
[ $have_runtime = yes ] || echo "ONNX Runtime is not installed: not compared with it"

# Several outputs are exits, shallow first.
grep -q '^first, second, last: .*' exits.log && grep -q '^3 exits of 10 outputs' exits.log || { cat exits.log; failed=1; }
"$EXEUNT" predict --json -q --all-exits -p fixed exits.safetensors exits.x.npy >exits.json || failed=1
$python - <<'EOF' || failed=1
import json, sys
import numpy
theirs = numpy.load('exits.y.npy')
ours = numpy.array([[e['logits'] for e in json.loads(line)['exits']] for line in open('exits.json')])
sys.exit(ours.shape != theirs.shape or not abs(ours - theirs).max() <= 1e-3 * abs(theirs).max())
EOF

# The other commands take it as any model.
"$EXEUNT" inspect lenet.safetensors | grep 'of full depth' >/dev/null || failed=1
"$EXEUNT" inspect --json resnet18.safetensors | grep '"macs":' >/dev/null || failed=1
"$EXEUNT" import lenet.onnx -d fashion-mnist-lenet -o fashion.safetensors -q >fashion.log || failed=1
"$EXEUNT" evaluate fashion.safetensors --timed 0 -q >evaluated || failed=1
"$EXEUNT" predict fashion.safetensors lenet.x.npy | grep 'exit 1 of 1' >/dev/null || failed=1
grep -q 'softmax at the end is left out' mobile.log || { echo "mobile keeps its softmax"; failed=1; }
exit $failed
