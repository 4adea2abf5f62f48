# SPDX-License-Identifier: Apache-2.0
"""What leaving early is worth to a server: requests a second and 99th percentile of `exeunt serve`
by a model's own rule, against the same network at full depth.

Both servers stand side by side and are asked in turns by wrk, which keeps a number of connections
busy on the same machine; what is compared is the median of the rounds' ratios. The models are
trained once, briefly, and lie in build/bench/work/serving/.
"""
import atexit
import gzip
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

from methods import summary
from processors import Processors

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EXEUNT = ROOT / "build/exeunt"
FOLDER = ROOT / "build/bench/work/serving"
DATA = Path("/usr/share/datasets/fashion-mnist")
RECIPES = ("fashion-mnist", "fashion-mnist-msdnet")
SYSTEMS = {"rule": [], "full": ["--policy", "fixed"]}
CLIENTS = (1, 32)
MAX_DROP, LABELS_PER_CLASS, AT_ONCE, LEAST_ROUNDS = 0.5, 1000, 64, 5
LONGER = 8  # than a sample of the other tasks each server is asked in a round


# ---- what is served, and what it is asked ----------------------------------------


def run(*words):
    return subprocess.run([str(word) for word in (EXEUNT, *words)], check=True, text=True,
                          capture_output=True).stdout


def prepare_model(recipe):
    model = FOLDER / f"{recipe}.safetensors"
    if not model.exists():
        unfinished = model.with_suffix(".unfinished.safetensors")
        run("train", recipe, "-q", "-s", f"data.split.labels-per-class={LABELS_PER_CLASS}",
            "-o", unfinished)
        run("calibrate", unfinished, "-q", "--max-drop", MAX_DROP)
        unfinished.rename(model)
    return model


def prepare_images():
    path = FOLDER / "images"
    path.write_bytes(gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())[16:])
    return path


# ---- a server ---------------------------------------------------------------------


class Server:
    """`exeunt serve` of one model under the name m, at a port of its own."""

    def __init__(self, system, model, threads):
        self.system, self.asked = system, []
        command = [EXEUNT, "serve", f"m={model}", "--port", 0, "--json", "--drift-window", 0,
                   "--threads", threads, *SYSTEMS[system]]
        self.process = subprocess.Popen([str(word) for word in command], text=True,
                                        stdout=subprocess.PIPE)
        atexit.register(self.process.kill)
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def infer(self, images):
        """Labels and exits of [n][784] bytes."""
        n = len(images) // 784
        head = json.dumps({"inputs": [{
            "name": "input", "datatype": "UINT8", "shape": [n, 1, 28, 28],
            "parameters": {"binary_data_size": len(images)}}],
            "outputs": [{"name": name, "parameters": {"binary_data": False}}
                        for name in ("label", "exit")]}).encode()
        request = urllib.request.Request(
            f"{self.url}/v2/models/m/infer", head + images,
            {"Inference-Header-Content-Length": str(len(head))})
        with urllib.request.urlopen(request) as reply:
            return [output["data"] for output in json.load(reply)["outputs"]]

    def counters(self):
        """Multiply-adds spent and saved, and inputs by exit, since the start."""
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            text = reply.read().decode()
        one = {name: int(re.search(rf"^exeunt_{name}{{[^}}]*}} (\d+)$", text, re.M)[1])
               for name in ("macs_total", "macs_saved_total")}
        exits = re.findall(r"^exeunt_exits_total{[^}]*} (\d+)$", text, re.M)
        return one["macs_total"], one["macs_saved_total"], list(map(int, exits))

    def sample(self, images, clients, seconds):
        done = subprocess.run(
            ["wrk", "-t", "1", "-c", str(clients), "-d", str(seconds), "-s", HERE / "ask.lua",
             f"{self.url}/v2/models/m/infer", "--", images],
            check=True, text=True, capture_output=True).stdout
        result = json.loads(done.splitlines()[-1])
        if result["refused"] or result["lost"] or not result["requests"]:
            sys.exit(f"bench: {self.system}: requests were not answered: {result}")
        self.asked.append(result)

    def figures(self, name):
        if name == "requests_per_second":
            return np.array([one["requests"] / one["seconds"] for one in self.asked])
        return np.array([one[name + "_us"] * 1e3 for one in self.asked])

    def close(self):
        self.process.terminate()
        if self.process.wait() != 0:
            sys.exit(f"bench: the server of {self.system} ended with {self.process.returncode}")


# ---- a case -----------------------------------------------------------------------


def check_answers(servers, model, images):
    """Both answer as `exeunt predict` does under their rule."""
    some = images.read_bytes()[:AT_ONCE * 784]
    array = FOLDER / "checked.npy"
    np.save(array, np.frombuffer(some, np.uint8).reshape(AT_ONCE, 1, 28, 28))
    for server in servers:
        lines = run("predict", model, array, "--json", "-q", *SYSTEMS[server.system])
        expected = [json.loads(line) for line in lines.splitlines()]
        if server.infer(some) != [[one[name] for one in expected] for name in ("label", "exit")]:
            sys.exit(f"bench: {server.system}: the server's answers are not those of predict")


def accuracy(server, images):
    """Of the test split."""
    all_images, labels = images.read_bytes(), []
    for at in range(0, len(all_images), AT_ONCE * 784):
        labels += server.infer(all_images[at:at + AT_ONCE * 784])[0]
    right = gzip.decompress((DATA / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    return float(np.mean(np.array(labels) == np.frombuffer(right, np.uint8)))


def result_of(recipe, clients, servers, options):
    rule, full = servers
    spent, saved, exits = rule.counters()
    result = {"net": recipe, "task": "serving", "clients": clients, "threads": options.threads,
              "rounds": len(rule.asked), "work": spent / (spent + saved),
              "exit_shares": [n / sum(exits) for n in exits], "ratios": {}}
    for name in ("requests_per_second", "p50", "p99"):
        ours, theirs = rule.figures(name), full.figures(name)
        result[name] = {"rule": summary(ours), "full": summary(theirs)}
        result["ratios"][name] = summary(ours / theirs)
    result["versions"] = {"exeunt": run("--version").split()[-1]}
    return result


def run_case(recipe, clients, options):
    FOLDER.mkdir(parents=True, exist_ok=True)
    model, images = prepare_model(recipe), prepare_images()
    servers = [Server(system, model, options.threads) for system in SYSTEMS]
    check_answers(servers, model, images)
    accuracies = {server.system: accuracy(server, images) for server in servers}
    seconds = max(1, round(LONGER * options.seconds))
    for server in servers:
        server.sample(images, clients, 1)
        server.asked.clear()
    processors = Processors([server.process.pid for server in servers])
    begin = time.monotonic()
    for round_number in range(options.rounds):
        late = time.monotonic() - begin > 2 * options.case_seconds
        if round_number >= LEAST_ROUNDS and late:
            break
        rng = random.Random(options.seed * 1000003 + round_number)
        for server in rng.sample(servers, len(servers)):
            server.sample(images, clients, seconds)
    others = processors.others()
    result = {**result_of(recipe, clients, servers, options), "accuracy": accuracies,
              "others": others}
    for server in servers:
        server.close()
    return result
