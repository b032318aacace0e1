"""`schedule:` how the learning rate moves."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import CountOrZero, Fraction, NonNegative, Section, derived


class ConstantSchedule(Section):
    """Warm up, then stay at the peak."""

    kind: Literal["constant"]
    """Warm up, then stay at the peak."""

    warmup_steps: CountOrZero = derived("1% of max_steps, at most 2000")
    """Steps of linear warm-up from zero. Default: 1% of the run, at most 2000."""


class LinearSchedule(Section):
    """Warm up, then fall in a straight line."""

    kind: Literal["linear"]
    """Warm up, then fall in a straight line."""

    warmup_steps: CountOrZero = derived("1% of max_steps, at most 2000")
    """Steps of linear warm-up from zero. Default: 1% of the run, at most 2000."""

    min_learning_rate: NonNegative = 0.0
    """Learning rate at the last step. Default: 0."""


class CosineSchedule(Section):
    """Warm up, then fall along half a cosine (Loshchilov and Hutter 2016)."""

    kind: Literal["cosine"]
    """Warm up, then fall along half a cosine."""

    warmup_steps: CountOrZero = derived("1% of max_steps, at most 2000")
    """Steps of linear warm-up from zero. Default: 1% of the run, at most 2000."""

    min_learning_rate: NonNegative = derived("learning_rate / 10")
    """Learning rate at the last step. Default: a tenth of the peak."""


class WsdSchedule(Section):
    """Warm up, stay, decay at the end (warmup-stable-decay, Hu et al. 2024)."""

    kind: Literal["wsd"]
    """Warm up, stay, decay at the end."""

    warmup_steps: CountOrZero = derived("1% of max_steps, at most 2000")
    """Steps of linear warm-up from zero. Default: 1% of the run, at most 2000."""

    decay_fraction: Fraction = 0.1
    """Share of the run's steps that decays. Default: 0.1."""

    decay_shape: Literal["linear", "cosine", "one_minus_sqrt"] = "linear"
    """How the rate falls. Default: linear."""

    min_learning_rate: NonNegative = 0.0
    """Learning rate at the last step. Default: 0."""


AnySchedule = Annotated[ConstantSchedule | LinearSchedule | CosineSchedule | WsdSchedule, Field(discriminator="kind")]
