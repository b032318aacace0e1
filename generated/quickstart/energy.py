"""The energy of the run: counted by the processor where it lets us read that, else estimated.

Linux shows the counters of the processor and its memory (RAPL) in /sys/class/powercap; most systems
let only root read them. The estimate is CodeCarbon's for one process: the rated power, times the
share of the machine's processor time that the process takes, and 3 W for each 8 GiB of memory that
it holds (codecarbon.io, methodology).
"""

import os
import time
from pathlib import Path

import torch

from config import LoggingConfig
from metrics import peak_memory_gib

JOULES_PER_KWH = 3.6e6
WATTS_PER_GIB = 3 / 8
POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Counts on from what the run had used when it was saved; knows nothing on other devices."""

    def __init__(self, device: torch.device, used_kwh: float | None) -> None:
        self.device, self.used_kwh = device, used_kwh or 0.0
        self.counters = find_counters()
        self.source = "rapl" if self.counters else "estimated"
        self.before = [read_counter(counter) for counter in self.counters]
        self.seconds, self.processor_seconds = time.perf_counter(), time.process_time()

    def kwh(self) -> float | None:
        """Used so far."""
        if self.device.type != "cpu":
            return None
        self.used_kwh += (self._counted() if self.counters else self._estimated()) / JOULES_PER_KWH
        return self.used_kwh

    def _counted(self) -> float:
        """Joules since the last call, by the counters, which start again from 0 at their range."""
        now = [read_counter(counter) for counter in self.counters]
        microjoules = sum(
            after - before if after >= before else after - before + read_range(counter)
            for counter, before, after in zip(self.counters, self.before, now, strict=True)
        )
        self.before = now
        return microjoules / 1e6

    def _estimated(self) -> float:
        """Joules since the last call, by processor time and memory."""
        seconds, processor_seconds = time.perf_counter(), time.process_time()
        busy = (processor_seconds - self.processor_seconds) / (os.cpu_count() or 1)
        memory_watts = WATTS_PER_GIB * peak_memory_gib(self.device)
        joules = LoggingConfig().processor_watts * busy + memory_watts * (seconds - self.seconds)
        self.seconds, self.processor_seconds = seconds, processor_seconds
        return joules


def find_counters() -> list[Path]:
    """The counters of the machine's processors and their memory; none where they cannot be read."""
    counters = []
    for name in sorted(POWERCAP.glob("*:*/name")):
        if name.read_text().startswith(("package", "dram")):  # others are parts or sums of these
            counters.append(name.with_name("energy_uj"))
    return counters if all(os.access(counter, os.R_OK) for counter in counters) else []


def read_counter(counter: Path) -> int:
    """Microjoules."""
    return int(counter.read_text())


def read_range(counter: Path) -> int:
    """Microjoules after which a counter starts again from 0."""
    return int(counter.with_name("max_energy_range_uj").read_text())
