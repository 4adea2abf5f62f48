# SPDX-License-Identifier: Apache-2.0
"""How busy others kept the machine while something was measured."""
import os
from pathlib import Path

import numpy as np


class Processors:
    """How much of the machine's time others than this process, its ended children and `processes`
    (by number) took between now and `others`."""

    def __init__(self, processes):
        self.processes = [os.getpid(), *processes]
        self.start = self._now()

    def _now(self):
        fields = Path("/proc/stat").read_text().split("\n", maxsplit=1)[0].split()[1:9]
        user, nice, system, idle, wait, irq, soft, steal = map(int, fields)
        busy, own = user + nice + system + irq + soft + steal, 0
        for process in self.processes:
            stat = Path(f"/proc/{process}/stat").read_text().rsplit(")", maxsplit=1)[1]
            own += sum(map(int, stat.split()[11:15]))  # its own and its ended children's
        return np.array([busy + idle + wait, busy - own])

    def others(self):
        total, busy = self._now() - self.start
        return max(0.0, float(busy / total)) * os.cpu_count()
