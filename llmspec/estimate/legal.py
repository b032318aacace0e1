"""Which layouts can be at all: one predicate for rules, which explain, and for a search, which only asks."""

from collections.abc import Callable, Mapping

from llmspec.estimate.arithmetic import Arithmetic
from llmspec.estimate.workload import Layout, Number, Shape


def divides(xp: Arithmetic, divisor: Number, number: Number) -> Number:
    """Whether a number is a whole multiple of another."""
    share = number / divisor
    return share == xp.ceil(share)


def degrees_fit_devices(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """Devices are a multiple of tensor * pipeline * context."""
    return divides(xp, layout.tensor * layout.pipeline * layout.context, layout.devices)


def stages_have_layers(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """Each stage of the pipeline has at least one layer."""
    return layout.pipeline * layout.virtual <= shape.layers


def tensor_splits_heads(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """Heads, heads of keys and values, and the feed-forward's width are multiples of tensor."""
    tensor = layout.tensor
    return divides(xp, tensor, shape.heads) & divides(xp, tensor, shape.kv_heads) & divides(xp, tensor, shape.ffn)


def sequence_can_be_split(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """Each device of a context group takes two chunks, one early and one late, and a tensor group shares what is left."""
    chunks = xp.where(layout.context > 1, 2.0 * layout.context, 1.0)
    tensor = xp.where(layout.sequence_parallel > 0, layout.tensor, 1.0)
    return divides(xp, chunks, shape.sequence) & divides(xp, layout.context * tensor, shape.sequence)


def interleaving_has_micro_batches(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """An interleaved pipeline's micro batches go round in groups of as many as it has devices."""
    return (layout.virtual <= 1) | divides(xp, layout.pipeline, layout.micro_batches)


def experts_are_there(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """What is spread over expert exists, and is a multiple of it."""
    return (layout.expert <= 1) | ((shape.experts >= layout.expert) & divides(xp, layout.expert, shape.experts))


CONDITIONS: Mapping[str, Callable[[Arithmetic, Shape, Layout], Number]] = {
    "LS403": degrees_fit_devices,
    "LS404": stages_have_layers,
    "LS405": tensor_splits_heads,
    "LS406": sequence_can_be_split,
    "LS407": interleaving_has_micro_batches,
    "LS411": experts_are_there,
}


def legal(xp: Arithmetic, shape: Shape, layout: Layout) -> Number:
    """Whether a layout can be at all, however much memory it needs."""
    result: Number = True
    for condition in CONDITIONS.values():
        result = result & condition(xp, shape, layout)
    return result
