"""What measurements of some runs say about another one: a Gaussian process over runs on one accelerator.

The error of an estimate, ln(measured / estimated) in units of what its 80% interval stands for, is the sum of three: one that all runs on
the cluster share, one that two runs share the more the more alike they are, and each run's own. How large each is, is data: see
`llmspec/catalog/calibration.yaml`. The posterior mean moves little where few or unlike runs were seen, and its spread says how much of the
interval is left. Plain numbers, or columns of them for the run that is asked about.
"""

from collections.abc import Sequence
from math import e, sqrt
from typing import NamedTuple

from llmspec.catalog.calibration import Prior
from llmspec.estimate.arithmetic import Arithmetic
from llmspec.estimate.workload import Configuration, Number

# A normal distribution has 80% of its mass within this many standard deviations.
NORMAL_80 = 1.2816
# Runs nearer than this are of one configuration: logarithms of one number differ by less in different libraries.
SAME = 1e-6


class Features(NamedTuple):
    """What makes two runs alike: logarithms to the base 2 of what can double, numbers for kinds, and words."""

    sizes: tuple[Number, ...]
    kinds: tuple[Number, ...]
    words: tuple[str, ...] = ()


class Evidence(NamedTuple):
    """One configuration that was measured. Both numbers are in units of the standard deviation that its interval stands for."""

    features: Features
    error: float
    noise: float
    """Standard deviation of the measurement."""


class Posterior(NamedTuple):
    """What is expected of a run, in the same units; the spread was 1 before anything was measured."""

    mean: Number
    spread: Number


# What `Features` hold, in order.
SIZES = (
    "num_layers",
    "hidden_size",
    "num_heads",
    "ffn_hidden_size",
    "sequence_length",
    "vocab_size",
    "num_experts",
    "parameters_per_trained_one",
    "devices",
    "tensor",
    "pipeline",
    "stages_per_device",
    "context",
    "expert",
    "shard_size",
    "micro_batch_size",
    "micro_batches",
    "state_bytes",
)
KINDS = ("several_nodes", "sharded", "recomputed", "kernels", "product_bytes", "fused_attention")


def sizes_of(configuration: Configuration) -> tuple[Number, ...]:
    """What can double, in the order of `SIZES`."""
    shape, layout = configuration.shape, configuration.layout
    model = shape.layers, shape.hidden, shape.heads, shape.ffn, shape.sequence, shape.vocabulary, shape.experts, 1.0 / shape.trained
    degrees = layout.devices, layout.tensor, layout.pipeline, layout.virtual, layout.context, layout.expert, layout.shard_size
    return (*model, *degrees, layout.micro_batch, layout.micro_batches, layout.state_bytes)


def kinds_of(configuration: Configuration) -> tuple[Number, ...]:
    """What is of one kind or another, as numbers in the order of `KINDS`."""
    layout = configuration.layout
    several = (layout.devices > layout.per_node) * 1.0
    return several, layout.shard_stage, layout.recompute, layout.kernels, layout.product_bytes, layout.flash


def features(operations: Arithmetic, sizes: Sequence[Number], kinds: Sequence[Number], words: Sequence[str] = ()) -> Features:
    """Features of plain values; what may be none, such as experts, counts from one."""
    doublings = (operations.log(operations.maximum(1.0, size)) / operations.log(2.0) for size in sizes)
    return Features(tuple(doublings), tuple(kinds), tuple(words))


def features_of(operations: Arithmetic, configuration: Configuration, words: Sequence[str] = ()) -> Features:
    """The features of a configuration, or of a column of them."""
    return features(operations, sizes_of(configuration), kinds_of(configuration), words)


def distance(first: Features, second: Features) -> Number:
    """Doublings and differences in kind between two runs."""
    total: Number = float(sum(a != b for a, b in zip(first.words, second.words, strict=True)))
    for a, b in zip(first.sizes, second.sizes, strict=True):
        total = total + abs(a - b)
    for a, b in zip(first.kinds, second.kinds, strict=True):
        total = total + (a != b) * 1.0
    return total


class Learned:
    """A prior and the runs that were seen, ready to be asked."""

    def __init__(self, prior: Prior, evidence: Sequence[Evidence]) -> None:
        self.prior = prior
        self.evidence = _merged(evidence)
        # Errors have heavy tails: where one lies far out, more of it is taken to be that run's own, so that others follow it less.
        self.own = [prior.own * max(1.0, (one.error / NORMAL_80) ** 2) for one in self.evidence]
        matrix = [[self._shared(distance(a.features, b.features)) for b in self.evidence] for a in self.evidence]
        for index, one in enumerate(self.evidence):
            matrix[index][index] += self.own[index] + one.noise**2
        self.inverse = _inverse(matrix)
        self.weights = [sum(w * one.error for w, one in zip(row, self.evidence, strict=True)) for row in self.inverse]

    def _shared(self, apart: Number) -> Number:
        return self.prior.cluster + self.prior.similar * e ** (-apart / self.prior.length)

    def posterior(self, operations: Arithmetic, target: Features, noise: Number) -> Posterior:
        """What is expected of a run.

        Args:
            operations: On what its features are.
            target: Its features.
            noise: Standard deviation of its own measurement, of which the spread is never less.
        """
        covariances = []
        variance: Number = 1.0
        for one, own in zip(self.evidence, self.own, strict=True):
            apart = distance(one.features, target)
            same = (apart < SAME) * 1.0
            covariances.append(self._shared(apart) + same * own)
            variance = variance + same * (own - self.prior.own)
        mean: Number = sum(weight * covariance for weight, covariance in zip(self.weights, covariances, strict=True))
        for a, row in zip(covariances, self.inverse, strict=True):
            for b, weight in zip(covariances, row, strict=True):
                variance = variance - a * weight * b
        variance = operations.minimum(1.0, operations.maximum(variance, 0.0) + noise**2)
        return Posterior(mean, operations.sqrt(variance))

    def nearest(self, target: Features) -> float:
        """How far the most alike run is."""
        return min(float(distance(one.features, target)) for one in self.evidence)


def _merged(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Measurements of one configuration become one, each counting by its precision; where they disagree, by how much they do."""
    groups: dict[Features, list[Evidence]] = {}
    for one in evidence:
        groups.setdefault(one.features, []).append(one)
    merged = []
    for features, group in groups.items():
        precision = [1.0 / one.noise**2 for one in group]
        error = sum(one.error * p for one, p in zip(group, precision, strict=True)) / sum(precision)
        scatter = sum((one.error - error) ** 2 for one in group) / max(1, len(group) - 1) / len(group)
        merged.append(Evidence(features, error, sqrt(max(1.0 / sum(precision), scatter))))
    return merged


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of a symmetric positive definite matrix, by Gauss and Jordan's elimination, which needs no pivoting there."""
    size = len(matrix)
    rows = [[*row, *(1.0 if i == j else 0.0 for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = rows[column][column]
        rows[column] = [value / pivot for value in rows[column]]
        for index in range(size):
            factor = rows[index][column]
            if index != column and factor:
                rows[index] = [value - factor * other for value, other in zip(rows[index], rows[column], strict=True)]
    return [row[size:] for row in rows]
