# SPDX-License-Identifier: Apache-2.0
"""Exeunt's graph as ONNX: the full depth, and two ways to write exits down.

    full        input → logits of the last exit
    chain       one sample; after each exit an If: its branches are the answer
                and the rest of the network
    compaction  a batch; after each exit the rows that leave are scattered into
                the answer, and those that stay are gathered for the next stage

Batch-norm is folded into the convolution before it, as exporters do. What a
branch reads lies in that branch, so that the optimiser sees constants.
"""
import itertools

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 13, 8
ANSWER = ["logits", "exit"]
_numbers = itertools.count()  # names are unique over all branches, as ONNX asks


class Writer:
    """Nodes and constants of one graph or branch; `name` maps values of the network."""

    def __init__(self, network, name):
        self.network, self.name = network, dict(name)
        self.nodes, self.constants = [], []

    def add(self, op, inputs, **attributes):
        output = f"{op.lower()}{next(_numbers)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, array):
        name = f"constant{next(_numbers)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def rename(self, value, name):
        self.nodes.append(helper.make_node("Identity", [value], [name]))

    def compute(self, wanted):
        """Makes this value of the network, and what it needs."""
        for value in self.network.needed([wanted], self.name):
            self.name[value] = self._value(value)
        return self.name[wanted]

    def _value(self, value):
        node, attr = self.network.nodes[value], self.network.nodes[value]["attr"]
        op, args = node["op"], [self.name[i] for i in node["in"]]
        if op == "conv2d":
            return self._conv(value, args[0])
        if op == "batch_norm":
            if self._folded(node["in"][0]) == value:
                return args[0]
            raise ValueError("graph_onnx: a batch-norm without a convolution before it")
        if op == "linear":
            weight, bias = (self.network.parameter(value, s) for s in ("weight", "bias"))
            constants = [self.constant(array) for array in (weight, bias) if array is not None]
            return self.add("Gemm", args + constants, transB=1)
        if op in ("max_pool", "avg_pool"):
            return self._pool(op, attr, args[0])
        if op == "global_avg_pool":
            return self.add("Flatten", [self.add("GlobalAveragePool", args)], axis=1)
        if op == "reshape" and len(attr["shape"]) <= 1:
            return self.add("Flatten", args, axis=1)
        if op == "concat":
            return self.add("Concat", args, axis=1)
        if op in ("relu", "add"):
            return self.add(op.capitalize(), args)
        raise ValueError(f"graph_onnx: the operator {op} is not written")

    def _folded(self, conv):
        """The batch-norm that this convolution takes in, or None."""
        consumers = self.network.consumers(conv)
        if (self.network.nodes[conv]["op"] == "conv2d" and len(consumers) == 1
                and self.network.nodes[consumers[0]]["op"] == "batch_norm"):
            return consumers[0]
        return None

    def _conv(self, value, x):
        attr = self.network.nodes[value]["attr"]
        weight, bias = (self.network.parameter(value, s) for s in ("weight", "bias"))
        norm = self._folded(value)
        if norm is not None:
            scale, shift, mean, variance = (
                self.network.parameter(norm, s).astype(np.float64)
                for s in ("weight", "bias", "running_mean", "running_var"))
            scale = scale / np.sqrt(variance + self.network.nodes[norm]["attr"]["eps"])
            weight = (weight * scale[:, None, None, None]).astype(np.float32)
            bias = ((bias if bias is not None else 0) - mean) * scale + shift
        inputs = [x, self.constant(weight)]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32)))
        return self.add(
            "Conv", inputs, kernel_shape=weight.shape[2:], strides=[attr["stride"]] * 2,
            pads=[attr["pad-h"], attr["pad-w"]] * 2, dilations=[attr["dilation"]] * 2,
            group=attr["groups"])

    def _pool(self, op, attr, x):
        more = {"count_include_pad": int(attr["count-include-pad"])} if op == "avg_pool" else {}
        return self.add(
            {"max_pool": "MaxPool", "avg_pool": "AveragePool"}[op], [x],
            kernel_shape=[attr["kernel"]] * 2, strides=[attr["stride"] or attr["kernel"]] * 2,
            pads=[attr["pad"]] * 4, ceil_mode=int(attr["ceil-mode"]), **more)

    def is_sure(self, logits, threshold, axes):
        largest = self.add("ReduceMax", [self.add("Softmax", [logits], axis=1)],
                           axes=axes, keepdims=0)
        return self.add("GreaterOrEqual", [largest, self.constant(np.float32(threshold))])

    def graph(self, inputs, outputs):
        return helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)


def _info(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def _save(writer, network, batch, outputs, path):
    graph = writer.graph([_info("x", TensorProto.FLOAT, [batch] + network.input)], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                              ir_version=IR_VERSION)
    checker.check_model(model)
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def _answers(network, batch, names=ANSWER):
    return [_info(names[0], TensorProto.FLOAT, [batch, network.classes]),
            _info(names[1], TensorProto.INT64, [batch])]


def write_full(network, batch, path):
    writer = Writer(network, {network.source: "x"})
    writer.rename(writer.compute(network.points[-1]["output"]), "logits")
    _save(writer, network, batch, _answers(network, batch)[:1], path)


# ---- exits, one sample --------------------------------------------------------


def _chain(network, writer, stage, thresholds, names):
    """Writes the stages from `stage` on, whose answer gets these two names."""
    for value in network.cut(stage):
        writer.compute(value)
    logits = writer.compute(network.points[stage]["output"])
    if stage == network.n_stages - 1:
        _answer(writer, logits, stage, names)
        return
    leave, go_on = Writer(network, {}), Writer(network, writer.name)
    leave_names, go_on_names = ([f"{name}{next(_numbers)}" for name in names] for _ in range(2))
    _answer(leave, logits, stage, leave_names)
    _chain(network, go_on, stage + 1, thresholds, go_on_names)
    writer.nodes.append(helper.make_node(
        "If", [writer.is_sure(logits, thresholds[stage], [0, 1])], names,
        then_branch=leave.graph([], _answers(network, 1, leave_names)),
        else_branch=go_on.graph([], _answers(network, 1, go_on_names))))


def _answer(writer, logits, exit, names):
    writer.rename(logits, names[0])
    writer.rename(writer.constant(np.array([exit], np.int64)), names[1])


def write_chain(network, thresholds, path):
    writer = Writer(network, {network.source: "x"})
    _chain(network, writer, 0, thresholds, ANSWER)
    _save(writer, network, 1, _answers(network, 1), path)


# ---- exits, a batch -------------------------------------------------------------


def _where(writer, mask):
    return writer.add("Squeeze", [writer.add("NonZero", [mask]), writer.constant(np.array([0]))])


def _scatter(writer, answers, rows, logits, exit):
    """Answers of these rows of the batch: new names of the two arrays of answers."""
    at = writer.add("Unsqueeze", [rows, writer.constant(np.array([1]))])
    exits = writer.add("ConstantOfShape", [writer.add("Shape", [rows])],
                       value=numpy_helper.from_array(np.array([exit], np.int64)))
    return [writer.add("ScatterND", [answers[0], at, logits]),
            writer.add("ScatterND", [answers[1], at, exits])]


def write_compaction(network, batch, thresholds, path):
    writer = Writer(network, {network.source: "x"})
    rows = writer.constant(np.arange(batch))
    answers = [writer.constant(np.zeros((batch, network.classes), np.float32)),
               writer.constant(np.zeros(batch, np.int64))]
    for stage in range(network.n_stages - 1):
        cut = network.cut(stage)
        for value in cut:
            writer.compute(value)
        logits = writer.compute(network.points[stage]["output"])
        sure = writer.is_sure(logits, thresholds[stage], [1])
        leave, stay = _where(writer, sure), _where(writer, writer.add("Not", [sure]))
        answers = _scatter(writer, answers, writer.add("Gather", [rows, leave]),
                           writer.add("Gather", [logits, leave]), stage)
        rows = writer.add("Gather", [rows, stay])
        writer.name = {value: writer.add("Gather", [writer.name[value], stay]) for value in cut}
    logits = writer.compute(network.points[-1]["output"])
    answers = _scatter(writer, answers, rows, logits, network.n_stages - 1)
    for value, name in zip(answers, ANSWER):
        writer.rename(value, name)
    _save(writer, network, batch, _answers(network, batch), path)
