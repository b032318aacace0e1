"""Linear projections: a matrix, perhaps a bias, and one matrix product."""

from llmspec.network.network import Component, Weight, WeightKind


def projection_weights(
    name: str,
    in_features: int,
    out_features: int,
    *,
    bias: bool,
    component: Component,
    layer: int | None,
    reads_split: bool = False,
    writes_residual: bool = False,
) -> tuple[Weight, ...]:
    """The weights of one `nn.Linear`.

    `reads_split` says that its input is what tensor parallelism would have split, so that its columns are split and not its rows;
    `writes_residual` that its output is added to the residual stream.
    """
    kind = WeightKind.OUTPUT_MATRIX if writes_residual else WeightKind.MATRIX
    matrix = Weight(f"{name}.weight", (out_features, in_features), kind, component, layer, 1 if reads_split else 0, None)
    if not bias:
        return (matrix,)
    return matrix, Weight(f"{name}.bias", (out_features,), WeightKind.BIAS, component, layer, None if reads_split else 0, None)
