"""Groups of published layouts: how they are formed and scored, and that the fastest is mostly among the first three."""

import numpy as np
import pytest

from tests.accuracy.__main__ import frozen
from tests.accuracy.rows import Row, read_rows
from tests.accuracy.search import Group, groups_of, score_search


def layouts(seconds: tuple[float, ...], **changed: float) -> list[Row]:
    """Rows that differ in their micro batch alone."""
    row = next(row for row in read_rows() if row.source == "mosaic23" and row.excluded is None and row.configuration is not None)
    configuration = row.configuration
    assert configuration is not None
    found = []
    for index, measured in enumerate(seconds):
        layout = configuration.layout._replace(micro_batch=2.0**index, micro_batches=2.0 ** (10 - index), **changed)
        found.append(Row(**{**vars(row), "configuration": configuration._replace(layout=layout), "seconds": measured}))
    return found


def test_the_rank_is_that_of_the_true_fastest() -> None:
    rows = layouts((4.0, 2.0, 3.0, 5.0))
    (group,) = groups_of(rows, np.array([1.0, 4.0, 2.0, 3.0]))
    assert group.measured == (2.0, 3.0, 4.0, 5.0) and group.predicted == (4.0, 2.0, 1.0, 3.0)
    assert group.rank == 4 and group.lost == pytest.approx(4.0 / 2.0 - 1)
    line = score_search([group])[0]
    assert (line.groups, line.layouts, line.among_first, line.first, line.by_chance) == (1, 4, 0.0, 0.0, 0.75)
    (right,) = groups_of(rows, np.array([4.0, 2.0, 3.0, 5.0]))
    assert right.rank == 1 and right.lost == 0 and score_search([right])[0].among_first == 1


def test_equal_predictions_do_not_help() -> None:
    assert Group("s", "g", (1.0, 2.0, 3.0, 4.0), (5.0, 5.0, 5.0, 5.0)).rank == 4


def test_groups_of_three_and_other_batches_do_not_count() -> None:
    assert not groups_of(layouts((1.0, 2.0, 3.0)), np.ones(3))
    apart = [*layouts((1.0, 2.0)), *layouts((1.0, 2.0), devices=8.0)]
    assert not groups_of(apart, np.ones(4)) and len(groups_of(apart, np.ones(4), 2)) == 2
    # The same layout measured twice is one.
    twice = [*layouts((1.0, 2.0, 3.0)), *layouts((2.0, 3.0, 4.0))]
    assert not groups_of(twice, np.ones(6))
    assert groups_of(twice, np.ones(6), 3)[0].measured == (1.5, 2.5, 3.5)


def test_the_fastest_published_layout_is_among_the_first_three() -> None:
    rows = [row for row in read_rows() if row.excluded is None and row.seconds]
    lines = {line.name: line for line in score_search(groups_of(rows, frozen(rows)[0]))}
    everything, alike = lines["all groups"], lines["mean over sources"]
    assert everything.groups > 100 and everything.among_first >= 0.8 and everything.among_first > everything.by_chance + 0.2
    assert alike.among_first >= 0.75 and everything.mean_lost < 0.1
