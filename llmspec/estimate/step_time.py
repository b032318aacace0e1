"""Step time: a roofline for each operation of the network, a schedule over them, and what the devices wait for each other."""

from collections.abc import Mapping
from math import log, sqrt
from typing import NamedTuple

from llmspec.estimate.activations import FLOAT, compute_bytes
from llmspec.estimate.derivation import Input, Quantities, Quantity, constant, field
from llmspec.estimate.device import LINK_LATENCY_SECONDS, MODEL, Device
from llmspec.estimate.flops import BACKWARD_ATTENTION, Flops
from llmspec.network.network import AttentionProduct, Component, Elementwise, MatrixProduct, Network, Operation
from llmspec.resolve.resolved import Resolved

# Passes over memory that one elementwise operation of the network takes, forward: eager PyTorch splits it into several kernels, the
# compiler fuses it with its neighbours; a processor computes exponentials and conversions at a fraction of its bandwidth.
EAGER_PASSES = 2.0
COMPILED_PASSES = 1.0
PROCESSOR_EAGER_PASSES = 4.0
PROCESSOR_COMPILED_PASSES = 2.5
PROCESSOR_CONVERSION_PASSES = 4.0
PROCESSOR_EXPONENTIAL_PASSES = 2.0
# The backward pass reads the gradient and what was kept, and writes a gradient for each input.
BACKWARD_PASSES = 2.0
# Kernels of one operation, forward and backward.
EAGER_KERNELS = {"product": 9, "attention": 8, "elementwise": 12}
COMPILED_KERNELS = {"product": 3, "attention": 4, "elementwise": 2}
# The loss reads and writes each logit in fp32: log-softmax forward; exponential, scaling, scatter and conversion backward.
LOSS_PASSES = 9
# The fused AdamW step reads parameter, gradient and both moments and writes three of them; clipping reads the gradient twice and writes it.
OPTIMIZER_BYTES = 28
CLIPPING_BYTES = 12
# DDP sends 25 MiB buckets while the backward pass runs; the last one has nothing to hide behind.
BUCKET_BYTES = 25 * 2**20
OVERLAP = 0.85
# Every step waits for the slowest of n devices: 1 + jitter * sqrt(2 ln n).
JITTER = 0.01

# Bounds of the figure, from comparing this model with published runs: wider where nobody measured the device's matrix products.
ERROR_MEASURED = (0.75, 1.35)
ERROR_UNMEASURED = (0.6, 1.7)

CONVENTION = "model FLOPs of the attention's all pairs, head included, recomputation not, over the stated dense peak (PaLM's 6N + 12LHT)"


class StepTime(NamedTuple):
    """One optimizer step. `parts` are seconds that add up to the step."""

    step: Quantity
    parts: Mapping[str, float]
    components: Quantities
    tokens_per_second: Quantity
    tokens_per_second_per_device: Quantity
    mfu: Quantity

    @property
    def dominant(self) -> str:
        """The part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])


class _Tally:
    """Seconds and kernels of one micro batch."""

    def __init__(self) -> None:
        self.products = self.attention = self.elementwise = 0.0
        self.kernels = 0


def _elementwise_bytes(operation: Elementwise, size: int) -> float:
    """Bytes of one forward pass: norms, residual additions and rotations are fp32, the rest has the product's format."""
    fp32 = operation.component in (Component.NORM, Component.EMBEDDING) or operation.name.endswith("rotate")
    return (operation.elements_read + operation.elements_written) * (FLOAT if fp32 else size)


def _add(tally: _Tally, operation: Operation, resolved: Resolved, device: Device, tokens: int, passes: float, *, again: bool) -> None:
    """Add one operation, forward and backward; `again` where checkpointing runs its forward pass a second time."""
    spec = resolved.spec
    size = compute_bytes(spec)
    compiled = spec.training.compile
    kernels = COMPILED_KERNELS if compiled else EAGER_KERNELS
    forwards = 2 if again else 1
    match operation:
        case MatrixProduct(in_features=inner, out_features=outer):
            forward = device.matmul_seconds(tokens, inner, outer, size)
            tally.products += forwards * forward
            tally.products += device.matmul_seconds(tokens, outer, inner, size) + device.matmul_seconds(inner, tokens, outer, size)
            if size < FLOAT:
                # Autocast converts the weight and, in eager mode, the input and the gradients; weight gradients are added in fp32.
                weight = inner * outer * (FLOAT + size) * 2
                moving = 0 if compiled else tokens * (inner + outer) * (FLOAT + size)
                tally.elementwise += (
                    (weight + moving) * (PROCESSOR_CONVERSION_PASSES if device.is_processor else 1) / device.memory_bandwidth
                )
            tally.kernels += kernels["product"]
        case AttentionProduct(head_dim=head_dim):
            flops = operation.causal_flops_per_token(spec.training.sequence_length) * tokens
            tally.attention += (forwards + BACKWARD_ATTENTION) * flops / device.attention_rate(head_dim)
            tally.kernels += kernels["attention"]
        case Elementwise():
            moved = _elementwise_bytes(operation, size) * tokens * passes
            tally.elementwise += (forwards + BACKWARD_PASSES) * moved / device.memory_bandwidth
            tally.kernels += kernels["elementwise"]


def _passes(device: Device, compiled: bool) -> float:
    if device.is_processor:
        return PROCESSOR_COMPILED_PASSES if compiled else PROCESSOR_EAGER_PASSES
    return COMPILED_PASSES if compiled else EAGER_PASSES


def micro_batch(resolved: Resolved, network: Network, device: Device) -> dict[str, float]:
    """Seconds of one micro batch, forward and backward, by kind of work."""
    spec = resolved.spec
    tokens = spec.training.micro_batch_size * spec.training.sequence_length
    checkpointing = spec.parallelism.activation_checkpointing
    passes = _passes(device, spec.training.compile)
    total = _Tally()
    # Layers that are alike are costed once.
    groups: dict[tuple[Operation, ...], int] = {}
    for layer in network.layers:
        groups[layer.operations] = groups.get(layer.operations, 0) + 1
    for operations, count in groups.items():
        tally = _Tally()
        for operation in operations:
            again = checkpointing == "full" or (checkpointing == "selective" and isinstance(operation, Elementwise))
            _add(tally, operation, resolved, device, tokens, passes, again=again)
        total.products += count * tally.products
        total.attention += count * tally.attention
        total.elementwise += count * tally.elementwise
        total.kernels += count * tally.kernels
    for operation in (*network.before.operations, *network.after.operations):
        _add(total, operation, resolved, device, tokens, passes, again=False)
    loss_passes = LOSS_PASSES * (PROCESSOR_EXPONENTIAL_PASSES if device.is_processor else 1)
    loss = tokens * spec.architecture.vocab_size * FLOAT * loss_passes / device.memory_bandwidth
    parts = {"matrix_products": total.products, "attention": total.attention, "elementwise": total.elementwise, "loss": loss}
    starts = total.kernels * device.start_seconds
    # A processor starts and computes in turn; an accelerator computes while the next kernels are started, and waits only if it is faster.
    parts["kernel_starts"] = starts if device.is_processor else max(0.0, starts - sum(parts.values()))
    return parts


def all_reduce_seconds(size: float, resolved: Resolved, device: Device) -> float:
    """Ring all-reduce of so many bytes over all devices, at the pace of the slowest link that it crosses."""
    devices = resolved.world_size
    if devices == 1:
        return 0.0
    per_node = resolved.spec.hardware.accelerators_per_node
    bandwidth = device.link_bandwidth if per_node > 1 else float("inf")
    if resolved.spec.hardware.nodes > 1:
        bandwidth = min(bandwidth, device.network_bandwidth * per_node)
    return 2 * (devices - 1) / devices * size / bandwidth + 2 * LINK_LATENCY_SECONDS * log(devices, 2)


def estimate_step_time(resolved: Resolved, network: Network, device: Device, flops: Flops) -> StepTime:
    """The time of one optimizer step, and the rates that follow from it."""
    spec = resolved.spec
    micro_batches = resolved.gradient_accumulation_steps
    micro = micro_batch(resolved, network, device)
    parameters = network.num_parameters
    clipping = CLIPPING_BYTES if spec.training.max_grad_norm != "none" else 0
    parts = {name: seconds * micro_batches for name, seconds in micro.items()}
    parts["optimizer"] = parameters * (OPTIMIZER_BYTES + clipping) / device.memory_bandwidth
    if resolved.world_size > 1:
        hidden = OVERLAP * sum(micro.values()) * 2 / 3
        gradients = FLOAT * parameters
        exposed = max(0.0, all_reduce_seconds(gradients, resolved, device) - hidden)
        parts["gradient_all_reduce"] = max(exposed, all_reduce_seconds(min(BUCKET_BYTES, gradients), resolved, device))
        parts["stragglers"] = sum(parts.values()) * JITTER * sqrt(2 * log(resolved.world_size))
    parts = {name: seconds for name, seconds in parts.items() if seconds > 0}
    step = sum(parts.values())

    low, high = ERROR_MEASURED if device.measured else ERROR_UNMEASURED
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    count = Input("micro_batches", str(micro_batches), "derived: global_batch_size / (micro_batch_size * data_parallel_size)")
    compiled = field(resolved, "training.compile")
    devices = Input("devices", f"{resolved.world_size:,}", resolved.origin("hardware.nodes").text)
    how: dict[str, tuple[str, tuple[Input, ...]]] = {
        "matrix_products": (
            "micro_batches * sum of max(2 M N K / (matmul_ceiling * share(K)), bytes / memory_bandwidth), forward and twice backward",
            (count, *batch, *device.inputs),
        ),
        "attention": (
            "micro_batches * 3.5 * causal FLOPs / (matmul_ceiling * share(head_dim))",
            (count, *batch, field(resolved, "architecture.attention.head_dim"), *device.inputs),
        ),
        "elementwise": (
            "micro_batches * passes * bytes / memory_bandwidth, forward and twice backward, and autocast's conversions",
            (count, *batch, constant("passes", _passes(device, spec.training.compile), MODEL), compiled, *device.inputs),
        ),
        "loss": (
            "micro_batches * tokens * vocab_size * 4 bytes * passes / memory_bandwidth",
            (count, *batch, field(resolved, "architecture.vocab_size"), constant("passes", LOSS_PASSES, MODEL), *device.inputs),
        ),
        "kernel_starts": (
            "kernels * seconds to start one"
            + ("" if device.is_processor else ", beyond the time in which the device computes: it waits for Python"),
            (count, compiled, constant("start", device.start_seconds * 1e6, MODEL, "us")),
        ),
        "optimizer": (
            "parameters * bytes of a fused AdamW step and of clipping / memory_bandwidth",
            (
                constant("parameters", parameters, "counted from the network"),
                constant("bytes", OPTIMIZER_BYTES + clipping, MODEL),
                *device.inputs,
            ),
        ),
        "gradient_all_reduce": (
            "2 (n - 1) / n * 4 bytes * parameters / bandwidth of the slowest link, beyond what the backward pass hides; "
            "at least one bucket's",
            (
                devices,
                constant("parameters", parameters, "counted from the network"),
                constant("link", device.link_bandwidth / 1e9, f"catalog: {device.name}", "GB/s"),
                constant("network of a device", device.network_bandwidth / 1e9, f"catalog: {device.name}", "GB/s"),
                constant("overlap", OVERLAP, MODEL),
            ),
        ),
        "stragglers": ("(sum of the rest) * jitter * sqrt(2 ln n)", (devices, constant("jitter", JITTER, MODEL))),
    }
    components = {name: Quantity(seconds, "s", how[name][0], how[name][1], MODEL) for name, seconds in parts.items()}
    step_quantity = Quantity(
        step,
        "s",
        " + ".join(parts),
        tuple(quantity.as_input(name) for name, quantity in components.items()),
        "roofline of each operation, with what overlaps taken off",
        low=step * low,
        high=step * high,
    )
    rate = resolved.tokens_per_step / step
    tokens = Input("tokens_per_step", f"{resolved.tokens_per_step:,}", "derived: global_batch_size * sequence_length")
    tokens_per_second = Quantity(
        rate,
        "tokens/s",
        "tokens_per_step / step",
        (tokens, step_quantity.as_input("step")),
        MODEL,
        low=rate / high,
        high=rate / low,
    )
    per_device = rate / resolved.world_size
    utilisation = flops.per_token.value * per_device / device.peak
    return StepTime(
        step=step_quantity,
        parts=parts,
        components=components,
        tokens_per_second=tokens_per_second,
        tokens_per_second_per_device=Quantity(
            per_device,
            "tokens/s",
            "tokens_per_second / devices",
            (tokens_per_second.as_input("tokens_per_second"), devices),
            MODEL,
            low=per_device / high,
            high=per_device / low,
        ),
        mfu=Quantity(
            utilisation,
            "",
            "flops.per_token * tokens_per_second_per_device / peak",
            (
                flops.per_token.as_input("flops.per_token"),
                constant("tokens_per_second_per_device", per_device, "estimated here"),
                *device.inputs,
            ),
            CONVENTION,
            low=utilisation / high,
            high=min(1.0, utilisation / low),
        ),
    )
