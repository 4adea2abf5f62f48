# SPDX-License-Identifier: Apache-2.0
"""A process that is timed in turns with others: bench_worker.h says how it is asked."""
import atexit
import json
import math
import os
import signal
import subprocess
import sys
import time

PROBE_SECONDS, MOST_PROBES = 0.3, 10


class Worker:
    """One system on one case, in a process of its own. Between requests the process is stopped:
    threads of OpenMP that wait actively would keep a core from the others for minutes."""

    def __init__(self, system, command, environment):
        self.system, self.ns, self.more, self.passes = system, [], [], 1
        self.process = subprocess.Popen(
            [str(word) for word in command], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, **environment})
        atexit.register(self.process.kill)  # a stopped process would outlive a failed run
        self.about = self._read()["ready"]

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench: {self.system} ended without an answer")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def ask(self, request):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self._read()

    def calibrate(self, seconds, calls):
        """A short probe: how many passes make a sample; returns the least ns of a call."""
        start, ns, probes = time.monotonic(), math.inf, 0
        while probes < 2 or (probes < MOST_PROBES and time.monotonic() - start < PROBE_SECONDS):
            ns, probes = min(ns, self.ask("time 1")["ns"]), probes + 1
        self.passes = max(1, round(seconds / (ns * calls * 1e-9)))
        return ns

    def sample(self):
        answer = self.ask(f"time {self.passes}")
        self.ns.append(answer.pop("ns"))
        self.more.append(answer)

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()
