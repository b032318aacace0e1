"""Scores every candidate in one pass over columns: seconds of its step, bytes at its peak, and what is to blame where that is too much.

The formulae are those of `llmspec estimate`, on columns instead of numbers.
"""

from typing import Any, NamedTuple

import numpy as np

from llmspec.catalog import efficiency, find_accelerator
from llmspec.estimate.constants import memory_constants, step_bounds, step_constants
from llmspec.estimate.moments import COMING_AND_GOING, Numerics, Tokens, Weights, moments, stages
from llmspec.estimate.profile import Profile
from llmspec.estimate.step_model import step_seconds
from llmspec.estimate.workload import Configuration, Layout
from llmspec.search.space import (
    Array,
    Columns,
    Indices,
    KeptTokens,
    Point,
    Space,
    columns_of,
    configuration_columns,
    numerics_columns,
)

# Rows at a time: as many as leave the intermediate columns in a core's cache.
CHUNK = 8192
COMPONENTS = (
    "parameters",
    "optimizer",
    "master_parameters",
    "workspace",
    "communication",
    "gradients",
    "activations",
    "logits",
    "weight_copies",
    "gathered_parameters",
    "reduce_buffers",
    "framework",
    "fragmentation",
)


class Scores(NamedTuple):
    """What became of the candidates, one a row."""

    seconds: Array
    """Of one step; infinite where it does not fit."""
    peak: Array
    """Bytes of one device."""
    blame: Indices
    """The component that takes most where it does not fit, as an index into `COMPONENTS`; -1 where it fits."""

    @property
    def fits(self) -> Any:
        """Which fit."""
        return self.blame < 0


class Scored(NamedTuple):
    """All candidates on some devices with their scores."""

    space: Space
    point: Point
    columns: Columns
    scores: Scores

    @property
    def safe(self) -> Any:
        """Which fit with the error of the estimate added."""
        return self.scores.fits & (self.scores.peak * self.space.tight <= self.space.memory)


def tight_factor() -> float:
    """A peak times this is the upper end of its interval."""
    return efficiency().memory_bounds["peak"][1]


def score(space: Space, point: Point, *, built_only: bool = False, profile: Profile | None = None) -> Scored:
    """Score every layout of a model on some devices.

    Args:
        space: The model and the families.
        point: The devices.
        built_only: Whether layouts are left out that no project is written for yet.
        profile: What runs that were measured have taught of the time of a step. What they have taught of the memory is asked when the
            best go through the compiler.
    """
    columns = columns_of(space, point, built_only=built_only)
    count = len(columns)
    seconds, peak, blame = np.full(count, np.inf), np.zeros(count), np.full(count, -1)
    kept = KeptTokens(space)
    for start in range(0, count, CHUNK):
        chunk = slice(start, min(start + CHUNK, count))
        part = columns.take(chunk)
        tokens, numerics = kept.columns(part), numerics_columns(space, part)
        configuration = configuration_columns(space, point, part)
        peak[chunk] = peaks(space.weights, tokens, numerics, configuration.layout)
        fits = peak[chunk] <= space.memory
        some, rest = np.flatnonzero(fits), np.flatnonzero(~fits)
        if len(some):
            chosen = configuration._replace(layout=_chosen(configuration.layout, some))
            seconds[start + some] = step_seconds(np, chosen, step_constants())
            if profile is not None:
                seconds[start + some] *= _factors(space, profile, chosen, part.member[some])
        if len(rest):
            blame[start + rest] = largest_components(
                space.weights, _chosen(tokens, rest), _chosen(numerics, rest), _chosen(configuration.layout, rest)
            )
    return Scored(space, point, columns, Scores(seconds, peak, blame))


def _factors(space: Space, profile: Profile, configuration: Configuration, member: Indices) -> Array:
    """What a profile multiplies the time of each row's step with."""
    factors = np.ones(len(member))
    accelerator = find_accelerator(space.accelerator)
    assert accelerator is not None
    first = space.members[0]
    low, high = step_bounds(Configuration(space.shape, first.layout, space.machine), measured=bool(accelerator.matmul_tflops))
    engines = np.array([one.family.engine for one in space.members])[member]
    for engine in np.unique(engines):
        rows = np.flatnonzero(engines == engine)
        chosen = configuration._replace(layout=_chosen(configuration.layout, rows))
        spec = first.resolved.spec
        factors[rows] = profile.step_factors(np, chosen, low, high, engine=str(engine), precision=spec.precision)[0]
    return factors


def _chosen(record: Any, chosen: Indices) -> Any:
    """Some of the rows of a record of columns."""
    return type(record)(
        *(
            _chosen(value, chosen) if isinstance(value, tuple) else value[chosen] if isinstance(value, np.ndarray) else value
            for value in record
        )
    )


class _Peak(NamedTuple):
    sum: Any
    coming: Any


def _at_moments(weights: Weights, tokens: Tokens, numerics: Numerics, layout: Layout) -> Any:
    """Each moment that some candidate has: where, its components, and the sums that count."""
    for stage in stages(np, weights, layout):
        if not np.any(stage.there):
            continue
        for moment in moments(np, weights, tokens, numerics, layout, stage):
            there = moment.there & stage.there
            if not np.any(there):
                continue
            coming = sum(moment.parts.get(name, 0.0) for name in COMING_AND_GOING)
            rest = sum(value for name, value in moment.parts.items() if name not in COMING_AND_GOING)
            # On one device without accumulation gradients come and go with each step.
            once = (layout.devices <= 1) & (layout.micro_batches <= 1)
            yield there, moment.parts, _Peak(np.where(there, coming + rest, 0.0), coming + np.where(once, moment.parts["gradients"], 0.0))


def peaks(weights: Weights, tokens: Tokens, numerics: Numerics, layout: Layout) -> Array:
    """Bytes at the peak, with what the allocator and the framework hold beside."""
    constants = memory_constants()
    most: Any = 0.0
    coming: Any = 0.0
    for _, _, peak in _at_moments(weights, tokens, numerics, layout):
        higher = peak.sum > most
        most = np.where(higher, peak.sum, most)
        coming = np.where(higher, peak.coming, coming)
    return np.asarray(most + constants.context_bytes + constants.fragmentation * coming, dtype=float)


def largest_components(weights: Weights, tokens: Tokens, numerics: Numerics, layout: Layout) -> Indices:
    """The component that takes most at the peak, as an index into `COMPONENTS`."""
    constants = memory_constants()
    most: Any = 0.0
    count = len(layout.tensor)
    table = np.zeros((len(COMPONENTS), count))
    for _, parts, peak in _at_moments(weights, tokens, numerics, layout):
        higher = peak.sum > most
        most = np.where(higher, peak.sum, most)
        at_peak = {**parts, "framework": constants.context_bytes, "fragmentation": constants.fragmentation * peak.coming}
        for index, name in enumerate(COMPONENTS):
            table[index] = np.where(higher, at_peak.get(name, 0.0), table[index])
    return np.asarray(table.argmax(axis=0))
