"""Parameters: exact counts of the emitted model, by component."""

from typing import NamedTuple

from llmspec.estimate.derivation import Input, Quantities, Quantity, counted
from llmspec.network.network import Component, Network

EXACT = "exact: the sum over the tensors of the emitted model"


class Parameters(NamedTuple):
    """How many parameters the model has."""

    total: Quantity
    active: Quantity
    non_embedding: Quantity
    by_component: Quantities


def count_parameters(network: Network) -> Parameters:
    """Count the parameters of a network; a tied head counts once."""
    sizes = {component: 0 for component in Component}
    tables = 0
    for weight in network.weights:
        size = weight.size
        sizes[weight.component] += size
        if weight.component in (Component.EMBEDDING, Component.HEAD):
            tables += size
    total = sum(sizes.values())
    by_component = {
        str(component): Quantity(
            size,
            "parameters",
            f"sum of the sizes of all {component.replace('_', '-')} tensors",
            (counted(f"{component.replace('_', '-')} tensors", sum(w.component is component for w in network.weights)),),
            EXACT,
        )
        for component, size in sizes.items()
        if size
    }
    parts: tuple[Input, ...] = tuple(counted(str(component), size) for component, size in sizes.items() if size)
    total_quantity = Quantity(total, "parameters", " + ".join(part.name for part in parts), parts, EXACT)
    return Parameters(
        total=total_quantity,
        active=Quantity(
            total, "parameters", "total: every parameter takes part in every token", (total_quantity.as_input("total"),), EXACT
        ),
        non_embedding=Quantity(
            total - tables,
            "parameters",
            "total - embedding tables - output head",
            (total_quantity.as_input("total"), counted("embedding tables and output head", tables)),
            EXACT,
        ),
        by_component=by_component,
    )
