"""Floating-point operations: exact counts from the network, in three conventions that must not be mixed."""

from typing import NamedTuple

from llmspec.estimate.derivation import Quantities, Quantity, counted, field
from llmspec.network.network import AttentionProduct, Component, MatrixProduct, Network
from llmspec.resolve.resolved import Resolved

# The backward pass of a matrix product is two products of the same size. A fused attention kernel recomputes the scores in its
# backward pass: five products where the forward pass has two.
BACKWARD_PRODUCTS = 2.0
BACKWARD_ATTENTION = 2.5


class ForwardCounts(NamedTuple):
    """Forward FLOPs for one token of some operations."""

    products: int
    attention: int
    causal_attention: float

    @property
    def total(self) -> int:
        """All pairs of the attention counted."""
        return self.products + self.attention


class Flops(NamedTuple):
    """Training FLOPs, forward and backward.

    `per_token` counts all pairs of the attention, as torch's FlopCounterMode does, and is what model FLOPs utilisation is measured
    with here. `causal_per_token` counts only the pairs that the mask leaves. `hardware_per_token` is what the kernels execute:
    causal pairs, scores recomputed by fused attention, layers recomputed by activation checkpointing.
    """

    per_token: Quantity
    forward_per_token: Quantity
    causal_per_token: Quantity
    hardware_per_token: Quantity
    total: Quantity
    by_component: Quantities


def count_forward(network: Network, sequence_length: int) -> tuple[ForwardCounts, ForwardCounts, dict[Component, int]]:
    """Forward FLOPs for one token: of the layers, of the rest, and of each component with all pairs counted."""
    counts = []
    by_component: dict[Component, int] = {}
    for parts in (network.layers, (network.before, network.after)):
        products, attention, causal = 0, 0, 0.0
        for part in parts:
            for operation in part.operations:
                if isinstance(operation, MatrixProduct):
                    flops = operation.flops_per_token()
                    products += flops
                elif isinstance(operation, AttentionProduct):
                    flops = operation.flops_per_token(sequence_length)
                    attention += flops
                    causal += operation.causal_flops_per_token(sequence_length)
                else:
                    continue
                by_component[operation.component] = by_component.get(operation.component, 0) + flops
        counts.append(ForwardCounts(products, attention, causal))
    return counts[0], counts[1], by_component


def count_flops(resolved: Resolved, network: Network) -> Flops:
    """Count the training FLOPs of a spec."""
    spec = resolved.spec
    sequence_length = spec.training.sequence_length
    layers, rest, by_component = count_forward(network, sequence_length)
    products = layers.products + rest.products
    attention = layers.attention + rest.attention
    causal = layers.causal_attention + rest.causal_attention
    length = field(resolved, "training.sequence_length")
    common = (counted("matrix_products", products), counted("attention_products", attention), length)
    exact = "exact: a multiplication and an addition for each pair of entries; equals torch's FlopCounterMode on the emitted model"
    per_token = Quantity(
        3 * (products + attention),
        "FLOP/token",
        "3 * (matrix_products + attention_products): forward once, backward twice, all pairs of the attention",
        common,
        exact,
    )
    recomputed = layers.products + layers.causal_attention if spec.parallelism.activation_checkpointing == "full" else 0.0
    return Flops(
        per_token=per_token,
        forward_per_token=Quantity(products + attention, "FLOP/token", "matrix_products + attention_products", common, exact),
        causal_per_token=Quantity(
            3 * (products + causal),
            "FLOP/token",
            "3 * (matrix_products + causal_attention): only the pairs that the causal mask and the windows leave",
            (counted("matrix_products", products), counted("causal_attention", causal), length),
            "exact",
        ),
        hardware_per_token=Quantity(
            3 * products + (1 + BACKWARD_ATTENTION) * causal + recomputed,
            "FLOP/token",
            "3 * matrix_products + 3.5 * causal_attention + recomputed: what fused kernels execute",
            (
                counted("matrix_products", products),
                counted("causal_attention", causal),
                counted("recomputed", recomputed),
                field(resolved, "parallelism.activation_checkpointing"),
                length,
            ),
            "exact for causal fused attention (FlashAttention: Dao et al. 2022)",
        ),
        total=Quantity(
            per_token.value * spec.training.max_tokens,
            "FLOP",
            "per_token * max_tokens",
            (per_token.as_input("per_token"), field(resolved, "training.max_tokens")),
            "exact",
        ),
        by_component={
            str(component): Quantity(
                3 * flops, "FLOP/token", f"3 * forward FLOPs of {component.replace('_', '-')}", (counted("forward", flops),), exact
            )
            for component, flops in by_component.items()
            if flops
        },
    )
