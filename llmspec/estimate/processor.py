"""A processor's step: one kernel after the other, each at the speed that was measured for its kind.

Accelerators compute while their next kernels are started and are described by the analytic core; processors start and compute in turn, and
their passes over memory run at a fraction of the socket's bandwidth.
"""

from math import log, sqrt

from llmspec.estimate.activations import FLOAT, compute_bytes
from llmspec.estimate.configuration import shard_stage
from llmspec.estimate.device import LINK_LATENCY_SECONDS, Device
from llmspec.estimate.flops import BACKWARD_ATTENTION
from llmspec.network.network import AttentionProduct, Component, Elementwise, MatrixProduct, Network, Operation
from llmspec.resolve.resolved import Resolved

# Passes over memory that one elementwise operation of the network takes, forward: eager PyTorch splits it into several kernels, the
# compiler fuses it with its neighbours; a processor computes exponentials and conversions at a fraction of its bandwidth.
EAGER_PASSES = 4.0
COMPILED_PASSES = 2.5
CONVERSION_PASSES = 4.0
EXPONENTIAL_PASSES = 2.0
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
# Every step waits for the slowest of n processes: 1 + jitter * sqrt(2 ln n).
JITTER = 0.01


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
                tally.elementwise += (weight + moving) * CONVERSION_PASSES / device.memory_bandwidth
            tally.kernels += kernels["product"]
        case AttentionProduct():
            flops = operation.causal_flops_per_token(spec.training.sequence_length) * tokens
            tally.attention += (forwards + BACKWARD_ATTENTION) * flops / device.attention_rate()
            tally.kernels += kernels["attention"]
        case Elementwise():
            moved = _elementwise_bytes(operation, size) * tokens * passes
            tally.elementwise += (forwards + BACKWARD_PASSES) * moved / device.memory_bandwidth
            tally.kernels += kernels["elementwise"]


def micro_batch_parts(resolved: Resolved, network: Network, device: Device) -> dict[str, float]:
    """Seconds of one micro batch, forward and backward, by kind of work."""
    spec = resolved.spec
    layout = spec.parallelism
    tokens = spec.training.micro_batch_size * spec.training.sequence_length
    checkpointing = layout.activation_checkpointing
    passes = COMPILED_PASSES if spec.training.compile else EAGER_PASSES
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
    loss = tokens * spec.architecture.vocab_size * FLOAT * LOSS_PASSES * EXPONENTIAL_PASSES / device.memory_bandwidth
    shared = layout.tensor * layout.pipeline * layout.context
    parts = {"matrix_products": total.products, "attention": total.attention, "elementwise": total.elementwise, "loss": loss}
    parts = {name: seconds / shared for name, seconds in parts.items()}
    parts["kernel_starts"] = total.kernels * device.start_seconds / layout.pipeline
    return parts


def exchange_seconds(size: float, resolved: Resolved, device: Device) -> float:
    """Ring all-reduce of so many bytes over all processes, at the pace of the slowest link that it crosses."""
    processes = resolved.world_size
    if processes == 1:
        return 0.0
    per_node = resolved.spec.hardware.accelerators_per_node
    bandwidth = device.link_bandwidth if per_node > 1 else float("inf")
    if resolved.spec.hardware.nodes > 1:
        bandwidth = min(bandwidth, device.network_bandwidth * per_node)
    return 2 * (processes - 1) / processes * size / bandwidth + 2 * LINK_LATENCY_SECONDS * log(processes, 2)


def processor_parts(resolved: Resolved, network: Network, device: Device) -> dict[str, float]:
    """Seconds of one optimizer step by what they go to; they add up to the step."""
    spec = resolved.spec
    layout = spec.parallelism
    micro_batches = resolved.gradient_accumulation_steps
    micro = micro_batch_parts(resolved, network, device)
    parameters = network.num_parameters / (layout.tensor * layout.pipeline)
    clipping = CLIPPING_BYTES if spec.training.max_grad_norm != "none" else 0
    stage = shard_stage(resolved)
    shards = layout.shard_size if stage else 1
    parts = {name: seconds * micro_batches for name, seconds in micro.items()}
    parts["pipeline_bubble"] = (layout.pipeline - 1) * sum(micro.values()) / layout.stages_per_device
    parts["optimizer"] = parameters / shards * (OPTIMIZER_BYTES + clipping) / device.memory_bandwidth
    if resolved.world_size > 1:
        hidden = OVERLAP * sum(micro.values()) * 2 / 3
        gradients = FLOAT * parameters
        # Sharded parameters are gathered for each pass over a micro batch; an all-reduce is as long as a scatter and a gather.
        times = 1.5 * micro_batches if stage == 3 else 1.0
        exchange = times * exchange_seconds(gradients, resolved, device)
        last = exchange_seconds(min(BUCKET_BYTES, gradients), resolved, device)
        parts["sharded_exchange" if stage == 3 else "gradient_all_reduce"] = max(exchange - hidden, last)
        parts["stragglers"] = sum(parts.values()) * JITTER * sqrt(2 * log(resolved.world_size))
    return parts
