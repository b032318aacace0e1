"""The device that a spec names: what it reaches, not what its vendor states."""

from typing import Literal, NamedTuple

from llmspec.catalog import Accelerator, find_accelerator
from llmspec.estimate.derivation import Input, constant, field
from llmspec.estimate.machine import product_ceiling
from llmspec.resolve.resolved import Resolved

NumberFormat = Literal["bf16", "fp16", "fp32", "fp8", "fp4"]

MEMORY_BANDWIDTH_SHARE = 0.85
LINK_BANDWIDTH_SHARE = 0.75
LINK_LATENCY_SECONDS = 10e-6
# A processor runs one kernel after the other: each start is paid for. Measured with PyTorch 2.13 on two cores with AVX-512 and bf16
# instructions.
PROCESSOR_START_SECONDS = 12e-6
PROCESSOR_ATTENTION_SHARE = 0.45
# Share of the peak that a processor's matrix products reach.
PROCESSOR_MATMUL_SHARE = 0.80
# Processes of one machine exchange gradients through its memory.
PROCESSOR_LINK_GBS = 1.5

MODEL = "device model of llmspec"


class Device(NamedTuple):
    """One device; bytes, seconds, FLOP/s."""

    accelerator: Accelerator
    name: str
    is_processor: bool
    peak: float
    matmul_ceiling: float
    memory_bandwidth: float
    memory_bytes: int
    start_seconds: float
    link_bandwidth: float
    network_bandwidth: float
    watts: float
    measured: bool
    inputs: tuple[Input, ...]

    def matmul_seconds(self, rows: int, inner: int, columns: int, bytes_per_element: int) -> float:
        """Time of one matrix product (rows, inner) x (inner, columns) on a processor."""
        flops = 2.0 * rows * inner * columns
        moved = bytes_per_element * (float(rows) * inner + float(inner) * columns + float(rows) * columns)
        return self.start_seconds + max(flops / self.matmul_ceiling, moved / self.memory_bandwidth)

    def attention_rate(self) -> float:
        """FLOP/s of a processor's fused attention kernel, forward."""
        return self.matmul_ceiling * PROCESSOR_ATTENTION_SHARE


def peak_of(accelerator: Accelerator, number_format: NumberFormat) -> float:
    """Stated dense peak in FLOP/s: the next wider format's where the device lacks this one, fp32's in the end."""
    peaks = accelerator.peak_tflops
    wider: tuple[str, ...] = {"fp4": ("fp4", "fp8", "bf16"), "fp8": ("fp8", "bf16")}.get(number_format, (number_format,))
    found = next((name for name in wider if name in peaks), number_format)
    return (peaks.get(found) or peaks.get("fp32") or next(iter(peaks.values()))) * 1e12


def describe_device(resolved: Resolved) -> Device:
    """The device that a spec names.

    Raises:
        ValueError: The catalog does not know the accelerator; rules report that before anything is estimated.
    """
    spec = resolved.spec
    accelerator = find_accelerator(spec.hardware.accelerator)
    if accelerator is None:
        raise ValueError(f"unknown accelerator {spec.hardware.accelerator!r}")
    number_format = spec.precision
    peak = peak_of(accelerator, number_format)
    processor = accelerator.is_cpu
    measured = accelerator.matmul_tflops.get(number_format)
    reached = peak * PROCESSOR_MATMUL_SHARE if processor else product_ceiling(accelerator, number_format)
    ceiling = measured * 1e12 if measured else reached
    origin = f"catalog: {accelerator.name} ({', '.join(accelerator.sources)})"
    bandwidth = accelerator.memory_bandwidth_gbs * 1e9 * MEMORY_BANDWIDTH_SHARE
    link_gbs = accelerator.link_gbs or (PROCESSOR_LINK_GBS if processor else accelerator.memory_bandwidth_gbs * 0.02)
    # 10 Gbit/s is what any rented machine has.
    network_gbps = accelerator.network_gbps or 10.0
    return Device(
        accelerator=accelerator,
        name=accelerator.name,
        is_processor=processor,
        peak=peak,
        matmul_ceiling=ceiling,
        memory_bandwidth=bandwidth,
        memory_bytes=accelerator.memory_bytes,
        start_seconds=PROCESSOR_START_SECONDS if processor else 0.0,
        link_bandwidth=link_gbs * 1e9 * LINK_BANDWIDTH_SHARE,
        network_bandwidth=network_gbps * 1e9 / 8 * LINK_BANDWIDTH_SHARE,
        watts=accelerator.tdp_watts or 0.0,
        measured=bool(accelerator.matmul_tflops),
        inputs=(
            field(resolved, "hardware.accelerator"),
            constant(f"peak {number_format}", peak / 1e12, origin, "TFLOP/s"),
            constant(
                "matmul_ceiling",
                ceiling / 1e12,
                f"{origin}, measured" if measured else f"{MODEL}: {ceiling / peak:.2g} of the peak",
                "TFLOP/s",
            ),
            constant("memory_bandwidth", bandwidth / 1e9, f"{origin}, {MEMORY_BANDWIDTH_SHARE} of what is stated", "GB/s"),
        ),
    )
