"""Rows as columns, for numpy."""

from collections.abc import Sequence

import numpy as np

from llmspec.estimate.workload import Configuration, Layout, Machine, Shape
from tests.accuracy.rows import Row


def columns(rows: Sequence[Row]) -> Configuration:
    """One configuration whose every entry is an array over the rows."""
    configurations = [row.configuration for row in rows]
    return Configuration(
        *(
            kind(*(np.array([getattr(c[i], name) for c in configurations if c is not None], dtype=float) for name in kind._fields))
            for i, kind in enumerate((Shape, Layout, Machine))
        )
    )
