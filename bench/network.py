# SPDX-License-Identifier: Apache-2.0
"""A model file of Exeunt, read without Exeunt: the graph, its stages, its weights.

graph_torch.py and graph_onnx.py build the same network from this, for the
systems that the bench compares with.
"""
import json
import struct

import numpy as np

BODY, HEAD, GATE, PARTS = 0, 1, 2, 3


class Network:
    """nodes: list of dicts (op, name, segment, in, attr, value shape left out);
    tensors: name -> array; stages and points as in src/net/net.h."""

    def __init__(self, path):
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
            data = file.read()
        net = json.loads(header.pop("__metadata__")["exeunt"])["net"]
        self.nodes, self.points = net["graph"], net["points"]
        self.input, self.classes, self.n_stages = net["input"], net["outputs"], net["stages"]
        self.tensors = {
            name: np.frombuffer(data[slice(*info["data_offsets"])], "<f4").reshape(info["shape"])
            for name, info in header.items()
        }
        self.source = next(i for i, node in enumerate(self.nodes) if node["op"] == "input")
        self._check()

    def _check(self):
        """The bench's graphs are rows of stages with an independent head after each."""
        if [point["stage"] for point in self.points] != list(range(self.n_stages)):
            raise ValueError("every stage must have an exit")
        if any(point["needs"] or point["gate"] >= 0 for point in self.points):
            raise ValueError("heads that need others, and gates, are not compared")

    def stage(self, value):
        return self.nodes[value]["segment"] // PARTS

    def part(self, value):
        return self.nodes[value]["segment"] % PARTS

    def parameter(self, value, suffix):
        return self.tensors.get(self.nodes[value]["name"] + "." + suffix)

    def consumers(self, value):
        return [i for i, node in enumerate(self.nodes) if value in node["in"]]

    def cut(self, stage):
        """Values made up to this stage's body that a later stage reads."""
        return [
            value
            for value, node in enumerate(self.nodes)
            if self.stage(value) <= stage
            and any(self.stage(consumer) > stage for consumer in self.consumers(value))
        ]

    def needed(self, wanted, given):
        """Nodes to compute the values `wanted` from the values `given`, in order;
        what nobody reads is left out."""
        needed, todo = set(), [value for value in wanted if value not in given]
        while todo:
            value = todo.pop()
            if value in needed:
                continue
            needed.add(value)
            todo += [i for i in self.nodes[value]["in"] if i not in given]
        return sorted(needed - {self.source})
