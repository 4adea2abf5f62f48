# SPDX-License-Identifier: Apache-2.0
"""What a training step of each method costs, as a multiple of joint's.

Each method of the registry is trained by build/bench/bench_steps in a process of its
own. A sample of the clock is an epoch, which holds whole cycles and turns of a method;
it is taken next to one of joint, in random order, and what is compared is the median of
these pairs' ratios. Beside it stands the same ratio of the multiply-adds that were
executed, forward and backward.

Epochs are made short by taking few training samples. What counts batches in a method's
parameters is made short in proportion (an epoch of all samples has 54 times the steps).
"""
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from processors import Processors
from worker import Worker

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "build/bench/bench_steps"
RECIPES = ("fashion-mnist-msdnet", "fashion-mnist")
BATCH, THREADS, MOST, LEAST_ROUNDS = 64, 1, 1.15, 5
COMMON = (f"train.batch={BATCH}", "train.epochs=1000", "data.split.labels-per-class=96")
SHORTENED = {"turn": 3, "warmup": 0}  # parameters of any method


def read_methods():
    """Names, each with what is set of its parameters."""
    text = subprocess.run([WORKER, "--methods"], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        name, *params = line.split()
        yield name, [f"method.{param}={SHORTENED[param]}" for param in params
                     if param in SHORTENED]


def start(recipe, name, settings):
    command = [WORKER, ROOT / f"recipes/{recipe}.json", THREADS, *COMMON,
               f'method={{"name": "{name}"}}', *settings]
    return Worker(name, command, {"OMP_NUM_THREADS": str(THREADS)})


def macs_of(worker):
    """Multiply-adds per step, which must be the same in every epoch."""
    counts = [more["forward"] + more["backward"] for more in worker.more]
    if max(counts) > 1.001 * min(counts):
        sys.exit(f"bench: {worker.system}: an epoch does not hold whole cycles: {counts}")
    return {part: worker.more[0][part] for part in ("forward", "backward")}


def summary(values):
    return {"minimum": min(values), "median": float(np.median(values)), "maximum": max(values)}


def result_of(recipe, worker, against, joint):
    macs, of_joint = macs_of(worker), macs_of(joint)
    ratio = float(np.median(np.array(worker.ns) / np.array(against)))
    arithmetic = sum(macs.values()) / sum(of_joint.values())
    return {"net": recipe, "task": "methods", "method": worker.system, "batch": BATCH,
            "threads": THREADS, "rounds": len(worker.ns), "exeunt_ns": summary(worker.ns),
            "joint_ns": summary(against), "macs": macs, "arithmetic": arithmetic,
            "ratios": {"joint": ratio, "arithmetic": ratio / arithmetic},
            "versions": {"exeunt": worker.about["version"]}}


def run_case(recipe, options):
    """A result for every method."""
    workers = [start(recipe, name, settings) for name, settings in read_methods()]
    joint = start(recipe, "joint", [])
    processors = Processors([worker.process.pid for worker in (joint, *workers)])
    begin, against = time.monotonic(), {worker.system: [] for worker in workers}
    for round_number in range(options.rounds):
        late = time.monotonic() - begin > options.case_seconds * len(workers)
        if round_number >= LEAST_ROUNDS and late:
            break
        rng = random.Random(options.seed * 1000003 + round_number)
        for worker in rng.sample(workers, len(workers)):
            for member in rng.sample([joint, worker], 2):
                member.sample()
            against[worker.system].append(joint.ns[-1])
    others = processors.others()
    results = [{**result_of(recipe, worker, against[worker.system], joint), "others": others}
               for worker in workers]
    for worker in [joint, *workers]:
        worker.close()
    return results
