"""Memory of one device: every component at each moment that can be the peak."""

from collections.abc import Mapping
from typing import NamedTuple

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
from llmspec.estimate.derivation import COUNTED, Input, Quantities, Quantity, constant, field
from llmspec.estimate.device import Device
from llmspec.network.network import Component, MatrixProduct, Network
from llmspec.resolve.resolved import Resolved

GIB = 2**30
MIB = 2**20

# What the process holds before the first tensor: the CUDA context with its loaded kernels, or the interpreter with PyTorch's libraries.
CONTEXT_BYTES = 500 * MIB
PROCESSOR_CONTEXT_BYTES = 400 * MIB
# cuBLAS keeps a workspace; NCCL keeps buffers for each of its channels.
WORKSPACE_BYTES = 64 * MIB
COLLECTIVE_BYTES = 512 * MIB
# Allocators keep more than is in use; torch reserves 2 MiB to 20 MiB segments, and what comes and goes each step does not fill them.
FRAGMENTATION_SHARE = 0.05
# Of the peak: what such formulae miss on the published rows, and what the allocator does on a bad day.
ERROR_LOW, ERROR_HIGH = 0.08, 0.10

ASSUMED = "assumption of llmspec"
TRACED = "what autograd keeps in the emitted model, traced with saved-tensor hooks on PyTorch 2.13"


class Memory(NamedTuple):
    """Memory of one device at its peak.

    `by_component` holds bytes and adds up to `peak_bytes`; `components` is the same as figures. `allocated_bytes` is what PyTorch's
    allocator has handed out at the peak: the peak without the framework and fragmentation. `activations` tells the kinds of kept
    tensors apart.
    """

    peak: Quantity
    peak_bytes: int
    moment: str
    allocated_bytes: int
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


class _Sizes(NamedTuple):
    """Elements of all parameters, of those whose gradients come last, of the largest matrix; bytes of autocast's copies."""

    parameters: int
    first: int
    largest: int
    autocast: int


def _sizes(resolved: Resolved, network: Network) -> _Sizes:
    products = [o.in_features * o.out_features for o in network.operations if isinstance(o, MatrixProduct)]
    autocast = sum(products) * 2 if resolved.spec.precision == "bf16" else 0
    tables = 0 if resolved.spec.architecture.tie_embeddings else sum(weight.size for weight in network.before.weights)
    first = tables + sum(weight.size for weight in network.layers[0].weights)
    return _Sizes(network.num_parameters, first, max(products), autocast)


def _kept_layers(resolved: Resolved, device: Device) -> tuple[list[Kept], float]:
    """What all layers keep for one token, and what the largest one holds beyond that when it runs backward."""
    spec = resolved.spec
    checkpointing = spec.parallelism.activation_checkpointing
    totals: dict[tuple[str, Component], float] = {}
    largest = 0.0
    seen: dict[int | None, tuple[tuple[Kept, ...], float]] = {}
    for layer in range(spec.architecture.num_layers):
        window = resolved.layer_window(layer)
        if window not in seen:
            whole = layer_kept(resolved, layer, processor=device.is_processor)
            match checkpointing:
                case "none":
                    kept = whole
                case "selective":
                    kept = layer_results(resolved, layer, processor=device.is_processor)
                case "full":
                    kept = (layer_input(spec),)
            # A checkpointed layer is made whole again before it runs backward; of the kept results the projections are then let go.
            again = {
                "none": 0.0,
                "selective": sum(tensor.bytes_per_token for tensor in whole if not tensor.result)
                - 2 * spec.architecture.hidden_size * compute_bytes(spec),
                "full": sum(tensor.bytes_per_token for tensor in whole),
            }
            seen[window] = kept, again[checkpointing]
        kept, size = seen[window]
        largest = max(largest, size)
        for tensor in kept:
            key = tensor.name, tensor.component
            totals[key] = totals.get(key, 0.0) + tensor.bytes_per_token
    return [Kept(name, component, size) for (name, component), size in totals.items()], largest


def estimate_memory(resolved: Resolved, network: Network, device: Device) -> Memory:
    """The peak of one device's memory over a training step."""
    spec = resolved.spec
    tokens = spec.training.micro_batch_size * spec.training.sequence_length
    size, vocabulary = compute_bytes(spec), spec.architecture.vocab_size
    sizes = _sizes(resolved, network)
    distributed = resolved.world_size > 1
    accumulates = resolved.gradient_accumulation_steps > 1

    layers, again = _kept_layers(resolved, device)
    outer = outer_kept(resolved, processor=device.is_processor)
    per_token = sum(tensor.bytes_per_token for tensor in (*layers, *outer))
    masks = shared_mask_bytes(resolved, processor=device.is_processor)
    activations = round(tokens * per_token) + masks
    # The loss takes the log-softmax in fp32 while it still holds the logits; a processor first turns bf16 logits into fp32.
    logits = tokens * vocabulary * (size + FLOAT + (FLOAT if device.is_processor and size < FLOAT else 0))
    # The gradient of a weight is made in the product's format and then added to the fp32 one.
    weight_gradient = sizes.largest * (size if size < FLOAT else 0)
    in_layers = sum(tensor.bytes_per_token for tensor in layers)
    backward = again + working_bytes_per_token(spec)
    gradients = FLOAT * sizes.parameters

    states = {
        "parameters": FLOAT * sizes.parameters,
        "optimizer": 2 * FLOAT * sizes.parameters,
        "workspace": 0 if device.is_processor else WORKSPACE_BYTES,
        "communication": COLLECTIVE_BYTES if distributed and not device.is_processor else 0,
    }
    # Gradients stand from the first micro batch on where steps accumulate, and always where DDP keeps them in its buckets.
    standing = gradients if accumulates or distributed else 0
    moments = {
        "at the loss, before the backward pass": states
        | {"gradients": standing, "activations": activations, "logits": logits, "weight_copies": sizes.autocast},
        "in the backward pass of the last layer": states
        | {
            "gradients": max(standing, FLOAT * sizes.largest),
            "activations": round(tokens * (in_layers + backward)) + masks,
            "weight_copies": sizes.autocast + weight_gradient,
        },
        "in the backward pass of the first layer": states
        | {
            "gradients": max(standing, FLOAT * (sizes.parameters - sizes.first)),
            "activations": round(tokens * (in_layers / spec.architecture.num_layers + backward)) + masks,
            "weight_copies": weight_gradient,
        },
        "at the optimizer step": states | {"gradients": gradients},
    }
    moment = max(moments, key=lambda name: sum(moments[name].values()))
    peak = moments[moment]
    allocated = sum(peak.values())
    coming_and_going = allocated - states["parameters"] - states["optimizer"] - standing
    context = PROCESSOR_CONTEXT_BYTES if device.is_processor else CONTEXT_BYTES
    by_component = {name: value for name, value in peak.items() if value}
    by_component |= {"framework": context, "fragmentation": round(FRAGMENTATION_SHARE * coming_and_going)}
    total = sum(by_component.values())

    parameters = Input("parameters", f"{sizes.parameters:,}", COUNTED)
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    precision = field(resolved, "precision")
    bytes_kept = Input("kept_per_token", f"{per_token:,.0f} bytes", TRACED)
    checkpointing = field(resolved, "parallelism.activation_checkpointing")
    how: dict[str, tuple[str, tuple[Input, ...], str]] = {
        "parameters": ("4 bytes * parameters: fp32", (parameters,), "exact"),
        "gradients": ("4 bytes * parameters: fp32, those that stand at the peak", (parameters,), "exact"),
        "optimizer": ("8 bytes * parameters: AdamW's two moments in fp32; the fused step makes no copies", (parameters,), "exact"),
        "activations": (
            "micro_batch_size * sequence_length * kept_per_token + masks, and in the backward pass one layer's working set",
            (*batch, bytes_kept, checkpointing, precision, constant("masks", masks, TRACED, "bytes")),
            TRACED,
        ),
        "logits": (
            "micro_batch_size * sequence_length * vocab_size * bytes of the logits and of their fp32 log-softmax",
            (*batch, field(resolved, "architecture.vocab_size"), precision),
            TRACED,
        ),
        "weight_copies": ("2 bytes * entries of all matrices: autocast's bf16 copies", (parameters, precision), TRACED),
        "workspace": ("cuBLAS workspace", (constant("workspace", WORKSPACE_BYTES // MIB, ASSUMED, "MiB"),), ASSUMED),
        "communication": (
            "NCCL buffers; gradients stand in DDP's buckets themselves",
            (constant("buffers", COLLECTIVE_BYTES // MIB, ASSUMED, "MiB"),),
            ASSUMED,
        ),
        "framework": ("what the process holds before the first tensor", (constant("context", context // MIB, ASSUMED, "MiB"),), ASSUMED),
        "fragmentation": (
            "share * what comes and goes in a step",
            (
                constant("share", FRAGMENTATION_SHARE, ASSUMED),
                constant("what comes and goes", coming_and_going / GIB, "estimated here", "GiB"),
            ),
            ASSUMED,
        ),
    }
    components = {name: Quantity(value / GIB, "GiB", how[name][0], how[name][1], how[name][2]) for name, value in by_component.items()}
    return Memory(
        peak=Quantity(
            total / GIB,
            "GiB",
            " + ".join(by_component) + f", {moment}",
            tuple(quantity.as_input(name) for name, quantity in components.items()),
            "sum over the components at the moment when it is largest",
            low=total * (1 - ERROR_LOW) / GIB,
            high=total * (1 + ERROR_HIGH) / GIB,
        ),
        peak_bytes=total,
        moment=moment,
        allocated_bytes=allocated,
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
        activations=_by_kind(tokens, (*layers, *outer), batch),
    )


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
