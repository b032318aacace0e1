"""A spec beside others: with other values in some fields, on more or fewer nodes, with the one change that helps most.

Each variant goes through the passes of `llmspec.compile` as if somebody had written it, so that what the rules refuse is never offered.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmspec.catalog import accelerators, find_accelerator, prices_for
from llmspec.check import check, check_buildable
from llmspec.compile import Analysis, analyze
from llmspec.diagnostics import Bag, CompilationError, Diagnostic, Span
from llmspec.diagnostics.codes import problem
from llmspec.estimate import Estimate, estimate
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.configuration import configuration_of, layout_of
from llmspec.estimate.constants import step_constants
from llmspec.estimate.device import describe_device
from llmspec.estimate.memory import estimate_memory
from llmspec.estimate.step_model import step_parts
from llmspec.estimate.step_time import parts_of
from llmspec.resolve import Resolved, resolve, with_field
from llmspec.spec import Composed, load, with_overrides

if TYPE_CHECKING:
    from llmspec.estimate.profile import Profile

WHAT_IF = "--what-if"
MOST_VARIATIONS = 400
# A change that saves less than this share of a step is not worth its mention.
WORTHWHILE = 0.01
# Node counts to look at, as shares of the spec's own.
NODES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 3, 4, 6, 8, 16, 32)
NODES_OF_OTHERS = (1 / 4, 1 / 2, 1, 2, 4)
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


class Case(NamedTuple):
    """One spec as it was estimated, or why it was not."""

    spec: Path
    changes: tuple[tuple[str, str], ...]
    """Fields and values that differ from the file."""
    bag: Bag
    analysis: Analysis | None

    @property
    def estimate(self) -> Estimate | None:
        """Its figures; None where it has an error."""
        return None if self.analysis is None else self.analysis.estimate

    @property
    def error(self) -> Diagnostic | None:
        """The first error; None where there is none."""
        return self.bag.errors[0] if self.analysis is None else None


class Change(NamedTuple):
    """A change of one field that makes a step shorter and still fits."""

    field: str
    value: str
    before: str
    estimate: Estimate
    saves: float
    """Share of a step's time."""


def analyze_case(spec: Path, overrides: Sequence[str], changes: Sequence[tuple[str, str]] = (), profile: "Profile | None" = None) -> Case:
    """Analyse one spec with some fields changed, into a bag of its own."""
    bag = Bag()
    try:
        analysis = analyze(spec, (*overrides, *(f"{field}={value}" for field, value in changes)), bag, to_build=False, profile=profile)
    except CompilationError:
        return Case(spec, tuple(changes), bag, None)
    return Case(spec, tuple(changes), bag, analysis)


def variations(what_if: Sequence[str], bag: Bag) -> list[tuple[tuple[str, str], ...]]:
    """Every combination of the values of `--what-if FIELD=VALUE,VALUE`; the last one changes fastest."""
    axes: list[list[tuple[str, str]]] = []
    for line, text in enumerate(what_if, start=1):
        field, _, rest = text.partition("=")
        values = list(_values(rest))
        if not field or not all(values):
            bag.sources[WHAT_IF] = "\n".join(" ".join(one.splitlines()) for one in what_if)
            reason = f"`{field}` is given no value" if field and not any(values) else f"`{text}` is not FIELD=VALUE,VALUE"
            place = Span(WHAT_IF, line, 1, line, max(2, len(text) + 1))
            bag.add(problem("LS524", reason, place, help=["write `--what-if training.micro_batch_size=1,2,4`"]))
        axes.append([(field, value) for value in dict.fromkeys(values)])
    bag.raise_if_errors()
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > MOST_VARIATIONS:
        bag.sources[WHAT_IF] = "\n".join(" ".join(one.splitlines()) for one in what_if)
        sizes = " * ".join(str(len(axis)) for axis in axes)
        place = Span(WHAT_IF, 1, 1, 1, max(2, len(what_if[0]) + 1))
        message = f"{sizes} = {count:,} variations, of which no table is read; {MOST_VARIATIONS} is the most"
        bag.add(problem("LS525", message, place, help=["vary fewer fields, or fewer values of each"]))
        bag.raise_if_errors()
    return list(product(*axes))


def _values(text: str) -> Iterator[str]:
    """What stands between the commas that are not inside brackets or quotes."""
    start = depth = 0
    quote = ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "," and depth == 0:
            yield text[start:index].strip()
            start = index + 1
        else:
            depth += _BRACKETS.get(character, 0)
    yield text[start:].strip()


def over_nodes(spec: Path, overrides: Sequence[str], base: Analysis) -> list[Case]:
    """The spec on fewer and more nodes, as far as its batch and its layout divide and it fits, the fewest first."""
    return [case for case in _on(spec, overrides, base, None, NODES) if case.analysis is not None]


def on_other_accelerators(spec: Path, overrides: Sequence[str], base: Analysis) -> list[Case]:
    """The spec on other accelerators that somebody rents out, on some numbers of nodes, where that fits."""
    own = base.resolved.spec.hardware.accelerator
    if base.estimate.money.cost is None or not isinstance(base.resolved.spec.hardware.price, str):
        return []
    kind = find_accelerator(own)
    names = [
        name
        for name, device in accelerators().items()
        if name != own
        and kind is not None
        and device.is_cpu == kind.is_cpu
        and (name in base.resolved.own_quotes or prices_for(name))
        and device.supports(base.resolved.spec.precision)
    ]
    return [case for name in names for case in _on(spec, overrides, base, name, NODES_OF_OTHERS) if case.analysis is not None]


def _on(spec: Path, overrides: Sequence[str], base: Analysis, accelerator: str | None, shares: Sequence[float]) -> Iterator[Case]:
    nodes = base.resolved.spec.hardware.nodes
    batch, layout = base.resolved.spec.training.global_batch_size, base.resolved.spec.parallelism
    together = layout.tensor * layout.pipeline * layout.context
    for count in sorted({int(nodes * share) for share in shares if nodes * share >= 1 and nodes * share == int(nodes * share)}):
        devices = count * base.resolved.spec.hardware.accelerators_per_node
        # What cannot be is not worth the passes; what may be is left to the rules.
        if devices % together or batch % (devices // together):
            continue
        changes = [("hardware.nodes", str(count))]
        if accelerator is not None:
            changes.append(("hardware.accelerator", accelerator))
        # What was learned on one kind of device says nothing about another.
        yield analyze_case(spec, overrides, changes, base.profile if accelerator is None else None)


def best_change(analysis: Analysis) -> Change | None:
    """The change of one field that makes a step shortest, among those that fit, that the rules allow and that train the same model.

    All are ranked by the analytic core on a copy of the spec, which takes no time. The fastest then goes through the passes as if it
    had been written; where it does not come through, the next one does.
    """
    resolved, network = analysis.resolved, analysis.network
    device = describe_device(resolved)
    # What a profile says about the spec holds for its variants here: what differs between them is then the change alone.
    corrections = analysis.estimate.calibration
    enough = analysis.estimate.step_time.step.value * (1 - WORTHWHILE)
    enough_plain = enough / corrections.step.factor if corrections is not None else enough
    configuration = configuration_of(resolved, network, device.accelerator)
    faster: list[tuple[float, str, str, Resolved]] = []
    for field, value in _single_changes(resolved, on_cpu=device.is_processor):
        copied = with_field(resolved, field, value)
        if not _divides(copied):
            continue
        if device.is_processor:
            seconds = sum(parts_of(copied, network, device).values())
        else:
            seconds = sum(
                step_parts(
                    SCALARS, configuration._replace(layout=layout_of(copied, network, like=configuration.layout)), step_constants()
                ).values()
            )
        if seconds < enough_plain:
            faster.append((seconds, field, str(value).lower(), copied))
    buildable = not list(check_buildable(resolved))
    for _, field, value, copied in sorted(faster, key=lambda entry: entry[:3]):
        if not estimate_memory(copied, network, device, corrections and corrections.memory).fits:
            continue
        variant = changed(analysis.composed, ((field, value),))
        if variant is None or _has_error(check(variant, network, None)) or (buildable and any(True for _ in check_buildable(variant))):
            continue
        figures = estimate(variant, network, corrections)
        memory, seconds = figures.memory, figures.step_time.step.value
        acceptable = memory.fits and (analysis.estimate.memory.tight or not memory.tight)
        if acceptable and seconds < enough and not _has_error(check(variant, network, figures)):
            return Change(field, value, _written(resolved, field), figures, 1 - seconds / analysis.estimate.step_time.step.value)
    return None


def _divides(resolved: Resolved) -> bool:
    """Whether devices and batch are shared out without a rest, as the core takes for granted."""
    layout, training = resolved.spec.parallelism, resolved.spec.training
    together = layout.tensor * layout.pipeline * layout.context
    return not (resolved.world_size % together or training.global_batch_size % (training.micro_batch_size * resolved.data_parallel_size))


def _has_error(diagnostics: Iterator[Diagnostic]) -> bool:
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def changed(composed: Composed, changes: Sequence[tuple[str, str]]) -> Resolved | None:
    """The spec with some fields changed, as if somebody had written it so; None where that is no spec."""
    bag = Bag()
    try:
        composed = with_overrides(composed, [f"{field}={value}" for field, value in changes], bag)
        bag.raise_if_errors()
        spec = load(composed, bag)
        bag.raise_if_errors()
        resolved = resolve(composed, spec, bag)
        bag.raise_if_errors()
    except CompilationError:
        return None
    return resolved


def _written(resolved: Resolved, field: str) -> str:
    value: object = resolved.spec
    for name in field.split("."):
        value = getattr(value, name)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _single_changes(resolved: Resolved, *, on_cpu: bool) -> Iterator[tuple[str, object]]:
    """Changes of one field to try: they cost nothing to make, and leave the model, its data and its numerics as they are."""
    spec = resolved.spec
    training, layout = spec.training, spec.parallelism
    size, share = training.micro_batch_size, training.global_batch_size // resolved.data_parallel_size
    yield from (("training.micro_batch_size", other) for other in (size // 2, size * 2, size * 4) if 1 <= other <= share)
    # On a CPU compiling takes longer than most runs save by it, and a step's time does not show it.
    if not training.compile and not on_cpu:
        yield "training.compile", True
    for checkpointing in ("none", "selective", "full"):
        if checkpointing != layout.activation_checkpointing:
            yield "parallelism.activation_checkpointing", checkpointing
    if resolved.world_size == 1:
        return
    if layout.engine == "torch":
        yield from (("parallelism.data", data) for data in ("ddp", "fsdp", "hsdp") if data != layout.data)
        if layout.data in ("fsdp", "hsdp"):
            yield "parallelism.reshard_after_forward", not layout.reshard_after_forward
    else:
        yield from (("parallelism.zero_stage", stage) for stage in range(4) if stage != layout.zero_stage)
    for name in ("tensor", "pipeline", "context"):
        degree = getattr(layout, name)
        if degree > 1:
            yield f"parallelism.{name}", degree // 2
        if degree > 1 or name == "tensor":
            yield f"parallelism.{name}", degree * 2
    if layout.tensor > 1 and not layout.sequence_parallel:
        yield "parallelism.sequence_parallel", True
    if layout.pipeline > 1:
        for schedule in ("1f1b", "zero_bubble"):
            if schedule != layout.pipeline_schedule:
                yield "parallelism.pipeline_schedule", schedule
        if layout.pipeline_schedule == "interleaved_1f1b":
            yield "parallelism.stages_per_device", layout.stages_per_device * 2
