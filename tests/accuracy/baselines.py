"""What an estimate has to beat: one share of the peak for everything, and what others published of themselves."""

from collections.abc import Sequence

import numpy as np

from tests.accuracy.rows import Row

Array = "np.ndarray[tuple[int], np.dtype[np.float64]]"

SHARE = 0.40

# Mean absolute percentage errors that others published, with what they needed for them.
PUBLISHED = (
    ("vtrain-single", 0.0837, "vTrain (MICRO 2024), which profiles a layer on the device"),
    ("vtrain-multi", 0.1473, "vTrain (MICRO 2024), which profiles a layer on the device"),
    ("vtrain-single", 0.3895, "Calculon (SC 2023), run unchanged"),
    ("vtrain-multi", 0.1538, "Calculon (SC 2023), run unchanged"),
    ("narayanan21", 0.1029, "Calculon (SC 2023), run unchanged"),
    ("bloom-tune", 0.2962, "Calculon (SC 2023), run unchanged"),
)


def model_flops(row: Row) -> float:
    """FLOPs of a row's step in the usual convention: six a matrix entry that a token meets, causal attention, no recomputation."""
    assert row.configuration is not None
    shape, layout, _ = row.configuration
    mixed = shape.layers - shape.dense_layers if shape.experts else 0.0
    dense = shape.layers - mixed
    entries = (
        shape.layers * shape.attention_entries
        + shape.matrices * shape.hidden * (dense * shape.ffn + mixed * (shape.shared_ffn + shape.active_experts * shape.expert_ffn))
        + shape.vocabulary * shape.hidden
    )
    attention = shape.layers * shape.heads * (shape.key_dim + shape.value_dim) * shape.sequence / 2
    replicas = layout.devices / (layout.tensor * layout.pipeline * layout.context)
    tokens = layout.micro_batch * layout.micro_batches * replicas * shape.sequence
    share = 1.0 if shape.trained == 1 else 2.0 / 3.0
    return float(6 * share * (entries + attention) * tokens)


def constant_share(rows: Sequence[Row], share: float = SHARE) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Seconds of each row's step at one share of the 16-bit peak."""
    seconds = []
    for row in rows:
        assert row.configuration is not None
        seconds.append(model_flops(row) / (row.configuration.machine.peak * row.configuration.layout.devices * share))
    return np.array(seconds)


def best_constant(rows: Sequence[Row]) -> float:
    """The share that fits these rows best, by the median."""
    measured = np.array([row.seconds for row in rows], dtype=float)
    return float(np.median(constant_share(rows, 1.0) / measured))
