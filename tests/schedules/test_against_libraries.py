"""Each emitted schedule at every step of a run, against torch.optim.lr_scheduler, transformers or the paper's formula.

Where a schedule warms up, its step t is tick t of the other (theirs starts with tick 0, whose rate is zero); one_cycle and cyclical do
not, and begin with tick 0.
"""

import math
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from transformers import optimization

from llmspec.diagnostics import CompilationError
from tests.schedules.conftest import PEAK, STEPS, Rates

LOWEST = 3e-5
Make = Callable[[torch.optim.Optimizer], LRScheduler]


def ticks(make: Make, count: int = STEPS + 1, peak: float = PEAK, momentum: bool = False) -> list[float]:
    """The rates that a scheduler gives, or the momentum, from tick 0."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak, momentum=0.9)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR calls its own deprecated ways
        scheduler = make(optimizer)
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["momentum"] if momentum else scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    return rates


def after_warmup(warmup: int, make: Make) -> Make:
    """torch's own linear warm-up, then another scheduler of its own. torch's warm-up cannot start at zero, so tick 0 is not compared."""
    if not warmup:
        return make
    return lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer, 1e-12, 1.0, warmup), make(optimizer)], milestones=[warmup]
    )


@pytest.mark.parametrize("warmup", [0, 1, 24])
class TestAgainstTorch:
    def test_constant(self, rates: Rates, warmup: int) -> None:
        expected = ticks(after_warmup(warmup, lambda optimizer: lr_scheduler.ConstantLR(optimizer, 1.0)))
        assert rates(kind="constant", warmup_steps=warmup) == pytest.approx(expected[1:], rel=1e-9)

    def test_linear(self, rates: Rates, warmup: int) -> None:
        make = after_warmup(warmup, lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, LOWEST / PEAK, STEPS - warmup))
        found = rates(kind="linear", warmup_steps=warmup, min_learning_rate=LOWEST)
        assert found == pytest.approx(ticks(make)[1:], rel=1e-9)
        assert found[-1] == pytest.approx(LOWEST)

    def test_exponential(self, rates: Rates, warmup: int) -> None:
        gamma = (LOWEST / PEAK) ** (1 / (STEPS - warmup))
        make = after_warmup(warmup, lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma))
        found = rates(kind="exponential", warmup_steps=warmup, min_learning_rate=LOWEST)
        assert found == pytest.approx(ticks(make)[1:], rel=1e-9)
        assert found[-1] == pytest.approx(LOWEST)

    @pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
    def test_polynomial(self, rates: Rates, warmup: int, power: float) -> None:
        make = after_warmup(warmup, lambda optimizer: lr_scheduler.PolynomialLR(optimizer, STEPS - warmup, power))
        found = rates(kind="polynomial", warmup_steps=warmup, power=power)
        assert found == pytest.approx(ticks(make)[1:], rel=1e-9, abs=1e-15)

    def test_cosine(self, rates: Rates, warmup: int) -> None:
        make = after_warmup(warmup, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS - warmup, LOWEST))
        found = rates(kind="cosine", warmup_steps=warmup, min_learning_rate=LOWEST)
        assert found == pytest.approx(ticks(make)[1:], rel=1e-9)
        assert found[-1] == pytest.approx(LOWEST)

    @pytest.mark.parametrize("growth", [1, 2, 3])
    def test_cosine_restarts(self, rates: Rates, warmup: int, growth: int) -> None:
        length = 27 if growth == 1 else 20
        expected = ticks(
            after_warmup(warmup, lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, length, growth, LOWEST))
        )[1:]
        found = rates(kind="cosine_restarts", warmup_steps=warmup, cycle_steps=length, cycle_growth=growth, min_learning_rate=LOWEST)
        # torch restarts on the tick at which a cycle ends; here that step has the lowest rate, so that a run can end with a cycle.
        ends = set(cycle_ends(warmup, length, growth))
        assert ends
        for step, (ours, theirs) in enumerate(zip(found, expected, strict=True), start=1):
            assert ours == pytest.approx(LOWEST if step in ends else theirs, rel=1e-9), step
            assert step not in ends or theirs == PEAK

    def test_step(self, rates: Rates, warmup: int) -> None:
        # Each stair is `decay_every` steps wide, so the first of them is the step after the warm-up.
        expected = ticks(lambda optimizer: lr_scheduler.StepLR(optimizer, 35, 0.3))
        found = rates(kind="step", warmup_steps=warmup, decay_every=35, decay_factor=0.3)
        assert found[:warmup] == pytest.approx([PEAK * (step + 1) / warmup for step in range(warmup)])
        assert found[warmup:] == pytest.approx(expected[: STEPS - warmup], rel=1e-9)

    def test_multi_step(self, rates: Rates, warmup: int) -> None:
        expected = ticks(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [120, 180, 216], 0.4))
        found = rates(kind="multi_step", warmup_steps=warmup, decay_at=[0.5, 0.75, 0.9], decay_factor=0.4)
        assert found[:warmup] == pytest.approx([PEAK * (step + 1) / warmup for step in range(warmup)])
        assert found[warmup:] == pytest.approx(expected[warmup:STEPS], rel=1e-9)


def cycle_ends(warmup: int, length: int, growth: int) -> Iterator[int]:
    end = warmup + length
    while end <= STEPS:
        yield end
        length *= growth
        end += length


@pytest.mark.parametrize("shape", ["triangular", "triangular2"])
@pytest.mark.parametrize(("rise", "fall"), [(30, 30), (7, 40), (50, 11)])
def test_cyclical(rates: Rates, shape: str, rise: int, fall: int) -> None:
    expected = ticks(
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, LOWEST, PEAK, rise, fall, mode=shape, cycle_momentum=False)  # type: ignore[arg-type]
    )
    found = rates(kind="cyclical", rise_steps=rise, fall_steps=fall, cycle_shape=shape, min_learning_rate=LOWEST)
    assert found == pytest.approx(expected[:STEPS], rel=1e-9)


@pytest.mark.parametrize(("shape", "name"), [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("share", [0.3, 0.01, 0.77])
@pytest.mark.parametrize("given", [{}, {"initial_learning_rate": 1e-3, "min_learning_rate": 1e-5}])
def test_one_cycle(rates: Rates, shape: str, name: str, share: float, given: dict[str, float]) -> None:
    first, last = (PEAK / 25, PEAK / 25 / 1e4) if not given else (1e-3, 1e-5)
    expected = ticks(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, PEAK, STEPS, pct_start=share, anneal_strategy=name, cycle_momentum=False,  # type: ignore[arg-type]
            div_factor=PEAK / first, final_div_factor=first / last,
        ),
        STEPS,
    )  # fmt: skip
    found = rates(kind="one_cycle", rise_fraction=share, anneal_shape=shape, **given)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", ["triangular", "triangular2"])
@pytest.mark.parametrize(("rise", "fall"), [(30, 30), (7, 40)])
def test_momentum_of_cycles(rates: Rates, shape: str, rise: int, fall: int) -> None:
    expected = ticks(
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, LOWEST, PEAK, rise, fall, mode=shape, base_momentum=0.7, max_momentum=0.95),  # type: ignore[arg-type]
        STEPS,
        momentum=True,
    )
    assert min(expected) == pytest.approx(0.7) and max(expected) == pytest.approx(0.95)
    given = {"kind": "cyclical", "rise_steps": rise, "fall_steps": fall, "cycle_shape": shape, "momentum_at_peak": 0.7}
    assert rates(momentum=0.95, **given) == pytest.approx(expected, rel=1e-9)
    assert rates(**given, min_learning_rate=LOWEST) == pytest.approx(
        rates(**{**given, "momentum_at_peak": None}, min_learning_rate=LOWEST), rel=1e-12
    )


@pytest.mark.parametrize(("shape", "name"), [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("share", [0.3, 0.01, 0.77])
def test_momentum_of_one_cycle(rates: Rates, shape: str, name: str, share: float) -> None:
    expected = ticks(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, PEAK, STEPS, pct_start=share, anneal_strategy=name, base_momentum=0.85, max_momentum=0.95  # type: ignore[arg-type]
        ),
        STEPS,
        momentum=True,
    )  # fmt: skip
    assert min(expected) < 0.86 and max(expected) == pytest.approx(0.95)
    found = rates(kind="one_cycle", momentum=0.95, momentum_at_peak=0.85, rise_fraction=share, anneal_shape=shape)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("warmup", [0, 24])
@pytest.mark.parametrize("timescale", [None, 10, 1000])
def test_inverse_sqrt_against_transformers(rates: Rates, warmup: int, timescale: int | None) -> None:
    expected = ticks(lambda optimizer: optimization.get_inverse_sqrt_schedule(optimizer, warmup, timescale))
    given = {} if timescale is None else {"timescale": timescale}
    assert rates(kind="inverse_sqrt", warmup_steps=warmup, **given) == pytest.approx(expected[1:], rel=1e-9)


@pytest.mark.parametrize("warmup", [0, 24])
@pytest.mark.parametrize("shape", ["linear", "cosine", "one_minus_sqrt"])
@pytest.mark.parametrize("share", [0.1, 0.35])
def test_wsd_against_transformers(rates: Rates, warmup: int, shape: str, share: float) -> None:
    decay = round(share * STEPS)
    expected = ticks(
        lambda optimizer: optimization.get_wsd_schedule(
            optimizer, warmup, decay, STEPS, decay_type={"one_minus_sqrt": "1-sqrt"}.get(shape, shape), min_lr_ratio=0.0
        )
    )
    assert rates(kind="wsd", warmup_steps=warmup, decay_fraction=share, decay_shape=shape) == pytest.approx(
        expected[1:], rel=1e-9, abs=1e-15
    )


def test_inverse_sqrt_is_the_paper_s(rates: Rates) -> None:
    """Vaswani et al. 2017, equation 3, whose peak is 1 / sqrt(width * warm-up)."""
    width, warmup = PEAK**-2 / 40, 40
    paper = [width**-0.5 * min(step**-0.5, step * warmup**-1.5) for step in range(1, STEPS + 1)]
    assert rates(kind="inverse_sqrt", warmup_steps=warmup) == pytest.approx(paper, rel=1e-9)


def test_restarts_are_the_paper_s(rates: Rates) -> None:
    """Loshchilov and Hutter 2016, equation 5, with T_cur counted within each cycle of T_0 * T_mult ** i steps."""
    paper, length = [], 16
    while len(paper) < STEPS:
        paper += [LOWEST + (PEAK - LOWEST) * (1 + math.cos(math.pi * now / length)) / 2 for now in range(1, length + 1)]
        length *= 2
    found = rates(kind="cosine_restarts", warmup_steps=0, cycle_steps=16, cycle_growth=2, min_learning_rate=LOWEST)
    assert found == pytest.approx(paper[:STEPS], rel=1e-9)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "kind",
    "constant step multi_step exponential linear polynomial inverse_sqrt cosine cosine_restarts wsd cyclical one_cycle".split(),
)
def test_defaults_are_whole_at_any_length(rates: Rates, kind: str, max_steps: int) -> None:
    """With nothing but a kind, rates are positive up to the last step, never above the peak, and the peak is met in a longer run."""
    try:
        found = rates(max_steps, kind=kind)
    except CompilationError as error:
        assert max_steps < 4 and [found.code for found in error.bag.errors] == ["LS316"]  # no cycle fits into so few steps
        return
    assert all(0 < rate <= PEAK * (1 + 1e-12) for rate in found[:-1])
    assert 0 <= found[-1] <= PEAK * (1 + 1e-12)
    assert max_steps < 100 or max(found) > 0.99 * PEAK
