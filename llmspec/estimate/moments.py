"""What one device holds at each moment that can be the peak of its memory: arithmetic on numbers, or on columns of them for a search.

`memory.py` counts what goes in here (weights, and what autograd keeps of a token) and tells what comes out; this is all that depends on
the layout. Yes and no are 1 and 0, or truths.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from llmspec.estimate.arithmetic import Arithmetic
from llmspec.estimate.workload import Layout, Number

FLOAT = 4
# Components that are made and freed in each step.
COMING_AND_GOING = ("activations", "logits", "weight_copies", "gathered_parameters", "reduce_buffers", "workspace")


class Spread(NamedTuple):
    """Bytes for one token, by how a layout spreads them over devices."""

    stream: Number
    """Along the residual stream, which tensor parallelism splits only together with the sequence."""
    split: Number
    """What tensor parallelism splits."""


class Weights(NamedTuple):
    """Entries of the model's weights."""

    whole: Number
    layers: Number
    """Number of layers."""
    layer: Number
    table: Number
    """Of all that stands before the layers."""
    after: Number
    """Of all that stands behind them."""
    head: Number
    """Of what is whole while the head computes: the table where both are one."""
    tied: Number
    products: Number
    """Of all matrices that are multiplied with."""
    largest: Number
    """Of the largest of these."""
    vocabulary: Number


class Tokens(NamedTuple):
    """What is kept of the tokens of one micro batch; bytes for one token but where it says otherwise."""

    number: Number
    """Tokens of a micro batch."""
    kept: Spread
    """Kept of all layers until the backward pass."""
    outer: Spread
    """Kept around the layers, but for the loss."""
    again: Spread
    """Made again of one layer for its backward pass."""
    let_go: Number
    """Of the kept, freed meanwhile."""
    working: Number
    """What the backward pass of one layer holds at its widest beside what was kept."""
    masks: Number
    """Bytes of masks that all layers share."""
    logits: Number
    """Bytes for one entry of the logits."""


class Numerics(NamedTuple):
    """What depends on the kind of device, the number format and the engine's settings."""

    casts: Number
    """Whether autocast copies fp32 weights into a narrower format."""
    offload_parameters: Number
    workspace: Number
    """Bytes of the libraries' workspace."""
    collective: Number
    """Bytes of buffers for each kind of group that a device is in."""


class Stage(NamedTuple):
    """One stage of a pipeline, or the whole model: entries of its parameters on one device, before any sharding over replicas."""

    there: Number
    """Whether there is such a stage."""
    parameters: Number
    layers: Number
    layer: Number
    table: Number
    head: Number
    first: Number
    last: Number
    in_flight: Number
    """Micro batches whose activations it holds at most."""


class Moment(NamedTuple):
    """Bytes by component at one moment, and whether there is such a moment."""

    name: str
    there: Number
    parts: Mapping[str, Number]


def split_over(xp: Arithmetic, layout: Layout) -> Spread:
    """Over how many devices a kept tensor is spread, by its kind."""
    across = xp.where(layout.sequence_parallel > 0, layout.tensor, 1)
    return Spread(layout.context * across, layout.context * layout.tensor)


def on_device(xp: Arithmetic, tensors: Spread, layout: Layout) -> Number:
    """Bytes of kept tensors on one device, for one token."""
    over = split_over(xp, layout)
    return tensors.stream / over.stream + tensors.split / over.split


def stages(xp: Arithmetic, weights: Weights, layout: Layout) -> tuple[Stage, Stage]:
    """The stages that can hold the most: the first, which is the whole model without a pipeline, and the last of a pipeline."""
    pipeline, tensor, waiting = layout.pipeline, layout.tensor, layout.micro_batches
    single = pipeline <= 1
    layers = xp.ceil(weights.layers / pipeline - 1e-9)
    layer, table, after, head = (size / tensor for size in (weights.layer, weights.table, weights.after, weights.head))
    # Interleaving adds micro batches of the chunks in between, which wait too (Narayanan et al. 2021).
    between = xp.where(layout.virtual > 1, (pipeline - 1) / layout.virtual, 0.0)
    in_flight = xp.where(layout.flushes > 0, waiting, xp.minimum(waiting, pipeline + between))
    last_in_flight = xp.where(layout.flushes > 0, waiting, xp.minimum(waiting, 1 + between))
    first = Stage(
        there=True,
        parameters=xp.where(single, weights.whole / tensor, layers * layer + table),
        layers=layers,
        layer=layer,
        table=table,
        head=xp.where(single, head, 0.0),
        first=True,
        last=single,
        in_flight=xp.where(single, 1.0, in_flight),
    )
    last = Stage(
        there=pipeline > 1,
        parameters=layers * layer + after + xp.where(weights.tied > 0, table, 0.0),
        layers=layers,
        layer=layer,
        table=0.0,
        head=head,
        first=False,
        last=True,
        in_flight=last_in_flight,
    )
    return first, last


def groups(xp: Arithmetic, layout: Layout) -> Number:
    """Kinds of groups in which a device exchanges with others."""
    replicas = layout.devices / (layout.tensor * layout.pipeline * layout.context)
    degrees = (replicas, layout.tensor, layout.pipeline, layout.context, layout.expert)
    return sum(xp.where(degree > 1, 1, 0) for degree in degrees)


def moments(xp: Arithmetic, weights: Weights, tokens: Tokens, numerics: Numerics, layout: Layout, stage: Stage) -> Iterator[Moment]:
    """Bytes by component at each moment that can be the peak of a stage."""
    size, tensor, pipeline, sharding = layout.activation_bytes, layout.tensor, layout.pipeline, layout.shard_stage
    replicas = layout.devices / (tensor * pipeline)
    shards = xp.where(sharding > 0, xp.maximum(1.0, xp.minimum(layout.shard_size, replicas)), 1.0)

    # States: what a device keeps of its parameters, gradients and the optimizer.
    mixed = layout.parameter_bytes < FLOAT
    over_parameters, over_gradients = xp.where(sharding >= 3, shards, 1.0), xp.where(sharding >= 2, shards, 1.0)
    gradients = layout.gradient_bytes * stage.parameters / over_gradients
    master = xp.where(mixed, FLOAT * stage.parameters / shards, 0.0)
    optimizer = layout.state_bytes * stage.parameters / shards - master
    kept_here = xp.where(layout.offload > 0, 0.0, 1.0)
    elsewhere = (numerics.offload_parameters > 0) & (sharding >= 3)
    states = {
        "parameters": xp.where(elsewhere, 0.0, layout.parameter_bytes * stage.parameters / over_parameters),
        "optimizer": optimizer * kept_here,
        "master_parameters": master * kept_here,
        "workspace": numerics.workspace,
        "communication": groups(xp, layout) * numerics.collective,
    }

    # Tensors that come and go with the parameters: autocast's copies, or what is gathered of shards and reduced into them.
    share = stage.layers / weights.layers
    gathered = (sharding >= 3) & (shards > 1)
    piped = pipeline > 1
    largest = weights.largest / tensor
    copies = xp.where(gathered, 0.0, xp.where(numerics.casts > 0, weights.products / tensor * share * size, 0.0))
    weight_gradient = xp.where(gathered, 0.0, largest * xp.where(size < FLOAT, size, 0))
    # The layer at work and the one fetched ahead, or all of them where they stay.
    stays = piped | (layout.reshard <= 0)
    whole = xp.where(stays, stage.layers, xp.minimum(2, stage.layers))
    # Gradients of the layer at work, of which one matrix's are there when it holds most beside them and all of them at its end, and in
    # fp32 those of the unit before it, which are being reduced. In a pipeline, whose stages turn from one micro batch to the other,
    # gradients are added up whole, in fp32, and reduced at the end of the step. DeepSpeed reduces and gathers in buckets.
    all_of_them = FLOAT * stage.parameters
    in_buckets = xp.where((sharding > 0) & (sharding < 3), 2 * size * xp.minimum(layout.bucket, stage.parameters), 0.0)
    reduced = xp.where(gathered, xp.where(piped, all_of_them, size * largest + FLOAT * stage.layer), in_buckets)
    reduced_last = xp.where(gathered, xp.where(piped, all_of_them, size * largest + FLOAT * stage.head), in_buckets)

    in_layers = on_device(xp, tokens.kept, layout) * share
    around = on_device(xp, tokens.outer, layout)
    masks = tokens.masks / layout.context
    waiting = tokens.number * in_layers * (stage.in_flight - 1)
    # The loss takes the log-softmax in fp32 while it still holds the logits.
    logits = tokens.number / layout.context * weights.vocabulary / tensor * tokens.logits
    again = on_device(xp, tokens.again, layout) - tokens.let_go / layout.context
    backward = again + tokens.working / (tensor * layout.context)
    # Gradients stand from the first micro batch on where steps accumulate, and always where DDP keeps them in its buckets.
    standing = xp.where((layout.micro_batches > 1) | ((layout.devices > 1) & (sharding < 3)), gradients, 0.0)

    yield Moment(
        "at the loss, before the backward pass",
        stage.last,
        states
        | {
            "gradients": standing,
            "activations": waiting + tokens.number * (in_layers + around) + masks,
            "logits": logits,
            "weight_copies": copies,
            "gathered_parameters": xp.where(gathered, size * (stage.head + xp.where(stays, stage.layers * stage.layer, 0.0)), 0.0),
        },
    )
    yield Moment(
        "in the backward pass of the last layer",
        True,
        states
        | {
            "gradients": xp.maximum(standing, xp.where(gathered, 0.0, FLOAT * largest)),
            "activations": waiting + tokens.number * (in_layers + backward) + masks,
            "weight_copies": copies + weight_gradient,
            "gathered_parameters": xp.where(gathered, size * (whole * stage.layer + stage.head), 0.0),
            "reduce_buffers": reduced_last,
        },
    )
    at_first = states | {
        "gradients": xp.maximum(standing, gradients - FLOAT * (stage.table + stage.layer) / over_gradients),
        "activations": waiting + tokens.number * (in_layers / xp.maximum(1, stage.layers) + backward) + masks,
        "weight_copies": weight_gradient,
        "gathered_parameters": xp.where(gathered, size * whole * stage.layer, 0.0),
        "reduce_buffers": reduced,
    }
    yield Moment("in the backward pass of the first layer", True, at_first)
    yield Moment(
        "at the optimizer step",
        True,
        states | {"gradients": gradients, "reduce_buffers": xp.where(sharding < 3, reduced, 0.0)},
    )
    yield Moment(
        "at the end of the first layer's backward pass",
        gathered & (pipeline <= 1),
        at_first | {"activations": masks, "reduce_buffers": (size + FLOAT) * stage.layer},
    )
    # The table is whole, in fp32, while it is looked up; nothing is kept yet.
    yield Moment(
        "at the embedding",
        gathered & (weights.tied <= 0) & stage.first,
        states | {"gradients": standing, "gathered_parameters": FLOAT * stage.table + size * stage.layer},
    )
