"""Memory of one device: every component at each moment that can be the peak."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from llmspec.catalog import efficiency
from llmspec.estimate.activations import (
    Kept,
    compute_bytes,
    layer_input,
    layer_kept,
    layer_results,
    outer_kept,
    shared_mask_bytes,
    working_bytes_per_token,
)
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.configuration import layout_of
from llmspec.estimate.constants import memory_constants
from llmspec.estimate.correction import Correction
from llmspec.estimate.derivation import COUNTED, Input, Quantities, Quantity, constant, field
from llmspec.estimate.device import Device
from llmspec.estimate.moments import (
    COMING_AND_GOING,
    FLOAT,
    Numerics,
    Spread,
    Stage,
    Tokens,
    Weights,
    groups,
    moments,
    split_over,
    stages,
)
from llmspec.estimate.workload import Layout
from llmspec.network.network import Component, MatrixProduct, Network
from llmspec.resolve.resolved import Resolved

GIB = 2**30
MIB = 2**20

# What the process holds before the first tensor on a processor: the interpreter with PyTorch's libraries.
PROCESSOR_CONTEXT_BYTES = 400 * MIB
# cuBLAS keeps a workspace.
WORKSPACE_BYTES = 64 * MIB
# Allocators keep more than is in use; torch reserves 2 MiB to 20 MiB segments, and what comes and goes each step does not fill them.
FRAGMENTATION_SHARE = 0.05
# Of the peak: what such formulae miss on the published rows, and what the allocator does on a bad day.
ERROR_LOW, ERROR_HIGH = 0.08, 0.10

# Components that are counted exactly, and those that PyTorch's allocator does not hand out.
EXACT = frozenset({"parameters", "gradients", "optimizer", "master_parameters"})
NOT_ALLOCATED = frozenset({"framework", "fragmentation"})

ASSUMED = "assumption of llmspec"
FITTED = "catalog: efficiency.yaml"
TRACED = "what autograd keeps in the emitted model, traced with saved-tensor hooks on PyTorch 2.13"


class Memory(NamedTuple):
    """Memory of one device at its peak.

    `by_component` holds bytes and adds up to `peak_bytes`; `components` is the same as figures. `allocated_bytes` is what PyTorch's
    allocator has handed out at the peak: the peak without the framework and fragmentation; `reserved_bytes` what it has asked of the
    driver, fragmentation included. `activations` tells the kinds of kept
    tensors apart.
    """

    peak: Quantity
    peak_bytes: int
    moment: str
    allocated_bytes: int
    reserved_bytes: int
    capacity: Quantity
    capacity_bytes: int
    by_component: Mapping[str, int]
    components: Quantities
    activations: Quantities

    @property
    def fits(self) -> bool:
        """Whether the peak is within the capacity."""
        return self.peak_bytes <= self.capacity_bytes

    @property
    def tight(self) -> bool:
        """Whether it fits, but not with the error of the estimate added."""
        return self.fits and self.peak.high is not None and self.peak.high * GIB > self.capacity_bytes


class _Layers(NamedTuple):
    """What is kept of the layers for one token: kinds of all of them, and what the largest is made of again when it runs backward."""

    kept: list[Kept]
    again: Spread


# Tensors along the residual stream, which tensor parallelism splits only together with the sequence.
_STREAM = {"attention input", "feed-forward input", "layer input", "dropout masks", "residual stream", "norms", "final norm", "head input"}


def spread(tensors: Iterable[Kept]) -> Spread:
    """Bytes of kept tensors, by how a layout spreads them over devices."""
    stream = split = 0.0
    for tensor in tensors:
        if tensor.name in _STREAM:
            stream += tensor.bytes_per_token
        else:
            split += tensor.bytes_per_token
    return Spread(stream, split)


def _kept_layers(resolved: Resolved, device: Device) -> _Layers:
    """What all layers keep for one token, were they all on one device."""
    spec = resolved.spec
    checkpointing = spec.parallelism.activation_checkpointing
    totals: dict[tuple[str, Component], float] = {}
    largest = Spread(0.0, 0.0)
    seen: dict[int | None, tuple[tuple[Kept, ...], Spread]] = {}
    for layer in range(spec.architecture.num_layers):
        window = resolved.layer_window(layer)
        if window not in seen:
            whole = layer_kept(resolved, layer, processor=device.is_processor)
            # A checkpointed layer is made whole again before it runs backward.
            match checkpointing:
                case "none":
                    seen[window] = whole, Spread(0.0, 0.0)
                case "selective":
                    kept = layer_results(resolved, layer, processor=device.is_processor)
                    seen[window] = kept, spread(tensor for tensor in whole if not tensor.result)
                case "full":
                    seen[window] = (layer_input(spec),), spread(whole)
        kept, again = seen[window]
        # Layers differ only in the masks of their windows, which do not run along the stream.
        largest = max(largest, again, key=sum)
        for tensor in kept:
            key = tensor.name, tensor.component
            totals[key] = totals.get(key, 0.0) + tensor.bytes_per_token
    return _Layers([Kept(name, component, size) for (name, component), size in totals.items()], largest)


def weights_of(resolved: Resolved, network: Network) -> Weights:
    """The entries of the model's weights."""
    tied = resolved.spec.architecture.tie_embeddings
    after = sum(weight.size for weight in network.after.weights)
    products = [o.in_features * o.out_features for o in network.operations if isinstance(o, MatrixProduct)]
    return Weights(
        whole=float(network.num_parameters),
        layers=len(network.layers),
        layer=float(sum(weight.size for weight in network.layers[0].weights)),
        table=float(sum(weight.size for weight in network.before.weights)),
        after=float(after),
        head=float(next(w.size for w in network.before.weights) if tied else after),
        tied=float(tied),
        products=float(sum(products)),
        largest=float(max(products)),
        vocabulary=float(resolved.spec.architecture.vocab_size),
    )


def tokens_of(resolved: Resolved, device: Device, layers: _Layers | None = None) -> Tokens:
    """What is kept of the tokens of a micro batch."""
    spec = resolved.spec
    layers = layers or _kept_layers(resolved, device)
    size = compute_bytes(spec)
    # Of the results that selective checkpointing keeps, the projections are let go when they have been used again.
    let_go = 2 * spec.architecture.hidden_size * size if spec.parallelism.activation_checkpointing == "selective" else 0
    return Tokens(
        number=float(spec.training.micro_batch_size * spec.training.sequence_length),
        kept=spread(layers.kept),
        outer=spread(outer_kept(resolved, processor=device.is_processor)),
        again=layers.again,
        let_go=let_go,
        working=working_bytes_per_token(spec),
        masks=shared_mask_bytes(resolved, processor=device.is_processor),
        # A processor first turns bf16 logits into fp32.
        logits=size + FLOAT + (FLOAT if device.is_processor and size < FLOAT else 0),
    )


def numerics_of(resolved: Resolved, device: Device) -> Numerics:
    """What depends on the kind of device, the number format and the engine's settings."""
    spec = resolved.spec
    mixed = spec.parallelism.engine == "deepspeed" and spec.precision in ("bf16", "fp16")
    offload = spec.parallelism.offload
    return Numerics(
        casts=float(spec.precision != "fp32" and not mixed),
        offload_parameters=float(offload is not None and offload.parameters != "none"),
        workspace=0 if device.is_processor else WORKSPACE_BYTES,
        collective=0.0 if device.is_processor else memory_constants().collective_bytes,
    )


def corrected(by_component: Mapping[str, int], factor: float, *, whole: bool) -> dict[str, int]:
    """Components whose sum is `factor` times what it was. What is counted exactly stays as it is: the rest makes up for it.

    Args:
        by_component: Bytes.
        factor: Of what was measured: the process on a processor, what the allocator hands out on an accelerator.
        whole: Whether it is the process.
    """
    seen = {name: value for name, value in by_component.items() if whole or name not in NOT_ALLOCATED}
    exact = sum(value for name, value in seen.items() if name in EXACT)
    rest = sum(seen.values()) - exact
    # Below this share of itself nothing shrinks: where the factor asks for that, something else is wrong.
    share = max(0.1, (factor * sum(seen.values()) - exact) / rest) if rest else 1.0
    return {name: round(value * share) if name in seen and name not in EXACT else value for name, value in by_component.items()}


def estimate_memory(resolved: Resolved, network: Network, device: Device, correction: Correction | None = None) -> Memory:
    """The peak of one device's memory over a training step; with `correction` as runs that were measured say."""
    layers = _kept_layers(resolved, device)
    layout, weights, tokens = layout_of(resolved, network), weights_of(resolved, network), tokens_of(resolved, device, layers)
    numerics = numerics_of(resolved, device)
    held = [stage for stage in stages(SCALARS, weights, layout) if stage.there]
    found = [
        (sum(moment.parts.values()), moment, stage)
        for stage in held
        for moment in moments(SCALARS, weights, tokens, numerics, layout, stage)
        if moment.there
    ]
    _, at_peak, stage = max(found, key=lambda entry: entry[0])
    moment, peak = at_peak.name, at_peak.parts
    if len(held) > 1:
        moment += ", on the first stage" if stage.first else ", on the last stage"
    by_component = {name: round(value) for name, value in peak.items() if value > 0}
    allocated = sum(by_component.values())
    coming_and_going = sum(by_component.get(name, 0) for name in COMING_AND_GOING)
    if resolved.world_size == 1 and resolved.gradient_accumulation_steps == 1:
        coming_and_going += by_component.get("gradients", 0)
    constants = memory_constants()
    context = PROCESSOR_CONTEXT_BYTES if device.is_processor else round(constants.context_bytes)
    share = FRAGMENTATION_SHARE if device.is_processor else constants.fragmentation
    by_component |= {"framework": context, "fragmentation": round(share * coming_and_going)}
    low, high = (1 - ERROR_LOW, 1 + ERROR_HIGH) if device.is_processor else efficiency().memory_bounds["peak"]
    if correction is not None:
        by_component = corrected(by_component, correction.factor, whole=device.is_processor)
        allocated = sum(value for name, value in by_component.items() if name not in NOT_ALLOCATED)
        low, high = correction.bounds(low, high)
    total = sum(by_component.values())

    share_of_layers = stage.layers / len(network.layers)
    tensors = tuple(tensor._replace(bytes_per_token=tensor.bytes_per_token * share_of_layers) for tensor in layers.kept)
    tensors += outer_kept(resolved, processor=device.is_processor) if stage.last else ()
    over = split_over(SCALARS, layout)
    tensors = tuple(
        tensor._replace(bytes_per_token=tensor.bytes_per_token / (over.stream if tensor.name in _STREAM else over.split))
        for tensor in tensors
    )
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    per_token = sum(tensor.bytes_per_token for tensor in tensors)
    how = _formulas(resolved, layout, device, stage, per_token, batch, context, share, coming_and_going)
    components = {name: Quantity(value / GIB, "GiB", how[name][0], how[name][1], how[name][2]) for name, value in by_component.items()}
    if correction is not None:
        components = {
            name: quantity if name in EXACT else quantity._replace(formula=f"({quantity.formula}), its part of the calibration")
            for name, quantity in components.items()
        }
    return Memory(
        peak=Quantity(
            total / GIB,
            "GiB",
            " + ".join(by_component) + f", {moment}",
            (
                *(quantity.as_input(name) for name, quantity in components.items()),
                *((correction.as_input(),) if correction is not None else ()),
            ),
            "sum over the components at the moment when it is largest"
            + (f"; what is not counted exactly is scaled so that the whole is as calibrated by {correction.learned}" if correction else ""),
            low=total * low / GIB,
            high=total * high / GIB,
        ),
        peak_bytes=total,
        moment=moment,
        allocated_bytes=allocated,
        reserved_bytes=allocated + by_component["fragmentation"],
        capacity=Quantity(
            device.memory_bytes / GIB,
            "GiB",
            "memory of one device that a program can use",
            (field(resolved, "hardware.accelerator"),),
            f"catalog: {device.name}",
        ),
        capacity_bytes=device.memory_bytes,
        by_component=by_component,
        components=components,
        activations=_by_kind(resolved.spec.training.micro_batch_size * resolved.spec.training.sequence_length, tensors, batch),
    )


def _formulas(
    resolved: Resolved,
    numerics: Layout,
    device: Device,
    stage: Stage,
    per_token: float,
    batch: tuple[Input, ...],
    context: int,
    share: float,
    coming_and_going: int,
) -> dict[str, tuple[str, tuple[Input, ...], str]]:
    """How each component comes about."""
    layout = resolved.spec.parallelism
    parameters = Input("parameters", f"{stage.parameters:,.0f}", COUNTED)
    precision = field(resolved, "precision")
    bytes_kept = Input("kept_per_token", f"{per_token:,.0f} bytes", TRACED)
    checkpointing = field(resolved, "parallelism.activation_checkpointing")
    degrees = tuple(field(resolved, f"parallelism.{name}") for name in ("tensor", "pipeline", "context") if getattr(layout, name) > 1)
    sharded = (field(resolved, "parallelism.data"), field(resolved, "parallelism.shard_size")) if layout.shard_size > 1 else ()
    masks = shared_mask_bytes(resolved, processor=device.is_processor)
    stands = "those that stand at the peak"
    over = " / shards" if sharded else ""
    return {
        "parameters": (f"{numerics.parameter_bytes:g} bytes * parameters{over}", (parameters, *degrees, *sharded), "exact"),
        "gradients": (f"{numerics.gradient_bytes:g} bytes * parameters{over}, {stands}", (parameters, *degrees, *sharded), "exact"),
        "optimizer": (
            f"state * parameters{over}: what the optimizer remembers of each",
            (
                parameters,
                field(resolved, "optimizer.kind"),
                constant("state", numerics.state_bytes - (FLOAT if numerics.parameter_bytes < FLOAT else 0), "counted by weight", "bytes"),
                *degrees,
                *sharded,
            ),
            "exact",
        ),
        "master_parameters": (f"4 bytes * parameters{over}: DeepSpeed's fp32 copies", (parameters, *degrees, *sharded), "exact"),
        "activations": (
            "micro_batch_size * sequence_length * (kept_per_token * micro_batches_in_flight + one layer's working set in the backward "
            "pass) + masks",
            (
                *batch,
                bytes_kept,
                constant("micro_batches_in_flight", stage.in_flight, "pipeline schedule"),
                checkpointing,
                precision,
                *degrees,
                constant("masks", masks, TRACED, "bytes"),
            ),
            TRACED,
        ),
        "logits": (
            "micro_batch_size * sequence_length * vocab_size * bytes of the logits and of their fp32 log-softmax",
            (*batch, field(resolved, "architecture.vocab_size"), precision, *degrees),
            TRACED,
        ),
        "weight_copies": ("2 bytes * entries of all matrices: autocast's copies", (parameters, precision), TRACED),
        "gathered_parameters": (
            "parameters of the layer at work, of the one fetched ahead and of the head, whole; in a pipeline of all layers",
            (constant("a layer", stage.layer, COUNTED), constant("head", stage.head, COUNTED), precision, *sharded),
            ASSUMED,
        ),
        "reduce_buffers": (
            "gradients of the layer at work, and in fp32 of the one before it, being reduced; in a pipeline of all; DeepSpeed's buckets",
            (constant("a layer", stage.layer, COUNTED), constant("head", stage.head, COUNTED), precision),
            ASSUMED,
        ),
        "workspace": ("cuBLAS workspace", (constant("workspace", WORKSPACE_BYTES // MIB, ASSUMED, "MiB"),), ASSUMED),
        "communication": (
            "buffers of the collective library * kinds of groups that a device is in",
            (
                constant("buffers", memory_constants().collective_bytes / MIB, FITTED, "MiB"),
                constant("groups", int(groups(SCALARS, numerics)), "layout"),
            ),
            FITTED,
        ),
        "framework": (
            "what the process holds before the first tensor",
            (constant("context", context / MIB, ASSUMED if device.is_processor else FITTED, "MiB"),),
            ASSUMED if device.is_processor else FITTED,
        ),
        "fragmentation": (
            "share * what comes and goes in a step",
            (
                constant("share", share, ASSUMED if device.is_processor else FITTED),
                constant("what comes and goes", coming_and_going / GIB, "estimated here", "GiB"),
            ),
            ASSUMED if device.is_processor else FITTED,
        ),
    }


def _by_kind(tokens: int, kept: tuple[Kept, ...], batch: tuple[Input, ...]) -> Quantities:
    """Kept tensors by the part of the model that they belong to."""
    kinds: dict[str, list[Kept]] = {}
    for tensor in kept:
        kinds.setdefault(str(tensor.component), []).append(tensor)
    return {
        kind: Quantity(
            tokens * sum(t.bytes_per_token for t in tensors) / GIB,
            "GiB",
            "micro_batch_size * sequence_length * (" + " + ".join(t.name for t in tensors) + ")",
            (*batch, *(Input(t.name, f"{t.bytes_per_token:,.0f} bytes a token", TRACED) for t in tensors)),
            TRACED,
        )
        for kind, tensors in kinds.items()
    }
