"""Which of the scored rows to look at first, and what they are as fields of a spec."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from llmspec.estimate.configuration import CHECKPOINTINGS, SCHEDULES
from llmspec.search.result import Finalist, field_of
from llmspec.search.score import Scored
from llmspec.search.space import Base, Changes, Point, Row, Space, text_of
from llmspec.variants import WORTHWHILE

# Rows of one kind to try before it is given up, where the rules refuse what the columns allowed.
TRIES = 4


def paces(scored: Scored) -> Any:
    """Seconds for one sequence, of each row."""
    return scored.scores.seconds / scored.columns.batch


def distances(scored: Scored) -> Any:
    """In how many fields each row differs from the spec's own layout."""
    columns, spec = scored.columns, scored.space.base.resolved.spec
    layout = spec.parallelism
    families = []
    for member in scored.space.members:
        wanted = ((field_of(spec, path), value) for path, value in member.family.wanted().items() if value is not None)
        families.append(sum(own != value for own, value in wanted))
    differ = np.array(families)[columns.member]
    numbers = {
        "tensor": layout.tensor,
        "pipeline": layout.pipeline,
        "context": layout.context,
        "micro_batch": spec.training.micro_batch_size,
        "checkpointing": list(CHECKPOINTINGS).index(layout.activation_checkpointing),
        "shard_size": layout.shard_size,
    }
    return differ + sum((getattr(columns, name) != own).astype(int) for name, own in numbers.items())


def by_kind(scored: Scored, fits: Any) -> list[list[int]]:
    """Rows that fit by kind of layout, the kinds by their fastest, a few of each: of those as good as its fastest, what changes least."""
    some = np.flatnonzero(fits)
    order = some[np.argsort(paces(scored)[some], kind="stable")]
    columns = scored.columns
    families = [member.family._replace(compile=False, reshard=None) for member in scored.space.members]
    number = np.array([families.index(family) for family in families])
    key = number[columns.member[order]]
    for column in (columns.tensor, columns.pipeline, columns.context, columns.expert):
        values, place = np.unique(column, return_inverse=True)
        key = key * len(values) + place[order]
    kinds: dict[int, list[int]] = {}
    pace, distance = paces(scored), distances(scored)
    first, inverse = np.unique(key, return_index=True)[1], np.unique(key, return_inverse=True)[1]
    for kind in np.argsort(first, kind="stable"):
        rows = order[np.flatnonzero(inverse == kind)]
        near = rows[pace[rows] <= pace[rows[0]] * (1 + WORTHWHILE)]
        near = near[np.lexsort((pace[near], distance[near]))]
        kinds[int(kind)] = [int(index) for index in (*near, *rows[len(near) :])][:TRIES]
    return list(kinds.values())


def near_frontier(points: Sequence[tuple[float, float | None]], most: int) -> list[int]:
    """The points that are beaten least in both time and money, the nearest to the frontier first."""
    if not points:
        return []
    hours = np.array([hours for hours, _ in points])
    money = np.array([usd if usd is not None else 1.0 for _, usd in points])
    beaten = np.minimum(hours[:, None] / hours[None, :], money[:, None] / money[None, :]).max(axis=1)
    return [int(index) for index in np.argsort(beaten, kind="stable")[:most]]


def frontier(points: Sequence[Finalist]) -> Iterator[Finalist]:
    """Those that no other beats in time and money; the fastest first."""
    least = np.inf
    for one in points:
        if one.usd is not None and one.usd < least:
            least = one.usd
            yield one


def fields_of(space: Space, point: Point, row: Row, base: Base) -> Changes:
    """A row as fields of a spec, all of them written out; null where one must not stand there."""
    written = base.composed.node
    wanted: dict[str, object] = space.members[row.member].family.wanted()
    wanted |= {
        "parallelism.tensor": int(row.tensor),
        "parallelism.pipeline": int(row.pipeline),
        "parallelism.pipeline_schedule": list(SCHEDULES)[row.schedule],
        "parallelism.stages_per_device": int(row.virtual),
        "parallelism.context": int(row.context),
        "parallelism.expert": int(row.expert),
        "parallelism.activation_checkpointing": list(CHECKPOINTINGS)[row.checkpointing],
        "training.micro_batch_size": int(row.micro_batch),
        "parallelism.shard_size": int(row.shard_size) if space.members[row.member].family.data == "hsdp" else None,
        "parallelism.sequence_parallel": bool(row.sequence_parallel) if row.tensor > 1 else None,
    }
    hardware = base.resolved.spec.hardware
    wanted["hardware.nodes"] = point.nodes
    if point.accelerator != hardware.accelerator:
        wanted["hardware.accelerator"] = point.accelerator
    wanted["hardware.accelerators_per_node"] = point.per_node
    if point.price is not None:
        wanted["hardware.price"] = point.price
    there = {name: node for name in wanted if (node := written(name)) is not None and node.value is not None}
    return tuple((name, text_of(value)) for name, value in wanted.items() if value is not None or name in there)
