#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's worker: the same arguments and conversation as bench_worker.h.

Eager and TorchScript (traced, optimised for inference), in PyTorch's own
layout and channels last, are all tried, and the fastest is the one that is
timed. The environment (threads, waiting, BLAS kernels) is the driver's matter.
"""
import argparse
import copy
import json
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F

import graph_torch
from network import Network

CHECKED_STEPS, TRIAL_SECONDS, MOST_TRIALS = 3, 0.3, 20
LEARNING_RATE, MOMENTUM = 0.001, 0.9  # as in bench_exeunt_train.c
warnings.filterwarnings("ignore")


def script(module, example):
    traced = torch.jit.trace(module, example, check_trace=False)
    return torch.jit.optimize_for_inference(traced)


def formats():
    return (("", torch.contiguous_format), (", channels last", torch.channels_last))


class Full:
    """Full depth: the last exit's logits."""

    def __init__(self, network, job, x):
        self.batches = x.split(job.batch)
        self.module = graph_torch.whole(network, [network.n_stages - 1]).eval()
        self.exit = network.n_stages - 1

    def variants(self):
        for name, memory in formats():
            module = copy.deepcopy(self.module).to(memory_format=memory)
            batches = [x.contiguous(memory_format=memory) for x in self.batches]
            yield "eager" + name, lambda m=module, b=batches: self.run(m, b)
            traced = script(module, batches[0])
            yield "TorchScript" + name, lambda m=traced, b=batches: self.run(m, b)

    def run(self, module, batches):
        return [(module(x)[0], None) for x in batches]

    def answers(self, out):
        logits = torch.cat([logits for logits, _ in out])
        return torch.cat([torch.full((len(logits), 1), float(self.exit)), logits], 1)


class Exits:
    """Leaves where the largest probability reaches the threshold; survivors are gathered."""

    def __init__(self, network, job, x):
        self.batches = x.split(job.batch)
        self.thresholds = [float(text) for text in job.thresholds.split(",")]
        self.stages = [(body.eval(), head.eval(), read, cut)
                       for body, head, read, cut in graph_torch.stages(network)]
        self.run_batch = self.one if job.batch == 1 else self.many
        self.classes = network.classes

    def scripted(self, stages, x):
        """Every body and head traced on what the one before it gives."""
        out, given = [], [x]
        for body, head, read, cut in stages:
            made = body(*given)
            inside = tuple(made[i] for i in read)
            out.append((script(body, tuple(given)), script(head, inside), read, cut))
            given = [made[i] for i in cut]
        return out

    def variants(self):
        for name, memory in formats():
            batches = [x.contiguous(memory_format=memory) for x in self.batches]
            stages = [tuple(part.to(memory_format=memory) for part in copy.deepcopy((body, head)))
                      + (read, cut) for body, head, read, cut in self.stages]
            yield "eager" + name, lambda s=stages, b=batches: [self.run_batch(s, x) for x in b]
            scripted = self.scripted(stages, batches[0])
            yield "TorchScript" + name, lambda s=scripted, b=batches: [
                self.run_batch(s, x) for x in b]

    def one(self, stages, x):
        given = [x]
        for exit, (body, head, read, cut) in enumerate(stages):
            made = body(*given)
            logits = head(*[made[i] for i in read])[0]
            if exit == len(self.thresholds) or (
                    F.softmax(logits, 1).max().item() >= self.thresholds[exit]):
                return logits, exit
            given = [made[i] for i in cut]

    def many(self, stages, x):
        given, rows = [x], torch.arange(len(x))
        answer, exits = torch.empty(len(x), self.classes), torch.empty(len(x), dtype=torch.long)
        for exit, (body, head, read, cut) in enumerate(stages):
            made = body(*given)
            logits = head(*[made[i] for i in read])[0]
            if exit == len(self.thresholds):
                answer[rows], exits[rows] = logits, exit
                return answer, exits
            sure = F.softmax(logits, 1).amax(1) >= self.thresholds[exit]
            leave, stay = sure.nonzero().squeeze(1), sure.logical_not().nonzero().squeeze(1)
            answer[rows[leave]], exits[rows[leave]] = logits[leave], exit
            if len(stay) == 0:
                return answer, exits
            rows = rows[stay]
            given = [made[i].index_select(0, stay) for i in cut]

    def answers(self, out):
        logits = torch.cat([logits for logits, _ in out])
        exits = torch.cat([torch.as_tensor(exit).reshape(-1) for _, exit in out])
        return torch.cat([exits[:, None].float(), logits], 1)


class Train:
    """A step on one batch: forward, sum of all exits' cross-entropies, backward, SGD."""

    def __init__(self, network, job, x):
        self.network, self.x = network, x[:job.batch]
        self.target = torch.from_numpy(np.fromfile(job.labels, "<i4")[:job.batch]).long()

    def variants(self):
        for name, memory in formats():
            module = graph_torch.whole(self.network).train().to(memory_format=memory)
            x = self.x.contiguous(memory_format=memory)
            optimiser = torch.optim.SGD(module.parameters(), LEARNING_RATE, MOMENTUM)
            yield "eager" + name, lambda m=module, x=x, o=optimiser: self.step(m, x, o)

    def step(self, module, x, optimiser):
        optimiser.zero_grad(set_to_none=True)
        loss = sum(F.cross_entropy(logits, self.target) for logits in module(x))
        loss.backward()
        optimiser.step()
        return loss.item()


def write_answers(job, case):
    """Of the first variant; the others are compared with it by `choose`."""
    _, run = next(iter(case.variants()))
    if job.task == "train":
        out = torch.tensor([run() for _ in range(CHECKED_STEPS)])
    else:
        out = case.answers(run())
    out.numpy().astype("<f4").tofile(job.outputs)
    return out


def check(job, case, reference, name, out):
    if job.task == "train":
        return
    worst = (case.answers(out) - reference).abs().max().item()
    if worst > 1e-4 * max(1, reference.abs().max().item()):
        sys.exit(f"bench: PyTorch, {name}: differs by {worst} from its first variant")


def choose(job, case, reference):
    """The fastest variant by its best of a few runs."""
    best = (float("inf"), None, None)
    for name, run in case.variants():
        check(job, case, reference, name, run())
        run()
        start, fastest = time.perf_counter(), float("inf")
        for _ in range(MOST_TRIALS):
            before = time.perf_counter()
            run()
            fastest = min(fastest, time.perf_counter() - before)
            if time.perf_counter() - start > TRIAL_SECONDS:
                break
        best = min(best, (fastest, name, run), key=lambda variant: variant[0])
    return best[1], best[2]


def peak_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def serve(name, run, calls):
    print(json.dumps({"ready": {"version": torch.__version__, "variant": name}}), flush=True)
    for line in sys.stdin:
        request, *number = line.split()
        if request == "memory":
            print(json.dumps({"peak": peak_bytes()}), flush=True)
            continue
        n = int(number[0])
        run()
        start = time.perf_counter_ns()
        for _ in range(n):
            run()
        print(json.dumps({"ns": (time.perf_counter_ns() - start) / (n * calls)}), flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("task", "model", "inputs", "labels", "outputs", "thresholds"):
        parser.add_argument("--" + name)
    for name in ("samples", "channels", "height", "width", "classes", "batch", "threads"):
        parser.add_argument("--" + name, type=int)
    return parser.parse_args()


def main():
    job = arguments()
    torch.set_num_threads(job.threads)
    network = Network(job.model)
    x = torch.from_numpy(np.fromfile(job.inputs, "<f4").reshape(-1, *network.input))
    case = {"infer": Full, "exits": Exits, "train": Train}[job.task](network, job, x)
    with torch.inference_mode(job.task != "train"):
        reference = write_answers(job, case)
        name, run = choose(job, case, reference)
        serve(name, run, 1 if job.task == "train" else job.samples // job.batch)


if __name__ == "__main__":
    main()
