# SPDX-License-Identifier: Apache-2.0
#
# torch_train.py CASE: the PyTorch side of tests/test_torch.c. Builds the
# network that the case describes, trains it from the same weights on the same
# batches, and compares losses; then loads the weights that Exeunt trained and
# compares logits. Exit status 1 where they differ by more than is allowed.
import json
import struct
import sys

import numpy
import torch
import torch.nn.functional as F

DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4"}


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + size + at for at in entry["data_offsets"])
        array = numpy.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        arrays[name] = torch.from_numpy(array.reshape(entry["shape"]).copy())
    return arrays, json.loads(metadata["net"])


def run(net, tensors, x, training):
    """Every value of the graph, as PyTorch computes it."""
    values = []
    for node in net["graph"]:
        a, op, name = node["attr"], node["op"], node["name"]
        at = [values[i] for i in node["in"]]
        get = lambda suffix: tensors.get(name + "." + suffix)
        if op == "input":
            y = x
        elif op == "conv2d":
            y = F.conv2d(at[0], get("weight"), get("bias"), a["stride"],
                         (a["pad-h"], a["pad-w"]), a["dilation"], a["groups"])
        elif op == "batch_norm":
            y = F.batch_norm(at[0], get("running_mean"), get("running_var"), get("weight"),
                             get("bias"), training, a["momentum"], a["eps"])
        elif op == "linear":
            y = F.linear(at[0], get("weight"), get("bias"))
        elif op == "max_pool":
            y = F.max_pool2d(at[0], a["kernel"], a["stride"], a["pad"], ceil_mode=a["ceil-mode"])
        elif op == "global_avg_pool":
            y = at[0].mean((2, 3))
        elif op == "relu":
            y = F.relu(at[0])
        elif op == "add":
            y = at[0] + at[1]
        elif op == "reshape":
            y = at[0].flatten(1)
        else:
            sys.exit("torch_train.py: operator %s is not known here" % op)
        values.append(y)
    return [values[i] for i in net["outputs"]]


def tensors_of(arrays, prefix):
    return {k[len(prefix) + 1 :]: v for k, v in arrays.items() if k.startswith(prefix + "/")}


def train(net, tensors, xs, ys):
    trained = {k: v.requires_grad_() for k, v in tensors.items() if "running_" not in k}
    decayed = [v for v in trained.values() if v.dim() > 1]
    others = [v for v in trained.values() if v.dim() == 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.0005}, {"params": others, "weight_decay": 0.0}],
        lr=0.01, momentum=0.9, nesterov=True)
    losses = []
    for x, y in zip(xs, ys):
        loss = sum(F.cross_entropy(z, y.long()) for z in run(net, tensors, x, True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    arrays, net = read(sys.argv[1])
    theirs = arrays["losses"].tolist()
    ours = train(net, tensors_of(arrays, "start"), arrays["x"], arrays["y"])
    first = abs(ours[0] - theirs[0])
    last = abs(ours[-1] - theirs[-1]) / abs(ours[-1])
    with torch.no_grad():
        logits = run(net, tensors_of(arrays, "trained"), arrays["x"][0], False)
    far = max((z - arrays["logits%d" % p]).abs().max().item() for p, z in enumerate(logits))
    print("first loss %.6f, differs by %.1e; last %.6f, by %.1e relative; logits by %.1e"
          % (ours[0], first, ours[-1], last, far))
    return 0 if first <= 1e-5 and last <= 1e-3 and far <= 1e-4 else 1


sys.exit(main())
