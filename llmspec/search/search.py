"""From a spec and a goal to the best few layouts, each taken through the whole compiler."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmspec.catalog import Quote, accelerators, find_accelerator, prices_for
from llmspec.check import check
from llmspec.diagnostics import Bag, Diagnostic
from llmspec.estimate import Estimate, estimate
from llmspec.estimate.estimate import with_loss
from llmspec.estimate.loss import LossAssumptions
from llmspec.estimate.profile import Profile
from llmspec.network import describe
from llmspec.resolve import resolve
from llmspec.search import problems
from llmspec.search.amounts import MOST_TOKENS, loss_at, rounded_down, rounded_up, tokens_for_loss, with_tokens
from llmspec.search.amounts import sizes as sizes_of
from llmspec.search.ranking import TRIES, by_kind, distances, fields_of, frontier, near_frontier, paces
from llmspec.search.result import Finalist, Request, Result
from llmspec.search.score import COMPONENTS, Scored, score, tight_factor
from llmspec.search.space import (
    LAYOUT_RULES,
    Base,
    Changes,
    Point,
    Space,
    buildable,
    is_built,
    space_of,
)
from llmspec.spec import compose, load
from llmspec.variants import NODES, WORTHWHILE, analyze_case

# Of the rows that fit barely, so many of the fastest are looked at.
MOST_BARELY = 500
# Of all the devices that are looked at, so many go through the whole compiler: those nearest to the frontier.
MOST_POINTS = 40
MOST_DEVICES = 16_384
# Numbers of nodes to look at for a goal.
_COUNTS = tuple(sorted({factor << power for power in range(12) for factor in (1, 3)}))


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
