"""The analytic core of the memory: what one device holds at the peak, by component.

Where `memory.py` traces what autograd keeps in the emitted model, this counts for every layout and every kind of kernels, as arithmetic on
numbers or on columns of them. States are exact; activations follow Korthikanti et al. 2022 (section 4), by tensor.
"""

from typing import NamedTuple

from llmspec.estimate.arithmetic import Arithmetic
from llmspec.estimate.workload import EAGER, FUSED, RECOMPUTE_FULL, RECOMPUTE_SELECTIVE, Configuration, Number


class MemoryConstants(NamedTuple):
    """What was fitted or assumed of the memory; the catalog's efficiency.yaml holds the values and says of what."""

    context_bytes: float
    """What the process holds on the device before the first tensor: driver context, loaded kernels, workspaces."""
    collective_bytes: float
    """Buffers of the collective library, for each kind of group that a device is in."""
    eager_stream: float
    """Copies of the residual stream that eager kernels keep for a layer, in elements of the activation's size, beside products' inputs."""
    fused_stream: float
    eager_loss_bytes: float
    """Bytes held for one logit in the loss and its backward pass."""
    fused_loss_bytes: float
    fragmentation: float
    """Share of what comes and goes in a step that the allocator holds beside it."""


def held_entries(xp: Arithmetic, configuration: Configuration) -> tuple[Number, Number]:
    """Parameters of one device before any sharding over replicas: dense ones with one stage's table, and experts."""
    shape, layout, _ = configuration
    mixed_layers = xp.where(shape.experts > 0, shape.layers - shape.dense_layers, 0.0)
    dense_layers = shape.layers - mixed_layers
    ffn = shape.matrices * shape.hidden
    dense = shape.layers * (shape.attention_entries + 2.0 * shape.hidden) + ffn * (
        dense_layers * shape.ffn + mixed_layers * shape.shared_ffn
    )
    experts = mixed_layers * ffn * shape.expert_ffn * shape.experts
    tables = shape.vocabulary * shape.hidden * xp.where(layout.pipeline > 1, 1.0, 2.0 - shape.tied)
    return (dense / layout.pipeline + tables) / layout.tensor, experts / layout.pipeline / layout.expert


def peak_parts(xp: Arithmetic, configuration: Configuration, constants: MemoryConstants) -> dict[str, Number]:
    """Bytes of one device at the peak by component; they add up to what the driver reports."""
    shape, layout, _ = configuration
    held, held_experts = held_entries(xp, configuration)
    replicas = layout.devices / (layout.tensor * layout.pipeline)
    expert_replicas = xp.maximum(1.0, layout.devices / (layout.pipeline * layout.expert))
    shards = xp.where(layout.shard_stage >= 1, xp.minimum(layout.shard_size, replicas), 1.0)
    expert_shards = xp.where(layout.shard_stage >= 1, expert_replicas, 1.0)

    def spread(size: Number, stage: int, share: Number) -> Number:
        over = xp.where(layout.shard_stage >= stage, shards, 1.0)
        expert_over = xp.where(layout.shard_stage >= stage, expert_shards, 1.0)
        return size * share * (held / over + held_experts / expert_over)

    trained = shape.trained
    parameters = spread(layout.parameter_bytes, 3, 1.0)
    gradients = spread(layout.gradient_bytes, 2, trained)
    states = spread(layout.state_bytes, 1, trained) * xp.where(layout.offload > 0, 0.0, 1.0)
    # Sharded parameters are whole for the layer at work and the one fetched ahead, and a layer's gradients before they are scattered.
    layer = (held - shape.vocabulary * shape.hidden / layout.tensor) * layout.pipeline / shape.layers
    table = shape.vocabulary * shape.hidden / layout.tensor
    gathered = xp.where(
        layout.shard_stage >= 3,
        xp.where(shards > 1, xp.maximum(2.0 * layer, table) * 2.0 + xp.maximum(layer, table) * layout.gradient_bytes * trained, 0.0),
        0.0,
    )

    # Activations of one layer for one token on this device, in bytes.
    # With quantised products what is kept for them is kept in 8 bit; the kernels that do so work the rest in place.
    size = xp.where(layout.quantised > 0, 1.0, layout.activation_bytes)
    tokens = layout.micro_batch * shape.sequence / layout.context
    tensor = layout.tensor
    across = xp.where(layout.sequence_parallel > 0, tensor, 1.0)
    queries, keys = shape.heads * shape.key_dim, shape.kv_heads * (shape.key_dim + shape.value_dim)
    eager = layout.kernels == EAGER
    stream = shape.hidden * size * xp.where(eager, constants.eager_stream, constants.fused_stream) / across
    inputs = 2.0 * shape.hidden * size / across
    attention = (2.0 * queries + keys) * size / tensor
    scores = xp.where(layout.flash > 0, 0.0, 5.0 * shape.heads * shape.sequence / tensor)
    hidden_tensors = xp.where(shape.matrices > 2, 3.0, 2.0) + xp.where(eager, xp.where(shape.matrices > 2, 1.0, 0.0), 0.0)
    mixed = shape.experts > 0
    mixed_share = xp.where(mixed, (shape.layers - shape.dense_layers) / shape.layers, 0.0)
    width = (1.0 - mixed_share) * shape.ffn + mixed_share * (shape.shared_ffn + shape.active_experts * shape.expert_ffn)
    routed = mixed_share * shape.active_experts * shape.hidden * 2.0 * size / tensor
    feed_forward = hidden_tensors * width * size / tensor + routed
    whole = stream + inputs + attention + scores + feed_forward
    kept = xp.where(
        layout.recompute == RECOMPUTE_FULL,
        shape.hidden * size / across,
        xp.where(layout.recompute == RECOMPUTE_SELECTIVE, whole - scores, whole),
    )
    once_more = xp.where(layout.recompute == RECOMPUTE_FULL, whole, xp.where(layout.recompute == RECOMPUTE_SELECTIVE, scores, 0.0))
    layers = shape.layers / layout.pipeline
    # The first stage holds a micro batch for each stage behind it; interleaving adds those of the chunks in between.
    waves = 1.0 + xp.where(layout.virtual > 1, (layout.pipeline - 1.0) / (layout.pipeline * layout.virtual), 0.0)
    in_flight = xp.where(layout.flushes > 0, layout.micro_batches, xp.minimum(layout.micro_batches, layout.pipeline * waves))
    activations = tokens * (layers * kept * in_flight + once_more)
    logits = tokens * shape.vocabulary / tensor * xp.where(eager, constants.eager_loss_bytes, constants.fused_loss_bytes)
    # The last stage holds the logits and one micro batch; the first the others.
    last = tokens * (layers * kept + once_more) + logits
    piped = layout.pipeline > 1
    at_last = xp.where(piped, last > activations, True)
    activations_at_peak = xp.where(at_last, last - logits, activations)
    # At the loss no layer is being recomputed; where one layer's whole activations are more than the logits, those are the peak.
    logits_at_peak = xp.where(at_last, logits, 0.0)
    overlap = xp.minimum(logits_at_peak, tokens * once_more)
    activations_at_peak = activations_at_peak - overlap
    groups = (
        xp.where(layout.devices > 1, 1.0, 0.0)
        + xp.where(layout.tensor > 1, 1.0, 0.0)
        + xp.where(layout.pipeline > 1, 1.0, 0.0)
        + xp.where(layout.context > 1, 1.0, 0.0)
        + xp.where(layout.expert > 1, 1.0, 0.0)
    )
    return {
        "parameters": parameters,
        "gradients": gradients,
        "optimizer": states,
        "gathered_parameters": gathered,
        "buckets": 2.0 * layout.activation_bytes * xp.minimum(layout.bucket, held + held_experts),
        "activations": activations_at_peak,
        "logits": logits_at_peak,
        "communication": constants.collective_bytes * groups,
        "framework": constants.context_bytes + 0.0 * tokens,
        "fragmentation": constants.fragmentation * (activations_at_peak + logits_at_peak + gathered),
    }


__all__ = ["FUSED", "MemoryConstants", "held_entries", "peak_parts"]
