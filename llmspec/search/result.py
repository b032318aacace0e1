"""What a search is asked and what it found."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.diagnostics import Diagnostic
from llmspec.estimate import Estimate
from llmspec.search.space import Base, Changes, Point
from llmspec.spec.schema import Spec
from llmspec.variants import WORTHWHILE, Case

TOP = 5


class Goal(NamedTuple):
    """What is wanted; None is no limit."""

    budget: float | None = None
    """US dollars."""
    deadline: float | None = None
    """Hours."""
    loss: float | None = None
    """Nats a token."""

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self != Goal()


class Request(NamedTuple):
    """What is searched."""

    goal: Goal = Goal()
    accelerators: tuple[str, ...] = ()
    """Empty is the spec's own; `all` every one that somebody rents out."""
    nodes: tuple[int, ...] = ()
    """Empty is the spec's own, and others for the frontier and for a goal."""
    providers: tuple[str, ...] = ()
    vary_size: bool = False
    vary_tokens: bool = False
    unbuilt: bool = False
    """Whether layouts that cannot be built yet may win."""
    top: int = TOP


class Finalist(NamedTuple):
    """A layout that went through the whole compiler."""

    point: Point
    changes: Changes
    case: Case
    buildable: bool
    seconds: float
    """Of a step, as the pass over columns has it; the estimate says the same."""
    peak: float
    """Bytes, likewise."""

    @property
    def estimate(self) -> Estimate:
        """Its figures."""
        assert self.case.estimate is not None
        return self.case.estimate

    @property
    def pace(self) -> float:
        """Seconds for one sequence, as the compiler has it."""
        assert self.case.analysis is not None
        return self.estimate.step_time.step.value / self.case.analysis.resolved.spec.training.global_batch_size

    @property
    def hours(self) -> float:
        """Wall-clock."""
        return self.estimate.wall_clock.total_hours.value

    @property
    def cut(self) -> float:
        """Share of the run that `max_duration` cuts off."""
        clock = self.estimate.wall_clock
        return (
            max(0.0, 1 - clock.total_hours.value * clock.goodput.goodput.value / clock.training_hours.value) if clock.stops_early else 0.0
        )

    @property
    def usd(self) -> float | None:
        """What it costs; None where nobody quotes the device."""
        return self.estimate.money.cost and self.estimate.money.cost.value

    @property
    def loss(self) -> float:
        """What it is expected to reach."""
        return self.estimate.loss.expected.value


class Result(NamedTuple):
    """What a search found."""

    base: Base
    own: Estimate | None
    """The spec as it is; None where a rule refuses its layout."""
    own_error: Diagnostic | None
    own_buildable: bool
    candidates: int
    fitting: int
    blame: Mapping[str, int]
    """How many do not fit, by the component that takes most."""
    refused: Mapping[str, str]
    """Families that a rule refuses, by the code of the rule."""
    best: tuple[Finalist, ...]
    """The best of each kind that can be built today, the best first."""
    unbuilt: tuple[Finalist, ...]
    """Those that would be better and are not built yet."""
    tight: Finalist | None
    """The fastest one where it fits only barely and is faster than all that fit safely."""
    points: tuple[Finalist, ...]
    """The best on each number and kind of devices that was looked at, by time."""
    frontier: tuple[Finalist, ...]
    """Those of them that no other beats in time and money."""
    bought: Finalist | None
    """The longest run that a budget buys, where the spec's tokens were kept otherwise."""
    request: Request
    reached: bool
    """Whether the goal can be reached at all; the first of `best` then reaches it."""

    @property
    def own_is_best(self) -> bool:
        """Whether no layout that was found is better by more than a hundredth than the spec's own."""
        own, training = self.own, self.base.resolved.spec.training
        if own is None or not self.best or self.request != Request(top=self.request.top, unbuilt=self.request.unbuilt):
            return False
        pace = own.step_time.step.value / training.global_batch_size
        good = own.memory.fits and not own.memory.tight and (self.own_buildable or self.request.unbuilt)
        return good and pace <= self.best[0].pace * (1 + WORTHWHILE)

    @property
    def suggested(self) -> Finalist | None:
        """What `--apply` writes: of those that are as good as the best one, that which changes least; None to leave the spec as it is."""
        if not self.best or self.own_is_best:
            return None
        if self.request.goal.given:
            return self.best[0]
        near = [found for found in self.best if found.pace <= self.best[0].pace * (1 + WORTHWHILE) and found.point == self.best[0].point]
        return min(near, key=lambda found: len(self.differences(found)))

    def differences(self, found: Finalist) -> list[tuple[str, object, object]]:
        """Fields that differ from the spec as it is resolved: the field, what it was, what it is."""
        assert found.case.analysis is not None
        own, other = self.base.resolved.spec, found.case.analysis.resolved.spec
        fields = ((path, field_of(own, path), field_of(other, path)) for path, _ in found.changes)
        return [(path, before, after) for path, before, after in fields if before != after]


def field_of(spec: Spec, path: str) -> object:
    """The value at a path of a spec, such as `training.compile`; None where a section is not there."""
    value: object = spec
    for name in path.split("."):
        value = getattr(value, name, None)
    return value
