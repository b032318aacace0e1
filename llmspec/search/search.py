"""From a spec and a goal to the best few layouts, each taken through the whole compiler."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmspec.catalog import Quote, accelerators, find_accelerator, prices_for
from llmspec.check import check
from llmspec.diagnostics import Bag, Diagnostic
from llmspec.estimate import Estimate, estimate
from llmspec.estimate.configuration import CHECKPOINTINGS, SCHEDULES
from llmspec.estimate.estimate import with_loss
from llmspec.estimate.loss import LossAssumptions
from llmspec.estimate.profile import Profile
from llmspec.network import describe
from llmspec.resolve import resolve
from llmspec.search import problems
from llmspec.search.amounts import MOST_TOKENS, loss_at, rounded_down, rounded_up, tokens_for_loss, with_tokens
from llmspec.search.amounts import sizes as sizes_of
from llmspec.search.score import COMPONENTS, Scored, score, tight_factor
from llmspec.search.space import (
    LAYOUT_RULES,
    Base,
    Changes,
    Point,
    Row,
    Space,
    buildable,
    is_built,
    space_of,
    text_of,
)
from llmspec.spec import compose, load
from llmspec.spec.schema import Spec
from llmspec.variants import NODES, WORTHWHILE, Case, analyze_case

# Of the rows that fit barely, so many of the fastest are looked at.
MOST_BARELY = 500
# Rows of one kind to try before it is given up, where the rules refuse what the columns allowed.
TRIES = 4
# Of all the devices that are looked at, so many go through the whole compiler: those nearest to the frontier.
MOST_POINTS = 40
MOST_DEVICES = 16_384
TOP = 5
# Numbers of nodes to look at for a goal.
_COUNTS = tuple(sorted({factor << power for power in range(12) for factor in (1, 3)}))


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
        fields = ((path, _field(own, path), _field(other, path)) for path, _ in found.changes)
        return [(path, before, after) for path, before, after in fields if before != after]


def read_base(
    path: Path, overrides: Sequence[str], bag: Bag, profile: Profile | None = None
) -> tuple[Base, Estimate | None, Diagnostic | None, bool]:
    """The spec, its own figures, or why its own layout cannot be. Raises where anything else is wrong with it."""
    composed = compose(path, overrides, bag)
    bag.raise_if_errors()
    spec = load(composed, bag)
    bag.raise_if_errors()
    resolved = resolve(composed, spec, bag)
    bag.raise_if_errors()
    network = describe(resolved)
    found = [one for one in check(resolved, network, None) if one.severity == "error"]
    bag.extend(one for one in found if one.code not in LAYOUT_RULES)
    bag.raise_if_errors()
    base = Base(composed, resolved, network)
    if find_accelerator(resolved.spec.hardware.accelerator).is_cpu:  # type: ignore[union-attr]  # a rule has made sure that it is there
        bag.add(problems.on_processor(resolved))
        bag.raise_if_errors()
    if found:
        return base, None, found[0], buildable(resolved)
    own = estimate(resolved, network)
    if profile is not None:
        own = profile.calibrated(resolved, network, own, bag)
        bag.raise_if_errors()
    return base, own, None, buildable(resolved)


def search(
    path: Path,
    overrides: Sequence[str],
    request: Request,
    bag: Bag,
    assumptions: LossAssumptions | None = None,
    profile: Profile | None = None,
) -> Result:
    """Search. Raises `CompilationError` where the spec or the request is wrong.

    Args:
        path: The spec file.
        overrides: Values of `--set`.
        request: What is searched.
        bag: Takes the diagnostics.
        assumptions: What the loss rests on beside the spec.
        profile: What runs that were measured have taught of the spec's accelerator.
    """
    base, own, own_error, own_buildable = read_base(path, overrides, bag, profile)
    if own is not None and assumptions is not None:
        own = with_loss(own, base.resolved, assumptions)
    return _Seeker(path, overrides, base, own, request, assumptions, profile, bag).result(own_error, own_buildable)


def _field(spec: Spec, path: str) -> object:
    value: object = spec
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


class _Option(NamedTuple):
    """The best row on some devices, of one size of the model; figures are near those of the compiler, which has the last word."""

    scored: Scored
    size: Changes
    hours_a_token: float
    usd_a_token: float | None
    tokens: float
    loss: float | None

    @property
    def hours(self) -> float:
        return self.hours_a_token * self.tokens

    @property
    def usd(self) -> float | None:
        return None if self.usd_a_token is None else self.usd_a_token * self.tokens


class _Seeker:
    """One search under way."""

    def __init__(
        self,
        path: Path,
        overrides: Sequence[str],
        base: Base,
        own: Estimate | None,
        request: Request,
        assumptions: LossAssumptions | None,
        profile: Profile | None,
        bag: Bag,
    ) -> None:
        self.path, self.overrides, self.base, self.own, self.request, self.bag = path, overrides, base, own, request, bag
        self.assumptions, self.profile = assumptions, profile
        self.tight = tight_factor()
        self.spaces: dict[tuple[Changes, str], Space | None] = {}
        self.scored: list[Scored] = []
        self.refused: dict[str, str] = {}

    # Where to look

    def here(self) -> Point:
        """The spec's own devices."""
        hardware = self.base.resolved.spec.hardware
        return Point(hardware.accelerator, hardware.nodes, hardware.accelerators_per_node)

    def kinds(self) -> list[str]:
        """The accelerators to look at."""
        wanted, own = self.request.accelerators, self.here().accelerator
        if not wanted:
            return [own]
        if "all" in wanted:
            device = find_accelerator(own)
            assert device is not None
            precision = self.base.resolved.spec.precision
            names = [name for name, one in accelerators().items() if not one.is_cpu and self.quotes(name) and one.supports(precision)]
            return list(dict.fromkeys((own, *names)))
        for name in wanted:
            found = find_accelerator(name)
            if found is None:
                self.bag.add(problems.unknown_accelerator(name, ",".join(wanted)))
            elif found.is_cpu:
                self.bag.add(problems.unknown_accelerator(name, ",".join(wanted), processor=True))
        self.bag.raise_if_errors()
        return list(dict.fromkeys(wanted))

    def places(self) -> list[Point]:
        """All devices to look at, the spec's own first."""
        here = self.here()
        own_price = not isinstance(self.base.resolved.spec.hardware.price, str)
        found: list[Point] = []
        prices = self.prices()
        for kind in self.kinds():
            device = find_accelerator(kind)
            assert device is not None
            own = kind == here.accelerator
            if self.request.providers and kind not in prices:
                continue
            per_node = here.per_node if own else device.accelerators_per_node
            price = prices.get(kind, "on_demand" if own_price and not own else None)
            counts = self.request.nodes or ((here.nodes,) if own else (max(1, here.nodes * here.per_node // per_node),))
            if not self.request.nodes and self.request.goal.given:
                counts = tuple(count for count in _COUNTS if count * per_node <= MOST_DEVICES)
            found += [Point(kind, count, per_node, price) for count in counts]
        return found

    def prices(self) -> dict[str, float]:
        """The cheapest quote of the providers that were asked for, by accelerator."""
        wanted = self.request.providers
        if not wanted:
            return {}
        market = self.base.resolved.spec.hardware.price
        market = market if isinstance(market, str) else "on_demand"
        kinds = self.kinds()
        known = {quote.provider for kind in kinds for quote in self.quotes(kind) if quote.price(market) is not None}
        for name in wanted:
            if name not in known:
                self.bag.add(problems.no_such_provider(name, sorted(known), kinds))
        self.bag.raise_if_errors()
        prices: dict[str, float] = {}
        for kind in kinds:
            found = [quote.price(market) for quote in self.quotes(kind) if quote.provider in wanted]
            if amounts := [price for price in found if price is not None]:
                prices[kind] = min(amounts)
        return prices

    def quotes(self, kind: str) -> tuple[Quote, ...]:
        """What is asked for an accelerator, in the spec's own file of prices or in the catalog."""
        own = self.base.resolved.own_quotes
        return own[kind] if kind in own else prices_for(kind)

    def space(self, size: Changes, base: Base, point: Point) -> Space | None:
        """The families of a size of the model on an accelerator."""
        key = size, point.accelerator
        if key not in self.spaces:
            self.spaces[key] = space_of(base, size, point.accelerator, point.per_node, self.tight)
        return self.spaces[key]

    def look(self, size: Changes, base: Base, point: Point, *, built_only: bool) -> Scored | None:
        """Score all layouts on some devices."""
        space = self.space(size, base, point)
        if space is None:
            return None
        scored = score(space, point, built_only=built_only, profile=self.profile_on(point))
        self.scored.append(scored)
        self.refused |= {name: code for name, code in space.refused.items() if name not in self.refused}
        return scored

    def profile_on(self, point: Point) -> Profile | None:
        """The profile, where it says something: what was measured on one kind of accelerator says nothing of others."""
        return self.profile if point.accelerator == self.here().accelerator else None

    # What to take

    def finalist(self, scored: Scored, index: int, size: Changes = (), tokens: Changes = ()) -> Finalist | None:
        """A row taken through the whole compiler; None where a rule refuses it."""
        row = scored.columns.row(index)
        changes = (*size, *fields_of(scored.space, scored.point, row, self.base), *tokens)
        case = analyze_case(self.path, self.overrides, changes, self.profile_on(scored.point))
        analysis = case.analysis
        if analysis is None:
            return None
        if self.assumptions is not None:
            analysis = replace(analysis, estimate=with_loss(analysis.estimate, analysis.resolved, self.assumptions))
        case = case._replace(analysis=analysis)
        scores = scored.scores
        return Finalist(scored.point, changes, case, buildable(analysis.resolved), float(scores.seconds[index]), float(scores.peak[index]))

    def first(self, scored: Scored, order: Sequence[int], size: Changes = (), tokens: Changes = ()) -> Finalist | None:
        """The first row that the rules let through."""
        for index in order[:TRIES]:
            found = self.finalist(scored, int(index), size, tokens)
            if found is not None and found.estimate.memory.fits:
                return found
        return None

    def here_and_now(self, scored: Scored) -> tuple[list[Finalist], list[Finalist], Finalist | None]:
        """On one set of devices: the best of each kind that is built, better ones that are not, and the fastest that fits barely."""
        best: list[Finalist] = []
        unbuilt: list[Finalist] = []
        kinds = by_kind(scored, scored.safe)
        if not kinds:
            kinds = by_kind(scored, scored.scores.fits)
        for order in kinds:
            row = scored.columns.row(order[0])
            built = self.request.unbuilt or is_built(scored.space, row.member, row)
            if built and len(best) < self.request.top:
                found = self.first(scored, order)
                best += [found] if found is not None else []
            elif not built and not best and len(unbuilt) < self.request.top:
                found = self.first(scored, order)
                unbuilt += [found] if found is not None else []
            if len(best) == self.request.top:
                break
        tight = None
        if best:
            pace = paces(scored)
            barely = scored.scores.fits & ~scored.safe
            fastest = pace[scored.safe].min() if scored.safe.any() else pace[scored.scores.fits].min()
            faster = np.flatnonzero(barely & (pace < fastest * (1 - WORTHWHILE)))
            quickest = [int(index) for index in faster[np.argsort(pace[faster], kind="stable")[:MOST_BARELY]]]
            rows = {index: scored.columns.row(index) for index in quickest}
            tight = self.first(scored, [index for index, row in rows.items() if is_built(scored.space, row.member, row)])
        return sorted(best, key=lambda one: one.pace), sorted(unbuilt, key=lambda one: one.pace), tight

    # Over many devices

    def options(self, sizes: Sequence[tuple[Changes, Base]], places: Sequence[Point]) -> list[_Option]:
        """The fastest row on each of the devices, for each size of the model, with tokens that suit the goal."""
        goal, found = self.request.goal, []
        rates: dict[str, tuple[float, float | None]] = {}
        for size, base in sizes:
            training = base.resolved.spec.training
            wanted: float | None = None
            if goal.loss is not None:
                wanted = tokens_for_loss(base, size, goal.loss, self.assumptions or LossAssumptions())
                if wanted is None:
                    continue
                wanted = float(rounded_up(wanted))
            for point in places:
                scored = self.look(size, base, point, built_only=not self.request.unbuilt)
                order = self.order(scored) if scored is not None else []
                if scored is None or not len(order):
                    continue
                if point.accelerator not in rates:
                    first = self.first(scored, order, size)
                    if first is None:
                        continue
                    price, clock = first.estimate.money.price, first.estimate.wall_clock
                    rates[point.accelerator] = clock.goodput.goodput.value, None if price is None else price.value
                goodput, usd = rates[point.accelerator]
                hours = float(paces(scored)[order[0]]) / training.sequence_length / 3600 / goodput
                money = None if usd is None else hours * point.devices * usd
                tokens = wanted if wanted is not None else self.affordable(training.max_tokens, hours, money)
                loss = None
                if self.varies and goal.loss is None:
                    loss = loss_at(base, size, tokens, self.assumptions or LossAssumptions())
                found.append(_Option(scored, size, hours, money, tokens, loss))
        return found

    @property
    def varies(self) -> bool:
        """Whether the number of tokens follows from the goal."""
        return self.request.vary_size or self.request.vary_tokens

    def affordable(self, own: int, hours: float, usd: float | None) -> float:
        """The tokens that the goal leaves room for; the spec's own where they are not to be changed."""
        goal = self.request.goal
        if not self.varies:
            return float(own)
        limits = [goal.deadline / hours] if goal.deadline is not None else []
        if goal.budget is not None and usd is not None:
            limits.append(goal.budget / usd)
        return float(rounded_down(min(limits))) if limits else float(own)

    def order(self, scored: Scored) -> Any:
        """Rows that fit with a margin, the best first; those that fit barely where none does."""
        pace = paces(scored)
        for fits in (scored.safe, scored.scores.fits):
            some = np.flatnonzero(fits)
            if len(some):
                # Those that are as good as the fastest come first, the one that changes least before the others.
                near = pace[some] <= pace[some].min() * (1 + WORTHWHILE)
                return some[np.lexsort((pace[some], np.where(near, distances(scored)[some], 0), ~near))]
        return np.zeros(0, dtype=int)

    def key_of(self, found: Finalist) -> tuple[float, ...]:
        """What is better comes first."""
        return self.key(found.hours, found.usd, found.loss, found.cut)

    def key(self, hours: float, usd: float | None, loss: float | None, cut: float = 0.0) -> tuple[float, ...]:
        """What is better comes first: whether the goal is reached by the whole run, then what it is about."""
        goal = self.request.goal
        money = usd if usd is not None else np.inf
        late = max(0.0, hours / goal.deadline - 1) if goal.deadline is not None else 0.0
        dear = max(0.0, money / goal.budget - 1) if goal.budget is not None else 0.0
        poor = max(0.0, loss / goal.loss - 1) if goal.loss is not None and loss is not None else 0.0
        missed = late + dear + poor + cut
        missed = missed if missed > 1e-9 else 0.0
        if goal.loss is not None or (goal.deadline is not None and not self.varies):
            return missed, money, hours
        if self.varies:
            return missed, loss if loss is not None else np.inf, money, hours
        return missed, hours, money

    def over(self, options: Sequence[_Option]) -> list[Finalist]:
        """Those options that can matter, through the whole compiler."""
        chosen = near_frontier([(option.hours, option.usd) for option in options], MOST_POINTS)
        first = sorted(range(len(options)), key=lambda i: self.key(options[i].hours, options[i].usd, options[i].loss))
        taken = dict.fromkeys((*first[: self.request.top + 3], *(chosen if not self.varies else ())))
        found = [self.exact(options[index]) for index in taken]
        return [one for one in found if one is not None]

    def exact(self, option: _Option) -> Finalist | None:
        """An option with the compiler's figures; where tokens follow from the goal they are trimmed until it is kept."""
        order, goal = self.order(option.scored), self.request.goal
        if not self.varies and goal.loss is None:
            return self.first(option.scored, order, option.size)
        tokens = option.tokens
        found = None
        for _ in range(TRIES):
            found = self.first(option.scored, order, option.size, with_tokens(self.base, tokens))
            if found is None:
                return None
            if goal.loss is not None:
                if found.loss <= goal.loss:
                    break
                tokens = rounded_up(tokens * 1.03)
                continue
            over = [found.hours / goal.deadline] if goal.deadline is not None else []
            over += [found.usd / goal.budget] if goal.budget is not None and found.usd is not None else []
            if max(over, default=0.0) <= 1:
                break
            tokens = rounded_down(tokens / max(over))
        return found

    def result(self, own_error: Diagnostic | None, own_buildable: bool) -> Result:
        """Everything that is told."""
        request, goal = self.request, self.request.goal
        many = goal.given or bool(request.nodes) or bool(request.accelerators) or bool(request.providers)
        places = self.places()
        if request.providers and not places:
            self.bag.raise_if_errors()
        best: list[Finalist] = []
        unbuilt: list[Finalist] = []
        tight = bought = None
        if many:
            if goal.loss is not None:
                self.check_loss()
            sizes = list(sizes_of(self.base)) if request.vary_size else [((), self.base)]
            options = self.options(sizes, places)
            points = self.over(options)
            if goal.budget is not None and points and all(one.usd is None for one in points):
                self.bag.add(problems.no_price(self.base.resolved, list(dict.fromkeys(point.accelerator for point in places))))
                self.bag.raise_if_errors()
            points.sort(key=self.key_of)
            best = points[: request.top]
            reached = bool(points) and self.key_of(points[0])[0] == 0
            if goal.budget is not None and not self.varies and goal.loss is None:
                bought = self.bought(options)
        else:
            scored = self.look((), self.base, places[0], built_only=False)
            if scored is not None:
                best, unbuilt, tight = self.here_and_now(scored)
            reached = bool(best) or bool(unbuilt)
            points = best[:1] or unbuilt[:1]
            # Told of the spec's own devices; others are looked at for the frontier alone.
            fitting, candidates, blame = *self.counted(), self.blamed()
            if points:
                others = [
                    places[0]._replace(nodes=count)
                    for count in sorted({int(places[0].nodes * share) for share in NODES if (places[0].nodes * share) % 1 == 0})
                    if 0 < count != places[0].nodes and count * places[0].per_node <= MOST_DEVICES
                ]
                points = points + self.over(self.options([((), self.base)], others))
        if not best and not unbuilt:
            self.nothing(places)
        if many:
            fitting, candidates, blame = *self.counted(), self.blamed()
        points = sorted(points, key=lambda one: (one.hours, one.usd or 0.0))
        return Result(
            base=self.base,
            own=self.own,
            own_error=own_error,
            own_buildable=own_buildable,
            candidates=candidates,
            fitting=fitting,
            blame=blame,
            refused=self.refused,
            best=tuple(best),
            unbuilt=tuple(unbuilt),
            tight=tight,
            points=tuple(points),
            frontier=tuple(frontier(points)),
            bought=bought,
            request=request,
            reached=reached,
        )

    def counted(self) -> tuple[int, int]:
        """How many candidates fit, and how many there were."""
        return sum(int(one.scores.fits.sum()) for one in self.scored), sum(len(one.columns) for one in self.scored)

    def blamed(self) -> dict[str, int]:
        """How many do not fit, by the component that takes most, the most frequent first."""
        counts = np.zeros(len(COMPONENTS), dtype=int)
        for one in self.scored:
            counts += np.bincount(one.scores.blame[one.scores.blame >= 0], minlength=len(COMPONENTS))
        order = sorted(range(len(COMPONENTS)), key=lambda i: (-counts[i], i))
        return {COMPONENTS[i]: int(counts[i]) for i in order if counts[i]}

    def check_loss(self) -> None:
        """A loss that no number of tokens reaches is said to be so."""
        goal = self.request.goal.loss
        assert goal is not None
        sizes = list(sizes_of(self.base)) if self.request.vary_size else [((), self.base)]
        lowest = [loss_at(base, size, MOST_TOKENS, self.assumptions or LossAssumptions()) for size, base in sizes]
        least = min((loss for loss in lowest if loss is not None), default=0.0)
        if least > goal:
            self.bag.add(problems.never_that_low(self.base.resolved, goal, least, varied=self.request.vary_size))
            self.bag.raise_if_errors()

    def bought(self, options: Sequence[_Option]) -> Finalist | None:
        """What the budget buys where tokens may change: the longest run of this model."""
        priced = [option for option in options if option.usd_a_token is not None]
        if not priced:
            return None
        request = self.request
        try:
            self.request = request._replace(vary_tokens=True)
            for option in sorted(priced, key=lambda one: (one.usd_a_token or 0.0, one.hours_a_token)):
                tokens = self.affordable(0, option.hours_a_token, option.usd_a_token)
                found = self.exact(option._replace(tokens=tokens))
                if found is not None:
                    return found
        finally:
            self.request = request
        return None

    def nothing(self, places: Sequence[Point]) -> None:
        """Say that nothing fits, and what is to blame. Raises."""
        fitting, candidates = self.counted()
        blame = self.blamed()
        where = f"{len(places)} choices of devices" if len(places) > 1 else f"{places[0].devices:,} x `{places[0].accelerator}`"
        hints = []
        if not candidates:
            what = f"no layout of this model divides the batch over {where}"
            refusals = ", ".join(f"{name} ({code})" for name, code in self.refused.items())
            hints.append(f"rules refuse {refusals}" if refusals else "use another `global_batch_size`, or other `--nodes`")
        elif fitting:
            what = f"of {candidates:,} layouts on {where} none that fits can be built yet"
            hints.append("add `--unbuilt` to see them")
        else:
            what = f"none of {candidates:,} layouts fits on {where}"
            named = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in list(blame.items())[:4])
            hints.append(f"what takes most: {named}")
            hints.append("search more devices with `--nodes`, or others with `--accelerators`")
        self.bag.add(problems.nothing_fits(self.base.resolved, what, *hints))
        self.bag.raise_if_errors()


def paces(scored: Scored) -> Any:
    """Seconds for one sequence, of each row."""
    return scored.scores.seconds / scored.columns.batch


def distances(scored: Scored) -> Any:
    """In how many fields each row differs from the spec's own layout."""
    columns, spec = scored.columns, scored.space.base.resolved.spec
    layout = spec.parallelism
    families = []
    for member in scored.space.members:
        wanted = ((_field(spec, path), value) for path, value in member.family.wanted().items() if value is not None)
        families.append(sum(own != value for own, value in wanted))
    differ = np.array(families)[columns.member]
    numbers = {
        "tensor": layout.tensor,
        "pipeline": layout.pipeline,
        "context": layout.context,
        "micro_batch": spec.training.micro_batch_size,
        "checkpointing": list(CHECKPOINTINGS).index(layout.activation_checkpointing),
        "shard_size": layout.shard_size,
    }
    return differ + sum((getattr(columns, name) != own).astype(int) for name, own in numbers.items())


def by_kind(scored: Scored, fits: Any) -> list[list[int]]:
    """Rows that fit by kind of layout, the kinds by their fastest, a few of each: of those as good as its fastest, what changes least."""
    some = np.flatnonzero(fits)
    order = some[np.argsort(paces(scored)[some], kind="stable")]
    columns = scored.columns
    families = [member.family._replace(compile=False, reshard=None) for member in scored.space.members]
    number = np.array([families.index(family) for family in families])
    key = number[columns.member[order]]
    for column in (columns.tensor, columns.pipeline, columns.context, columns.expert):
        values, place = np.unique(column, return_inverse=True)
        key = key * len(values) + place[order]
    kinds: dict[int, list[int]] = {}
    pace, distance = paces(scored), distances(scored)
    first, inverse = np.unique(key, return_index=True)[1], np.unique(key, return_inverse=True)[1]
    for kind in np.argsort(first, kind="stable"):
        rows = order[np.flatnonzero(inverse == kind)]
        near = rows[pace[rows] <= pace[rows[0]] * (1 + WORTHWHILE)]
        near = near[np.lexsort((pace[near], distance[near]))]
        kinds[int(kind)] = [int(index) for index in (*near, *rows[len(near) :])][:TRIES]
    return list(kinds.values())


def near_frontier(points: Sequence[tuple[float, float | None]], most: int) -> list[int]:
    """The points that are beaten least in both time and money, the nearest to the frontier first."""
    if not points:
        return []
    hours = np.array([hours for hours, _ in points])
    money = np.array([usd if usd is not None else 1.0 for _, usd in points])
    beaten = np.minimum(hours[:, None] / hours[None, :], money[:, None] / money[None, :]).max(axis=1)
    return [int(index) for index in np.argsort(beaten, kind="stable")[:most]]


def frontier(points: Sequence[Finalist]) -> Iterator[Finalist]:
    """Those that no other beats in time and money; the fastest first."""
    least = np.inf
    for one in points:
        if one.usd is not None and one.usd < least:
            least = one.usd
            yield one


def fields_of(space: Space, point: Point, row: Row, base: Base) -> Changes:
    """A row as fields of a spec, all of them written out; null where one must not stand there."""
    written = base.composed.node
    wanted: dict[str, object] = space.members[row.member].family.wanted()
    wanted |= {
        "parallelism.tensor": int(row.tensor),
        "parallelism.pipeline": int(row.pipeline),
        "parallelism.pipeline_schedule": list(SCHEDULES)[row.schedule],
        "parallelism.stages_per_device": int(row.virtual),
        "parallelism.context": int(row.context),
        "parallelism.expert": int(row.expert),
        "parallelism.activation_checkpointing": list(CHECKPOINTINGS)[row.checkpointing],
        "training.micro_batch_size": int(row.micro_batch),
        "parallelism.shard_size": int(row.shard_size) if space.members[row.member].family.data == "hsdp" else None,
        "parallelism.sequence_parallel": bool(row.sequence_parallel) if row.tensor > 1 else None,
    }
    hardware = base.resolved.spec.hardware
    wanted["hardware.nodes"] = point.nodes
    if point.accelerator != hardware.accelerator:
        wanted["hardware.accelerator"] = point.accelerator
    wanted["hardware.accelerators_per_node"] = point.per_node
    if point.price is not None:
        wanted["hardware.price"] = point.price
    there = {name: node for name in wanted if (node := written(name)) is not None and node.value is not None}
    return tuple((name, text_of(value)) for name, value in wanted.items() if value is not None or name in there)
