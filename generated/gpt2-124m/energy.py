"""The energy of the run, as the counter on the GPU board tells it.

It counts the board with its memory. Processor, fans and the building are not in it.
"""

import pynvml
import torch

MILLIJOULES_PER_KWH = 3.6e9


class EnergyMeter:
    """Counts on from what the run had used when it was saved; knows nothing on other devices."""

    source = "nvml"

    def __init__(self, device: torch.device, used_kwh: float | None) -> None:
        self.gpu = find_gpu(device)
        self.used_kwh, self.start = used_kwh or 0.0, self._count()

    def kwh(self) -> float | None:
        """Used so far."""
        if self.gpu is None:
            return None
        return self.used_kwh + (self._count() - self.start) / MILLIJOULES_PER_KWH

    def _count(self) -> int:
        return 0 if self.gpu is None else int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu))


def find_gpu(device: torch.device) -> object | None:
    """NVML's handle of the device; None where it is no GPU, or one without a counter."""
    if device.type != "cuda":
        return None
    try:
        pynvml.nvmlInit()
        # NVML numbers the GPUs without regard to CUDA_VISIBLE_DEVICES, so the number says nothing.
        uuid = torch.cuda.get_device_properties(device).uuid
        gpu: object = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:
        return None
    return gpu
