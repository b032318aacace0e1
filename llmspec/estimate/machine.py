"""A device of the catalog as the analytic core sees it."""

from llmspec.catalog import Accelerator
from llmspec.estimate.workload import Machine

# Share of the stated peak that the best matrix products reach where nobody measured this device: what its vendor's others reach.
USUAL_SHARE = {"nvidia": 0.79, "amd": 0.58, "google": 0.9, "aws": 0.7, "intel": 0.85}
USUAL_SHARE_ELSEWHERE = 0.7
# fp8 and fp4 reach less of their peaks: power, and operands that arrive no faster.
NARROW_SHARE = {"fp8": 0.72, "fp4": 0.6}
# One multiprocessor of a current device, where the catalog does not say how many there are.
USUAL_UNIT_RATE = 6e12
TILE = 128 * 256
# What any rented machine has between nodes, Gbit/s for a device.
USUAL_NETWORK = 10.0


def product_ceiling(accelerator: Accelerator, number_format: str) -> float:
    """FLOP/s of the best large matrix products in a format; the next wider format where the device lacks it."""
    peaks, measured = accelerator.peak_tflops, accelerator.matmul_tflops
    usual = USUAL_SHARE.get(accelerator.vendor, USUAL_SHARE_ELSEWHERE)
    for name in {"fp4": ("fp4", "fp8", "bf16"), "fp8": ("fp8", "bf16"), "fp16": ("fp16", "bf16")}.get(number_format, (number_format,)):
        if name in measured:
            return measured[name] * 1e12
        if name == "fp16" and "bf16" in measured:
            return measured["bf16"] * 1e12
        if name in peaks:
            share = usual
            if name in NARROW_SHARE:
                # In proportion to what the vendor's devices reach in 16 bit.
                wide = measured["bf16"] / peaks["bf16"] if "bf16" in measured else usual
                share = NARROW_SHARE[name] * wide / USUAL_SHARE["nvidia"]
            return peaks[name] * 1e12 * share
    return (peaks.get("fp32") or next(iter(peaks.values()))) * 1e12 * usual


def machine(accelerator: Accelerator, number_format: str) -> Machine:
    """The core's view of a device that computes in a number format."""
    peaks = accelerator.peak_tflops
    wide = "fp32" if number_format == "fp32" else "bf16" if "bf16" in peaks else "fp16"
    peak = (peaks.get(wide) or peaks.get("fp32") or next(iter(peaks.values()))) * 1e12
    link = (accelerator.link_gbs or accelerator.memory_bandwidth_gbs * 0.02) * 1e9
    return Machine(
        ceiling=product_ceiling(accelerator, number_format),
        attention_ceiling=product_ceiling(accelerator, wide),
        peak=peak,
        units=float(accelerator.multiprocessors or max(1.0, peak / USUAL_UNIT_RATE)),
        tile=float(TILE),
        bandwidth=accelerator.memory_bandwidth_gbs * 1e9,
        link=link,
        domain=float(accelerator.link_domain),
        network=(accelerator.network_gbps or USUAL_NETWORK) * 1e9 / 8,
        memory=float(accelerator.memory_bytes),
        amd=float(accelerator.vendor == "amd"),
    )
