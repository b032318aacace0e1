"""`schedule:` how the learning rate moves."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Beta, Count, CountOrZero, Fraction, NonNegative, Positive, Section, derived


class WarmedUp(Section):
    """A schedule that begins with a linear warm-up."""

    warmup_steps: CountOrZero = derived("1% of max_steps, at most 2000")
    """Steps of linear warm-up from zero. Default: 1% of the run, at most 2000."""


class ConstantSchedule(WarmedUp):
    """Warm up, then stay at the peak."""

    kind: Literal["constant"]
    """Warm up, then stay at the peak."""


class StepSchedule(WarmedUp):
    """Warm up, then fall at once every so many steps."""

    kind: Literal["step"]
    """Warm up, then fall at once every so many steps."""

    decay_every: Count = derived("a third of the steps after the warm-up")
    """Steps between two falls, counted from the end of the warm-up. Default: a third of the steps after the warm-up."""

    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the rate is multiplied by at each fall. Default: 0.1."""


class MultiStepSchedule(WarmedUp):
    """Warm up, then fall at once at given shares of the run (as DeepSeek LLM was trained, Bi et al. 2024)."""

    kind: Literal["multi_step"]
    """Warm up, then fall at once at given shares of the run."""

    decay_at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.8, 0.9)
    """Shares of the run's steps after which the rate falls, in order. Default: [0.8, 0.9]."""

    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.316
    """What the rate is multiplied by at each fall. Default: 0.316, so that two falls leave a tenth."""


class ExponentialSchedule(WarmedUp):
    """Warm up, then fall by an equal factor each step."""

    kind: Literal["exponential"]
    """Warm up, then fall by an equal factor each step."""

    min_learning_rate: Positive = derived("learning_rate / 10")
    """Learning rate at the last step. Default: a tenth of the peak."""


class LinearSchedule(WarmedUp):
    """Warm up, then fall in a straight line."""

    kind: Literal["linear"]
    """Warm up, then fall in a straight line."""

    min_learning_rate: NonNegative = 0.0
    """Learning rate at the last step. Default: 0."""


class PolynomialSchedule(WarmedUp):
    """Warm up, then fall as a power of the share of the run that is left."""

    kind: Literal["polynomial"]
    """Warm up, then fall as a power of the share of the run that is left."""

    power: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The power: 1 is a straight line, more falls faster in the beginning. Default: 2."""

    min_learning_rate: NonNegative = 0.0
    """Learning rate at the last step. Default: 0."""


class InverseSqrtSchedule(WarmedUp):
    """Warm up, then fall as one over the root of the step (Vaswani et al. 2017)."""

    kind: Literal["inverse_sqrt"]
    """Warm up, then fall as one over the root of the step."""

    timescale: Count = derived("warmup_steps, or 10000 without a warm-up")
    """Steps past the warm-up after which the rate has fallen to 71% of the peak; after three times as many to half of it.
    Default: `warmup_steps`, as in Vaswani et al.; 10000 without a warm-up."""


class CosineSchedule(WarmedUp):
    """Warm up, then fall along half a cosine (Loshchilov and Hutter 2016)."""

    kind: Literal["cosine"]
    """Warm up, then fall along half a cosine."""

    min_learning_rate: NonNegative = derived("learning_rate / 10")
    """Learning rate at the last step. Default: a tenth of the peak."""


class CosineRestartsSchedule(WarmedUp):
    """Warm up, then fall along half a cosine again and again (SGDR, Loshchilov and Hutter 2016)."""

    kind: Literal["cosine_restarts"]
    """Warm up, then fall along half a cosine again and again."""

    cycle_steps: Count = derived("so that the run has four cycles")
    """Steps of the first cycle, after the warm-up (T_0 of the paper). Default: so that the run has four cycles."""

    cycle_growth: Annotated[int, Field(ge=1, le=100)] = 1
    """How many times as long each cycle is as the one before (T_mult of the paper). Default: 1, all alike."""

    min_learning_rate: NonNegative = derived("learning_rate / 10")
    """Learning rate at the end of a cycle. Default: a tenth of the peak."""


class WsdSchedule(WarmedUp):
    """Warm up, stay, decay at the end (warmup-stable-decay, Hu et al. 2024)."""

    kind: Literal["wsd"]
    """Warm up, stay, decay at the end."""

    decay_fraction: Fraction = 0.1
    """Share of the run's steps that decays. Default: 0.1."""

    decay_shape: Literal["linear", "cosine", "one_minus_sqrt"] = "linear"
    """How the rate falls. Default: linear."""

    min_learning_rate: NonNegative = 0.0
    """Learning rate at the last step. Default: 0."""


class CyclicalSchedule(Section):
    """Up and down between two rates in straight lines (Smith 2015)."""

    kind: Literal["cyclical"]
    """Up and down between two rates in straight lines."""

    rise_steps: Count = derived("so that the run has four cycles")
    """Steps of a rise from `min_learning_rate` to the peak. Default: so that the run has four cycles."""

    fall_steps: Count = derived("rise_steps")
    """Steps of a fall back to `min_learning_rate`. Default: `rise_steps`."""

    cycle_shape: Literal["triangular", "triangular2"] = "triangular"
    """Whether every peak is as high (`triangular`) or half as high above `min_learning_rate` as the one before (`triangular2`).
    Default: triangular."""

    min_learning_rate: NonNegative = derived("learning_rate / 10")
    """Learning rate at the start and end of a cycle. Default: a tenth of the peak."""

    momentum_at_peak: Beta | None = None
    """What the optimizer's `momentum`, or Adam's `beta1`, falls to while the rate rises to its peak, to rise again while that falls;
    0.8 is usual. Default: none, it stays."""


class OneCycleSchedule(Section):
    """One rise and one long fall to almost nothing (super-convergence, Smith and Topin 2017)."""

    kind: Literal["one_cycle"]
    """One rise and one long fall to almost nothing."""

    rise_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the run's steps in which the rate rises. Default: 0.3."""

    anneal_shape: Literal["cosine", "linear"] = "cosine"
    """How the rate rises and falls. Default: cosine."""

    initial_learning_rate: NonNegative = derived("learning_rate / 25")
    """Learning rate of the first step. Default: a twenty-fifth of the peak."""

    min_learning_rate: NonNegative = derived("initial_learning_rate / 10000")
    """Learning rate at the last step. Default: a ten-thousandth of the first one."""

    momentum_at_peak: Beta | None = None
    """What the optimizer's `momentum`, or Adam's `beta1`, falls to while the rate rises to its peak, to rise again while that falls;
    0.85 is usual. Default: none, it stays."""


AnySchedule = Annotated[
    ConstantSchedule
    | StepSchedule
    | MultiStepSchedule
    | ExponentialSchedule
    | LinearSchedule
    | PolynomialSchedule
    | InverseSqrtSchedule
    | CosineSchedule
    | CosineRestartsSchedule
    | WsdSchedule
    | CyclicalSchedule
    | OneCycleSchedule,
    Field(discriminator="kind"),
]
