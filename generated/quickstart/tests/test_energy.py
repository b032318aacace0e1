"""Proves that energy is counted on from where the run was saved, by counters or by estimate."""

from pathlib import Path

import pytest
import torch

import energy
from config import LoggingConfig

CPU = torch.device("cpu")


def counter(directory: Path, name: str, microjoules: int) -> Path:
    directory.mkdir(parents=True)
    (directory / "name").write_text(f"{name}\n")
    (directory / "max_energy_range_uj").write_text("10000000000\n")
    (directory / "energy_uj").write_text(f"{microjoules}\n")
    return directory / "energy_uj"


def test_counters_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    package = counter(tmp_path / "intel-rapl:0", "package-0", 9_000_000_000)
    dram = counter(tmp_path / "intel-rapl:0:1", "dram", 0)
    counter(tmp_path / "intel-rapl:0:0", "core", 0).write_text("a part of the package")
    meter = energy.EnergyMeter(CPU, used_kwh=2.0)
    assert meter.source == "rapl"
    package.write_text("800000000\n")  # 1800 J further, past the end of its range
    dram.write_text("1800000000\n")
    assert meter.kwh() == pytest.approx(2.001)
    assert meter.kwh() == pytest.approx(2.001)


def test_estimate_is_power_times_share_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, processor_seconds = iter([0.0, 3600.0]), iter([0.0, 7200.0])
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    monkeypatch.setattr(energy.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(seconds))
    monkeypatch.setattr(energy.time, "process_time", lambda: next(processor_seconds))
    monkeypatch.setattr(energy, "peak_memory_gib", lambda device: 16.0)
    meter = energy.EnergyMeter(CPU, used_kwh=2.0)
    assert meter.source == "estimated"
    watts = LoggingConfig().processor_watts / 2 + 6.0
    assert meter.kwh() == pytest.approx(2.0 + watts / 1000)


def test_other_devices_are_not_known() -> None:
    assert energy.EnergyMeter(torch.device("meta"), used_kwh=None).kwh() is None
