"""Near names."""

import random
import string
from functools import cache

import pytest

from llmspec.diagnostics.suggest import choice, edit_distance, nearest


def reference(first: str, second: str) -> int:
    """The definition of the distance with swaps of neighbours, written as a recursion."""

    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        costs = [distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])]
        if i > 1 and j > 1 and first[i - 1] == second[j - 2] and first[i - 2] == second[j - 1]:
            costs.append(distance(i - 2, j - 2) + 1)
        return min(costs)

    return distance(len(first), len(second))


def test_edit_distance() -> None:
    draw = random.Random(0)
    for _ in range(300):
        first, second = ("".join(draw.choices("abc", k=draw.randint(0, 7))) for _ in range(2))
        assert edit_distance(first, second) == reference(first, second)
    assert (edit_distance("num_layrs", "num_layers"), edit_distance("weihgt", "weight"), edit_distance("", "abc")) == (1, 1, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("num_layrs", ["num_layers"]),
        ("numLayers", ["num_layers"]),
        ("num-layers", ["num_layers"]),
        ("heads", ["num_heads", "num_kv_heads"]),
        ("zebra", []),
        ("", []),
        ("x" * 10_000, []),
    ],
)
def test_nearest(name: str, expected: list[str]) -> None:
    assert nearest(name, ["num_layers", "num_heads", "num_kv_heads", "hidden_size"]) == expected


def test_nearest_is_fast_on_many_names() -> None:
    draw = random.Random(1)
    names = ["".join(draw.choices(string.ascii_lowercase, k=12)) for _ in range(2000)]
    assert nearest(names[7][:-1], names)[0] == names[7]


def test_choice() -> None:
    assert (choice(["a"]), choice(["a", "b"]), choice(["a", "b", "c"])) == ("`a`", "`a` or `b`", "`a`, `b` or `c`")
