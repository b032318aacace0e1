"""Proves that energy is counted on from where the run was saved."""

import pynvml
import pytest
import torch

import energy


def test_counter_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([5_000_000_000, 5_000_000_000 + 1_800_000_000, 5_000_000_000 + 3_600_000_000])
    monkeypatch.setattr(energy, "find_gpu", lambda device: "a GPU")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda gpu: next(counts))
    meter = energy.EnergyMeter(torch.device("cpu"), used_kwh=2.0)
    assert meter.kwh() == pytest.approx(2.5)
    assert meter.kwh() == pytest.approx(3.0)


def test_other_devices_are_not_known() -> None:
    assert energy.EnergyMeter(torch.device("cpu"), used_kwh=None).kwh() is None
