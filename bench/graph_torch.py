# SPDX-License-Identifier: Apache-2.0
"""Exeunt's graph as a torch.nn.Module.

The forward function is written out as Python source, one line a node, so that
eager PyTorch runs what a person would have written, and TorchScript traces it.
"""
import torch
import torch.nn.functional as F
from torch import nn

from network import HEAD


def _module(network, value):
    node, attr = network.nodes[value], network.nodes[value]["attr"]
    weight = network.parameter(value, "weight")
    if node["op"] == "conv2d":
        return nn.Conv2d(
            weight.shape[1] * attr["groups"], attr["channels"], weight.shape[2:], attr["stride"],
            (attr["pad-h"], attr["pad-w"]), attr["dilation"], attr["groups"], attr["bias"])
    if node["op"] == "linear":
        return nn.Linear(weight.shape[1], attr["features"], attr["bias"])
    if node["op"] == "batch_norm":
        return nn.BatchNorm2d(len(weight), attr["eps"], attr["momentum"])
    return None


def _relu(network, value, x):
    """In place where nobody else reads the input, and its maker does not need it either."""
    (source,) = network.nodes[value]["in"]
    in_place = (network.consumers(source) == [value]
                and network.nodes[source]["op"] in ("batch_norm", "add"))
    return f"F.relu({x}, inplace={in_place})"


def _expression(network, value):
    node, attr = network.nodes[value], network.nodes[value]["attr"]
    op, args = node["op"], [f"v{i}" for i in node["in"]]
    x = args[0]
    if op in ("conv2d", "linear", "batch_norm"):
        return f"self.m{value}({x})"
    if op == "relu":
        return _relu(network, value, x)
    if op == "add":
        return " + ".join(args)
    if op == "concat":
        return f"torch.cat([{', '.join(args)}], 1)"
    if op in ("max_pool", "avg_pool"):
        more = f", count_include_pad={attr['count-include-pad']}" if op == "avg_pool" else ""
        return (f"F.{op}2d({x}, {attr['kernel']}, {attr['stride'] or attr['kernel']}, "
                f"{attr['pad']}, ceil_mode={attr['ceil-mode']}{more})")
    if op == "global_avg_pool":
        return f"F.adaptive_avg_pool2d({x}, 1).flatten(1)"
    if op == "reshape" and len(attr["shape"]) <= 1:
        return f"{x}.flatten(1)"
    raise ValueError(f"graph_torch: the operator {op} is not written")


class Piece(nn.Module):
    """Computes the values `wanted` of a network from the values `given`, as a tuple."""

    def __init__(self, network, given, wanted):
        super().__init__()
        lines = [f"def forward(self, {', '.join(f'v{i}' for i in given)}):"]
        for value in network.needed(wanted, given):
            lines.append(f"    v{value} = {_expression(network, value)}")
            module = _module(network, value)
            if module is not None:
                setattr(self, f"m{value}", module)
                self._load(network, value, module)
        lines.append(f"    return ({', '.join(f'v{i}' for i in wanted)},)")
        scope = {"torch": torch, "F": F}
        exec("\n".join(lines), scope)
        self.forward = scope["forward"].__get__(self)

    @staticmethod
    def _load(network, value, module):
        state = module.state_dict()
        for suffix in state:
            if suffix != "num_batches_tracked":
                state[suffix] = torch.tensor(network.parameter(value, suffix))
        module.load_state_dict(state)


def whole(network, points=None):
    """Input → logits of these points (all)."""
    outputs = [network.points[p]["output"] for p in points or range(network.n_stages)]
    return Piece(network, [network.source], outputs)


def stages(network):
    """Per stage (body, head, read, cut). body: the cut before it → a tuple of what its head and
    later stages read; head: its part of that tuple → logits; read, cut: which parts of the tuple
    the head and the next body take."""
    out = []
    for stage in range(network.n_stages):
        given = network.cut(stage - 1) if stage else [network.source]
        head = network.points[stage]["output"]
        inside = [i for i in network.needed([head], []) if network.part(i) == HEAD
                  and network.stage(i) == stage]
        read = sorted({i for node in inside for i in network.nodes[node]["in"]} - set(inside))
        cut = network.cut(stage)
        made = sorted(set(read) | set(cut))
        body = Piece(network, given, made)
        out.append((body, Piece(network, read, [head]),
                    [made.index(i) for i in read], [made.index(i) for i in cut]))
    return out

