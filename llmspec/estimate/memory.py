"""Memory of one device: every component at each moment that can be the peak."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.catalog import efficiency
from llmspec.estimate.activations import (
    FLOAT,
    Kept,
    compute_bytes,
    layer_input,
    layer_kept,
    layer_results,
    outer_kept,
    shared_mask_bytes,
    working_bytes_per_token,
)
from llmspec.estimate.configuration import layout_of
from llmspec.estimate.constants import memory_constants
from llmspec.estimate.derivation import COUNTED, Input, Quantities, Quantity, constant, field
from llmspec.estimate.device import Device
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

# Components that are made and freed in each step.
COMING_AND_GOING = ("activations", "logits", "weight_copies", "gathered_parameters", "reduce_buffers", "workspace")

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
    """What a device keeps of the layers for one token: kinds of all its layers, and what the largest holds beyond when it runs backward."""

    kept: list[Kept]
    again: float


class _Stage(NamedTuple):
    """One stage of a pipeline, or the whole model: entries of its parameters on one device, before any sharding over replicas."""

    parameters: float
    layers: int
    layer: float
    table: float
    head: float
    first: bool
    last: bool
    in_flight: float
    """Micro batches whose activations it holds at most."""


# Tensors along the residual stream, which tensor parallelism splits only together with the sequence.
_STREAM = {"attention input", "feed-forward input", "layer input", "dropout masks", "residual stream", "norms", "final norm", "head input"}


def _split(resolved: Resolved, tensor: Kept) -> float:
    """Over how many devices a kept tensor is spread."""
    layout = resolved.spec.parallelism
    return layout.context * (layout.tensor if tensor.name not in _STREAM or layout.sequence_parallel else 1)


def _on_device(resolved: Resolved, tensors: tuple[Kept, ...]) -> tuple[Kept, ...]:
    return tuple(tensor._replace(bytes_per_token=tensor.bytes_per_token / _split(resolved, tensor)) for tensor in tensors)


def _kept_layers(resolved: Resolved, device: Device) -> _Layers:
    """What all layers keep for one token on one device, were they all on it."""
    spec = resolved.spec
    checkpointing = spec.parallelism.activation_checkpointing
    totals: dict[tuple[str, Component], float] = {}
    largest = 0.0
    seen: dict[int | None, tuple[tuple[Kept, ...], float]] = {}
    for layer in range(spec.architecture.num_layers):
        window = resolved.layer_window(layer)
        if window not in seen:
            whole = _on_device(resolved, layer_kept(resolved, layer, processor=device.is_processor))
            match checkpointing:
                case "none":
                    kept = whole
                case "selective":
                    kept = _on_device(resolved, layer_results(resolved, layer, processor=device.is_processor))
                case "full":
                    kept = _on_device(resolved, (layer_input(spec),))
            # A checkpointed layer is made whole again before it runs backward; of the kept results the projections are then let go.
            let_go = 2 * spec.architecture.hidden_size * compute_bytes(spec) / spec.parallelism.context
            again = {
                "none": 0.0,
                "selective": sum(tensor.bytes_per_token for tensor in whole if not tensor.result) - let_go,
                "full": sum(tensor.bytes_per_token for tensor in whole),
            }
            seen[window] = kept, again[checkpointing]
        kept, size = seen[window]
        largest = max(largest, size)
        for tensor in kept:
            key = tensor.name, tensor.component
            totals[key] = totals.get(key, 0.0) + tensor.bytes_per_token
    return _Layers([Kept(name, component, size) for (name, component), size in totals.items()], largest)


def _stages(resolved: Resolved, network: Network) -> tuple[_Stage, ...]:
    """The stages that can hold the most: the whole model, or the first and the last of a pipeline."""
    layout = resolved.spec.parallelism
    stages = layout.pipeline
    table = sum(weight.size for weight in network.before.weights) / layout.tensor
    after = sum(weight.size for weight in network.after.weights) / layout.tensor
    tied = resolved.spec.architecture.tie_embeddings
    head = next(w.size for w in network.before.weights) / layout.tensor if tied else after
    per_layer = sum(weight.size for weight in network.layers[0].weights) / layout.tensor
    if stages == 1:
        return (_Stage(network.num_parameters / layout.tensor, len(network.layers), per_layer, table, head, True, True, 1),)
    layers = -(-len(network.layers) // stages)
    accumulation = resolved.gradient_accumulation_steps
    match layout.pipeline_schedule:
        case "gpipe":
            first, last = float(accumulation), float(accumulation)
        case "interleaved_1f1b":
            # Those of the chunks in between wait too (Narayanan et al. 2021).
            first = min(accumulation, stages * (1 + (stages - 1) / (stages * layout.stages_per_device)))
            last = min(accumulation, 1 + (stages - 1) / layout.stages_per_device)
        case _:
            first, last = float(min(accumulation, stages)), 1.0
    return (
        _Stage(layers * per_layer + table, layers, per_layer, table, 0, True, False, first),
        _Stage(layers * per_layer + after + (table if tied else 0), layers, per_layer, 0, head, False, True, last),
    )


def _moments(resolved: Resolved, network: Network, device: Device, stage: _Stage, layers: _Layers) -> dict[str, dict[str, float]]:
    """Bytes by component at each moment that can be the peak of a stage."""
    spec = resolved.spec
    layout = spec.parallelism
    size, vocabulary = compute_bytes(spec), spec.architecture.vocab_size
    tokens = spec.training.micro_batch_size * spec.training.sequence_length
    distributed = resolved.world_size > 1
    replicas = resolved.data_parallel_size * layout.context
    accumulates = resolved.gradient_accumulation_steps > 1
    numerics = layout_of(resolved, network)
    sharding = int(numerics.shard_stage)
    shards = max(1, min(layout.shard_size, replicas)) if sharding else 1

    # States: what a device keeps of its parameters, gradients and the optimizer.
    parameters = numerics.parameter_bytes * stage.parameters / (shards if sharding >= 3 else 1)
    whole_gradients = numerics.gradient_bytes * stage.parameters
    gradients = whole_gradients / (shards if sharding >= 2 else 1)
    mixed = numerics.parameter_bytes < FLOAT
    over = shards if sharding >= 1 else 1
    master = FLOAT * stage.parameters / over if mixed else 0.0
    optimizer = numerics.state_bytes * stage.parameters / over - master
    if layout.offload is not None:
        optimizer, master = (0, 0) if layout.offload.optimizer != "none" else (optimizer, master)
        parameters = 0 if layout.offload.parameters != "none" and sharding >= 3 else parameters

    # Tensors that come and go with the parameters: autocast's copies, or what is gathered of shards and reduced into them.
    products = sum(o.in_features * o.out_features for o in network.operations if isinstance(o, MatrixProduct)) / layout.tensor
    share = stage.layers / len(network.layers)
    gathered = sharding >= 3 and shards > 1
    casts = spec.precision != "fp32" and numerics.parameter_bytes == FLOAT
    copies = products * share * size if casts and not gathered else 0
    largest = max(o.in_features * o.out_features for o in network.operations if isinstance(o, MatrixProduct)) / layout.tensor
    weight_gradient = largest * (size if size < FLOAT else 0)
    fetched: dict[str, float] = {}
    reduced: dict[str, float] = {}
    reduced_last: dict[str, float] = {}
    stays = layout.pipeline > 1 or not layout.reshard_after_forward
    if gathered:
        # The layer at work and the one fetched ahead, or all of them where they stay.
        whole = stage.layers if stays else min(2, stage.layers)
        fetched = {"gathered_parameters": size * (whole * stage.layer + stage.head)}
        # Gradients of the layer at work, of which one matrix's are there when it holds most beside them and all of them at its end, and in
        # fp32 those of the unit before it, which are being reduced.
        reduced = {"reduce_buffers": size * largest + FLOAT * stage.layer}
        reduced_last = {"reduce_buffers": size * largest + FLOAT * stage.head}
        weight_gradient = 0
        if layout.pipeline > 1:
            # Stages turn from one micro batch to the other: gradients are added up whole, in fp32, and reduced at the end of the step.
            reduced = reduced_last = {"reduce_buffers": FLOAT * stage.parameters}
    elif sharding in (1, 2):
        # DeepSpeed reduces and gathers in buckets.
        reduced = reduced_last = {"reduce_buffers": 2 * size * min(numerics.bucket, stage.parameters)}

    outer = _on_device(resolved, outer_kept(resolved, processor=device.is_processor))
    in_layers = sum(tensor.bytes_per_token for tensor in layers.kept) * share
    around = sum(tensor.bytes_per_token for tensor in outer) if stage.last else 0
    masks = shared_mask_bytes(resolved, processor=device.is_processor) / layout.context
    waiting = tokens * in_layers * (stage.in_flight - 1)
    # The loss takes the log-softmax in fp32 while it still holds the logits; a processor first turns bf16 logits into fp32.
    logits = tokens / layout.context * vocabulary / layout.tensor * (size + FLOAT + (FLOAT if device.is_processor and size < FLOAT else 0))
    backward = layers.again + working_bytes_per_token(spec) / (layout.tensor * layout.context)
    states: dict[str, float] = {
        "parameters": parameters,
        "optimizer": optimizer,
        "master_parameters": master,
        "workspace": 0 if device.is_processor else WORKSPACE_BYTES,
        "communication": _groups(resolved) * memory_constants().collective_bytes if not device.is_processor else 0,
    }
    # Gradients stand from the first micro batch on where steps accumulate, and always where DDP keeps them in its buckets.
    standing = gradients if accumulates or (distributed and sharding < 3) else 0
    moments: dict[str, dict[str, float]] = {
        "in the backward pass of the last layer": states
        | {
            "gradients": max(standing, FLOAT * largest if not gathered else 0),
            "activations": waiting + tokens * (in_layers + backward) + masks,
            "weight_copies": copies + weight_gradient,
        }
        | fetched
        | reduced_last,
        "in the backward pass of the first layer": states
        | {
            "gradients": max(standing, gradients - FLOAT * (stage.table + stage.layer) / (shards if sharding >= 2 else 1)),
            "activations": waiting + tokens * (in_layers / max(1, stage.layers) + backward) + masks,
            "weight_copies": weight_gradient,
        }
        | ({"gathered_parameters": size * (stage.layers if stays else min(2, stage.layers)) * stage.layer} if gathered else {})
        | reduced,
        "at the optimizer step": states | {"gradients": gradients} | (reduced if sharding in (1, 2) else {}),
    }
    if gathered and layout.pipeline == 1:
        moments["at the end of the first layer's backward pass"] = moments["in the backward pass of the first layer"] | {
            "activations": masks,
            "reduce_buffers": (size + FLOAT) * stage.layer,
        }
    if stage.last:
        at_loss = states | {
            "gradients": standing,
            "activations": waiting + tokens * (in_layers + around) + masks,
            "logits": logits,
            "weight_copies": copies,
        }
        if gathered:
            at_loss["gathered_parameters"] = size * (stage.head + (stage.layers * stage.layer if stays else 0))
        moments = {"at the loss, before the backward pass": at_loss} | moments
    if gathered and not resolved.spec.architecture.tie_embeddings and stage.first:
        # The table is whole, in fp32, while it is looked up; nothing is kept yet.
        moments["at the embedding"] = states | {"gradients": standing, "gathered_parameters": FLOAT * stage.table + size * stage.layer}
    return moments


def _groups(resolved: Resolved) -> int:
    """Kinds of groups in which a device exchanges with others."""
    layout = resolved.spec.parallelism
    return sum((resolved.data_parallel_size > 1, layout.tensor > 1, layout.pipeline > 1, layout.context > 1, layout.expert > 1))


def estimate_memory(resolved: Resolved, network: Network, device: Device) -> Memory:
    """The peak of one device's memory over a training step."""
    layers = _kept_layers(resolved, device)
    stages = _stages(resolved, network)
    found = [
        (sum(parts.values()), moment, parts, stage)
        for stage in stages
        for moment, parts in _moments(resolved, network, device, stage, layers).items()
    ]
    _, moment, peak, stage = max(found, key=lambda entry: entry[0])
    if len(stages) > 1:
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
    total = sum(by_component.values())
    low, high = (1 - ERROR_LOW, 1 + ERROR_HIGH) if device.is_processor else efficiency().memory_bounds["peak"]

    outer = _on_device(resolved, outer_kept(resolved, processor=device.is_processor))
    share_of_layers = stage.layers / len(network.layers)
    tensors = tuple(tensor._replace(bytes_per_token=tensor.bytes_per_token * share_of_layers) for tensor in layers.kept)
    tensors += outer if stage.last else ()
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    per_token = sum(tensor.bytes_per_token for tensor in tensors)
    how = _formulas(resolved, network, device, stage, per_token, batch, context, share, coming_and_going)
    components = {name: Quantity(value / GIB, "GiB", how[name][0], how[name][1], how[name][2]) for name, value in by_component.items()}
    return Memory(
        peak=Quantity(
            total / GIB,
            "GiB",
            " + ".join(by_component) + f", {moment}",
            tuple(quantity.as_input(name) for name, quantity in components.items()),
            "sum over the components at the moment when it is largest",
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
    network: Network,
    device: Device,
    stage: _Stage,
    per_token: float,
    batch: tuple[Input, ...],
    context: int,
    share: float,
    coming_and_going: int,
) -> dict[str, tuple[str, tuple[Input, ...], str]]:
    """How each component comes about."""
    layout = resolved.spec.parallelism
    numerics = layout_of(resolved, network)
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
                constant("groups", _groups(resolved), "layout"),
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
