"""Norms: one weight vector, and a bias where the spec has one."""

from llmspec.network.network import Component, Elementwise, Weight, WeightKind
from llmspec.spec.schema.architecture import LayerNorm, Norm


def norm_weights(norm: Norm, name: str, size: int, layer: int | None, component: Component = Component.NORM) -> tuple[Weight, ...]:
    """The weights of one norm over `size` elements."""
    weight = Weight(f"{name}.weight", (size,), WeightKind.NORM, component, layer, None, None)
    if isinstance(norm, LayerNorm) and norm.bias:
        return weight, Weight(f"{name}.bias", (size,), WeightKind.BIAS, component, layer, None, None)
    return (weight,)


def norm_pass(name: str, size: int, component: Component = Component.NORM) -> Elementwise:
    """The pass over memory that one norm is."""
    return Elementwise(name, component, elements_read=size, elements_written=size)
