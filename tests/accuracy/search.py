"""How well a search would have chosen: groups of published layouts of one model on the same devices with the same batch.

A group is all rows of one source whose lowered model, machine, number of devices, batch, number format, kernels and share of trained
weights are the same; its layouts differ in degrees, sharding, micro batch, schedule or recomputation. Rows that are lowered to the same
layout are one measurement, their mean. In a group of three layouts or fewer the fastest always is among the first three: not counted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tests.accuracy.rows import Row
from tests.accuracy.score import Array

FIRST = 3
# What stays the same in a group, of the layout's numbers; all others are what a search chooses.
_SAME = ("devices", "per_node", "kernels", "flash", "product_bytes", "activation_bytes", "quantised", "overlapped", "offload")


class Group(NamedTuple):
    """One group, its layouts by measured time."""

    source: str
    name: str
    measured: tuple[float, ...]
    predicted: tuple[float, ...]

    @property
    def rank(self) -> int:
        """The place of the true fastest among the predictions, from 1; of equal predictions it is taken to be the last."""
        return sum(value <= self.predicted[0] for value in self.predicted)

    @property
    def lost(self) -> float:
        """How much longer than the true fastest the predicted fastest takes, as a share."""
        return self.measured[min(range(len(self.predicted)), key=lambda i: self.predicted[i])] / self.measured[0] - 1


class SearchScore(NamedTuple):
    """One line: how often the true fastest is among the first three, and the first; what following the first loses."""

    name: str
    groups: int
    layouts: int
    among_first: float
    first: float
    by_chance: float
    """Share of groups in which three layouts drawn at random would hold the fastest, on average."""
    mean_lost: float
    most_lost: float


def _key(row: Row) -> tuple[Any, ...]:
    assert row.configuration is not None
    shape, layout, machine = row.configuration
    batch = layout.micro_batch * layout.micro_batches * layout.devices / (layout.tensor * layout.pipeline * layout.context)
    return row.source, shape, machine, tuple(getattr(layout, name) for name in _SAME), round(batch)


def groups_of(rows: Sequence[Row], predicted: Array, least: int = FIRST + 1) -> list[Group]:
    """The groups of at least so many layouts, in the order of their first rows."""
    found: dict[tuple[Any, ...], dict[Any, list[tuple[float, float]]]] = {}
    names: dict[tuple[Any, ...], str] = {}
    for row, seconds in zip(rows, predicted, strict=True):
        assert row.configuration is not None and row.seconds is not None
        key = _key(row)
        names.setdefault(key, f"{row.values.get('model_name')} on {row.configuration.layout.devices:g} x {row.values.get('gpu')}")
        found.setdefault(key, {}).setdefault(row.configuration.layout, []).append((row.seconds, float(seconds)))
    groups = []
    for key, layouts in found.items():
        if len(layouts) < least:
            continue
        means = sorted((float(np.mean([m for m, _ in one])), one[0][1]) for one in layouts.values())
        groups.append(Group(str(key[0]), names[key], tuple(m for m, _ in means), tuple(p for _, p in means)))
    return groups


def score_search(groups: Sequence[Group]) -> list[SearchScore]:
    """A line a source, one over all groups, and one in which each source counts alike, for one has most of the groups."""
    if not groups:
        return []
    sources = list(dict.fromkeys(group.source for group in groups))
    lines = [_line(source, [group for group in groups if group.source == source]) for source in sources]
    whole = _line("all groups", groups)
    shares = {name: float(np.mean([getattr(line, name) for line in lines])) for name in ("among_first", "first", "by_chance", "mean_lost")}
    return [*lines, whole, whole._replace(name="mean over sources", **shares)]


def _line(name: str, groups: Sequence[Group]) -> SearchScore:
    lost = [group.lost for group in groups]
    return SearchScore(
        name,
        len(groups),
        sum(len(group.measured) for group in groups),
        float(np.mean([group.rank <= FIRST for group in groups])),
        float(np.mean([group.rank == 1 for group in groups])),
        float(np.mean([FIRST / len(group.measured) for group in groups])),
        float(np.mean(lost)),
        float(np.max(lost)),
    )


def search_table(rows: Sequence[Row], predicted: Array) -> str:
    """The lines as text, and how large the groups are."""
    groups = groups_of(rows, predicted)
    lines = score_search(groups)
    head = (
        f"{'search, layouts of one model':<28} {'groups':>6} {'layouts':>7} {'in 3':>6} {'first':>6} {'chance':>7} {'lost':>6} {'most':>6}"
    )
    text = [
        f"{line.name:<28} {line.groups:>6} {line.layouts:>7} {line.among_first:>6.0%} {line.first:>6.0%} {line.by_chance:>7.0%} "
        f"{line.mean_lost:>6.1%} {line.most_lost:>6.1%}"
        for line in lines
    ]
    small = groups_of(rows, predicted, 2)
    counts = Counter(len(group.measured) for group in groups)
    sizes = ", ".join(f"{count} of {size}" for size, count in sorted(counts.items()))
    left = len(small) - len(groups)
    return "\n".join([head, *text, f"groups: {sizes} layouts; {left} of two or three, which cannot fail, are left out"]) + "\n"
