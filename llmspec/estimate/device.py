"""The device model: what one device of the spec reaches, not what its vendor states.

The exact counts know nothing of devices, the schedule knows nothing of kernels; this module stands between them. Its constants have a
physical meaning each, and are the only ones that a better fit would replace.
"""

from typing import Literal, NamedTuple

from llmspec.catalog import Accelerator, find_accelerator
from llmspec.estimate.derivation import Input, constant, field
from llmspec.resolve.resolved import Resolved

NumberFormat = Literal["bf16", "fp16", "fp32", "fp8", "fp4"]

# Share of the stated peak that the largest matrix products reach where nobody measured it: mean of A100 (0.87), H100 (0.80), B200 (0.78).
USUAL_MATMUL_SHARE = 0.80
# A GEMM spends a fixed time on each tile for filling and emptying its pipeline: it loses half its speed at an inner dimension of this size
# on a device with a peak of 312 TFLOP/s (A100), proportionally more on faster ones, whose memory did not keep pace.
INNER_DIMENSION_LOSS = 160.0
ATTENTION_HEAD_LOSS = 48.0
REFERENCE_PEAK = 312e12
# Seconds that one kernel takes at least on the device, and that PyTorch takes to start it: eager, and compiled without CUDA graphs.
KERNEL_SECONDS = 3e-6
EAGER_START_SECONDS = 8e-6
COMPILED_START_SECONDS = 4e-6
# Products of a training step run somewhat below the best shape at the clock of a short benchmark: power and heat.
SUSTAINED_SHARE = 0.88
MEMORY_BANDWIDTH_SHARE = 0.85
LINK_BANDWIDTH_SHARE = 0.75
LINK_LATENCY_SECONDS = 10e-6

# A processor runs one kernel after the other: each start is paid for, and a pass over memory costs what one core's loads and conversions
# cost, far from the stated bandwidth of the socket. Measured with PyTorch 2.13 on two cores with AVX-512 and bf16 instructions.
PROCESSOR_START_SECONDS = 12e-6
PROCESSOR_ATTENTION_SHARE = 0.45
# Processes of one machine exchange gradients through its memory.
PROCESSOR_LINK_GBS = 1.5

MODEL = "device model of llmspec"


class Device(NamedTuple):
    """One device as the schedule sees it; bytes, seconds, FLOP/s."""

    name: str
    is_processor: bool
    peak: float
    matmul_ceiling: float
    memory_bandwidth: float
    memory_bytes: int
    kernel_seconds: float
    start_seconds: float
    link_bandwidth: float
    network_bandwidth: float
    watts: float
    measured: bool
    inputs: tuple[Input, ...]

    def matmul_seconds(self, rows: int, inner: int, columns: int, bytes_per_element: int) -> float:
        """Time of one matrix product (rows, inner) x (inner, columns)."""
        flops = 2.0 * rows * inner * columns
        moved = bytes_per_element * (float(rows) * inner + float(inner) * columns + float(rows) * columns)
        return self.kernel_seconds + max(flops / (self.matmul_ceiling * self._share(inner)), moved / self.memory_bandwidth)

    def attention_rate(self, head_dim: int) -> float:
        """FLOP/s of a fused attention kernel, forward."""
        if self.is_processor:
            return self.matmul_ceiling * PROCESSOR_ATTENTION_SHARE
        return self.matmul_ceiling * head_dim / (head_dim + ATTENTION_HEAD_LOSS * self.peak / REFERENCE_PEAK)

    def _share(self, inner: int) -> float:
        if self.is_processor:
            return 1.0
        return SUSTAINED_SHARE * inner / (inner + INNER_DIMENSION_LOSS * self.peak / REFERENCE_PEAK)


def peak_of(accelerator: Accelerator, number_format: NumberFormat) -> float:
    """Stated dense peak in FLOP/s; fp32's where the device lacks the format and computes it in fp32."""
    peaks = accelerator.peak_tflops
    return (peaks.get(number_format) or peaks.get("fp32") or next(iter(peaks.values()))) * 1e12


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
    measured = accelerator.matmul_tflops.get(number_format)
    ceiling = measured * 1e12 if measured else peak * USUAL_MATMUL_SHARE
    processor = accelerator.is_cpu
    origin = f"catalog: {accelerator.name} ({', '.join(accelerator.sources)})"
    bandwidth = accelerator.memory_bandwidth_gbs * 1e9 * MEMORY_BANDWIDTH_SHARE
    link_gbs = accelerator.link_gbs or (PROCESSOR_LINK_GBS if processor else accelerator.memory_bandwidth_gbs * 0.02)
    # 10 Gbit/s is what any rented machine has.
    network_gbps = accelerator.network_gbps or 10.0
    start = PROCESSOR_START_SECONDS if processor else COMPILED_START_SECONDS if spec.training.compile else EAGER_START_SECONDS
    return Device(
        name=accelerator.name,
        is_processor=processor,
        peak=peak,
        matmul_ceiling=ceiling,
        memory_bandwidth=bandwidth,
        memory_bytes=accelerator.memory_bytes,
        kernel_seconds=start if processor else KERNEL_SECONDS,
        start_seconds=start,
        link_bandwidth=link_gbs * 1e9 * LINK_BANDWIDTH_SHARE,
        network_bandwidth=network_gbps * 1e9 / 8 * LINK_BANDWIDTH_SHARE,
        watts=accelerator.tdp_watts or 0.0,
        measured=measured is not None,
        inputs=(
            field(resolved, "hardware.accelerator"),
            constant(f"peak {number_format}", peak / 1e12, origin, "TFLOP/s"),
            constant(
                "matmul_ceiling",
                ceiling / 1e12,
                f"{origin}, measured" if measured else f"{MODEL}: {USUAL_MATMUL_SHARE} of the peak",
                "TFLOP/s",
            ),
            constant("memory_bandwidth", bandwidth / 1e9, f"{origin}, {MEMORY_BANDWIDTH_SHARE} of what is stated", "GB/s"),
        ),
    )
