"""A resolved spec as the analytic core sees it."""

from typing import NamedTuple

from llmspec.catalog import Accelerator
from llmspec.estimate.activations import compute_bytes
from llmspec.estimate.machine import machine
from llmspec.estimate.workload import (
    COMPILED,
    EAGER,
    RECOMPUTE_FULL,
    RECOMPUTE_NONE,
    RECOMPUTE_SELECTIVE,
    Configuration,
    Layout,
    Machine,
    Shape,
)
from llmspec.network.network import AttentionProduct, Component, MatrixProduct, Network
from llmspec.network.optimizer_state import optimizer_state_bytes
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema.optimizer import Muon, Soap


class Schedule(NamedTuple):
    """The order of the passes over a pipeline, as the core sees it."""

    bubble: float
    """Share of the plain pipeline's bubble that it leaves."""
    interleaves: bool = False
    """Whether each device holds several stages."""
    flushes: bool = False
    """Whether all micro batches run forward before any runs backward."""


CHECKPOINTINGS = {"none": RECOMPUTE_NONE, "selective": RECOMPUTE_SELECTIVE, "full": RECOMPUTE_FULL}
# Zero bubble (Qi et al. 2023) fills the bubble with the gradients of weights: of forward, backward for inputs and backward for weights,
# each about as long, only the first remains uncovered.
SCHEDULES = {
    "gpipe": Schedule(1.0, flushes=True),
    "1f1b": Schedule(1.0),
    "interleaved_1f1b": Schedule(1.0, interleaves=True),
    "zero_bubble": Schedule(1.0 / 3.0),
}
# Elements of one of DeepSpeed's buckets (reduce_bucket_size, allgather_bucket_size).
DEEPSPEED_BUCKET = 500e6
_PRODUCT_BYTES = {"fp8": 1.0, "fp4": 0.5, "fp32": 4.0}


def configuration_of(resolved: Resolved, network: Network, accelerator: Accelerator) -> Configuration:
    """Lower a spec to the core's numbers."""
    return Configuration(shape_of(resolved, network), layout_of(resolved, network), _machine(resolved, accelerator))


def shape_of(resolved: Resolved, network: Network) -> Shape:
    """The model, from the operations that the network counts."""
    spec = resolved.spec
    architecture, length = spec.architecture, spec.training.sequence_length
    heads = architecture.attention
    products = [o for o in network.layers[0].operations if isinstance(o, MatrixProduct)]
    entries = sum(o.in_features * o.out_features for o in products if o.component is Component.ATTENTION)
    attends = [o for layer in network.layers for o in layer.operations if isinstance(o, AttentionProduct)]
    span = sum(o.causal_flops_per_token(length) for o in attends) / sum(4 * o.num_heads * o.head_dim for o in attends)
    layers = float(architecture.num_layers)
    return Shape(
        layers=layers,
        hidden=float(architecture.hidden_size),
        heads=float(heads.num_heads),
        kv_heads=float(heads.key_value_heads),
        key_dim=float(heads.head_dim),
        value_dim=float(heads.head_dim),
        attention_entries=float(entries),
        ffn=float(architecture.feed_forward.ffn_hidden_size),
        matrices=3.0 if architecture.feed_forward.gated else 2.0,
        vocabulary=float(architecture.vocab_size),
        tied=float(architecture.tie_embeddings),
        sequence=float(length),
        span=span,
        experts=0.0,
        active_experts=0.0,
        expert_ffn=0.0,
        shared_ffn=0.0,
        dense_layers=layers,
        trained=1.0,
    )


def optimizer_flops(resolved: Resolved, network: Network) -> float:
    """FLOPs of the matrix products that an optimizer makes of the layers' matrices in one step, all of them together."""
    optimizer = resolved.spec.optimizer
    if not isinstance(optimizer, Muon | Soap):
        return 0.0
    total = 0.0
    for weight in network.weights:
        if weight.layer is None or len(weight.shape) != 2:
            continue
        small, large = sorted(weight.shape)
        if isinstance(optimizer, Muon):
            # A Newton-Schulz step: X X', its square, and their product with X.
            total += optimizer.newton_schulz_steps * (4.0 * small**2 * large + 2.0 * small**3)
        else:
            # Into the eigenbases and back, the covariances, and their QR decomposition now and then.
            sides = [side for side in weight.shape if side <= optimizer.max_precondition_size]
            total += sum(8.0 * side * weight.size + 10.0 * side**3 / optimizer.precondition_every for side in sides)
    return total


def shard_stage(resolved: Resolved) -> int:
    """What is sharded over replicas: 0 nothing, 1 the optimizer's state, 2 gradients too, 3 parameters too."""
    layout = resolved.spec.parallelism
    return {"ddp": 0, "fsdp": 3, "hsdp": 3, "zero": layout.zero_stage}[layout.data]


def layout_of(resolved: Resolved, network: Network, *, like: Layout | None = None) -> Layout:
    """The layout, its numerics and its kernels.

    Args:
        resolved: The spec.
        network: Its model.
        like: Another layout of the same model with the same optimizer and engine, which is asked what the optimizer keeps and does.
    """
    spec = resolved.spec
    layout, training = spec.parallelism, spec.training
    schedule = SCHEDULES[layout.pipeline_schedule]
    virtual = layout.stages_per_device if schedule.interleaves and layout.pipeline > 1 else 1
    # DeepSpeed keeps 16-bit parameters and gradients beside an fp32 copy; the torch engine keeps fp32 ones and casts as it computes.
    mixed = layout.engine == "deepspeed" and spec.precision in ("bf16", "fp16")
    quantised = spec.precision in ("fp8", "fp4")
    offload = layout.offload is not None and layout.offload.optimizer != "none"
    if like is not None:
        remembered = like.state_bytes
    else:
        # Layers are alike: what is kept of a weight is asked once for each shape, inside the layers and outside.
        kinds = {(weight.shape, weight.layer is None): weight for weight in network.weights}
        kept = {kind: optimizer_state_bytes(spec.optimizer, weight) for kind, weight in kinds.items()}
        remembered = sum(kept[weight.shape, weight.layer is None] for weight in network.weights) / network.num_parameters
        remembered += 4.0 if mixed else 0.0
    return Layout(
        devices=float(resolved.world_size),
        per_node=float(spec.hardware.accelerators_per_node),
        tensor=float(layout.tensor),
        sequence_parallel=float(layout.sequence_parallel and layout.tensor > 1),
        pipeline=float(layout.pipeline),
        virtual=float(virtual),
        bubble=schedule.bubble / virtual,
        flushes=float(schedule.flushes),
        context=float(layout.context),
        expert=float(layout.expert),
        shard_stage=float(shard_stage(resolved) if resolved.data_parallel_size * layout.context > 1 else 0),
        shard_size=float(layout.shard_size * (layout.context if layout.data != "hsdp" else 1)),
        reshard=float(layout.reshard_after_forward),
        micro_batch=float(training.micro_batch_size),
        micro_batches=float(resolved.gradient_accumulation_steps),
        recompute=float(CHECKPOINTINGS[layout.activation_checkpointing]),
        kernels=float(COMPILED if training.compile else EAGER),
        flash=1.0,
        product_bytes=_PRODUCT_BYTES.get(spec.precision, 2.0),
        activation_bytes=float(compute_bytes(spec)),
        quantised=float(quantised),
        reduce_bytes=2.0 if mixed else 4.0,
        state_bytes=remembered,
        optimizer_flops=optimizer_flops(resolved, network) if like is None else like.optimizer_flops,
        parameter_bytes=2.0 if mixed else 4.0,
        gradient_bytes=2.0 if mixed else 4.0,
        overlapped=1.0,
        bucket=DEEPSPEED_BUCKET if layout.engine == "deepspeed" else 0.0,
        offload=float(offload),
    )


def _machine(resolved: Resolved, accelerator: Accelerator) -> Machine:
    described = machine(accelerator, resolved.spec.precision)
    # A link that reaches further than the usual machine joins all there are; one of a machine, those in use of it.
    if accelerator.link_domain > accelerator.accelerators_per_node:
        return described
    return described._replace(domain=float(resolved.spec.hardware.accelerators_per_node))
