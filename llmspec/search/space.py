"""The space of a search: every layout that can be, as columns of numbers.

A layout is a family (the engine, what it shards, whether it compiles), degrees of parallelism with the schedule of the pipeline, a size
of the groups of shards, a micro batch and a checkpointing. Families are lowered by the compiler itself, once each; what depends on the
degrees is arithmetic on columns.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from llmspec.check import SPEC_RULES, check, check_buildable
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.configuration import CHECKPOINTINGS, SCHEDULES, Schedule, configuration_of, shard_stage
from llmspec.estimate.device import describe_device
from llmspec.estimate.legal import legal
from llmspec.estimate.memory import numerics_of, tokens_of, weights_of
from llmspec.estimate.moments import Numerics, Tokens, Weights
from llmspec.estimate.workload import Configuration, Layout, Machine, Shape
from llmspec.network import Network
from llmspec.resolve import OriginKind, Resolved, batches, laws
from llmspec.spec import Composed
from llmspec.variants import changed

Array = np.ndarray[tuple[int], np.dtype[np.float64]]
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
Changes = tuple[tuple[str, str], ...]

# Rules that a layout can break or keep: a spec that breaks one of them can still be searched from.
# `COUNTED` are those that the columns know: a family is not refused for the numbers of its representative.
COUNTED = frozenset(("LS302", "LS362", "LS386", "LS403", "LS404", "LS405", "LS406", "LS407", "LS411", "LS412"))
LAYOUT_RULES = COUNTED | {"LS370", "LS371", "LS372", "LS373", "LS376", "LS378", "LS379"}
KINDS = ("tensor", "pipeline", "context", "expert")
# The rule on accelerators that emitted projects cannot drive.
NOT_DRIVEN = "LS356"
# A batch that a law chooses is rounded to what devices divide, but not to more than this times what the law says.
BEYOND_LAW = 1.5


class Base(NamedTuple):
    """What is searched for: a spec with its model, whether its own layout can be or not."""

    composed: Composed
    resolved: Resolved
    network: Network


class Family(NamedTuple):
    """What the columns do not compute with: the engine and its settings."""

    engine: str
    data: str
    zero_stage: int | None
    reshard: bool | None
    compile: bool
    offload: bool

    @property
    def name(self) -> str:
        """What people call it."""
        return f"ZeRO stage {self.zero_stage}" if self.engine == "deepspeed" else self.data

    def wanted(self) -> dict[str, object]:
        """The fields that make it; None where a field must not be there."""
        fields: dict[str, object] = {
            "parallelism.engine": self.engine,
            "parallelism.data": self.data,
            "parallelism.zero_stage": self.zero_stage,
            "parallelism.reshard_after_forward": self.reshard,
            "training.compile": self.compile,
        }
        if not self.offload:
            fields["parallelism.offload"] = None
        if self.engine == "torch":
            fields["parallelism.deepspeed_optimizer"] = None
        return fields


class Member(NamedTuple):
    """A family that the rules allow, as the core sees it with all degrees at 1."""

    family: Family
    resolved: Resolved
    layout: Layout
    numerics: Numerics
    shard_stage: int


class Point(NamedTuple):
    """What it runs on."""

    accelerator: str
    nodes: int
    per_node: int
    price: float | str | None = None
    """US dollars for one accelerator hour where a provider was asked for, or the market; None leaves it to the spec."""

    @property
    def devices(self) -> int:
        """How many there are."""
        return self.nodes * self.per_node


class Space(NamedTuple):
    """The families of a model on one kind of accelerator, and why others are left out."""

    base: Base
    accelerator: str
    per_node: int
    shape: Shape
    weights: Weights
    machine: Machine
    memory: int
    tight: float
    """A peak times this is the upper end of its interval."""
    members: tuple[Member, ...]
    refused: dict[str, str]
    """Codes of the rules that refuse a family, by the family's name."""
    built: dict[Any, bool]
    """What is known of which layouts are built."""
    allowed: dict[Any, bool]
    """What is known of which layouts the rules allow."""
    kept: dict[tuple[bool, int, int], Tokens]
    """What is known of the tokens that are kept."""


class Columns(NamedTuple):
    """Candidates, one a row; indices into the members, `SCHEDULES` and `CHECKPOINTINGS`."""

    member: Indices
    tensor: Array
    sequence_parallel: Array
    pipeline: Array
    schedule: Indices
    virtual: Array
    context: Array
    expert: Array
    shard_size: Array
    micro_batch: Array
    checkpointing: Indices
    batch: Array
    micro_batches: Array

    def row(self, index: int) -> "Row":
        """One candidate."""
        return Row(*(column[index].item() for column in self))

    def take(self, chosen: Any) -> "Columns":
        """Some of the rows."""
        return Columns(*(column[chosen] for column in self))

    def __len__(self) -> int:
        return len(self.member)


class Row(NamedTuple):
    """One candidate of the columns."""

    member: int
    tensor: float
    sequence_parallel: float
    pipeline: float
    schedule: int
    virtual: float
    context: float
    expert: float
    shard_size: float
    micro_batch: float
    checkpointing: int
    batch: float
    micro_batches: float


def text_of(value: object) -> str:
    """A value as an override writes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _families(base: Base) -> Iterator[Family]:
    layout = base.resolved.spec.parallelism
    open_compile = base.resolved.origin("training.compile").kind is OriginKind.DERIVED
    for compile in (True, False) if open_compile else (base.resolved.spec.training.compile,):
        yield Family("torch", "ddp", None, None, compile, False)
        for data in ("fsdp", "hsdp"):
            yield from (Family("torch", data, None, reshard, compile, False) for reshard in (True, False))
        for stage in range(4):
            yield Family("deepspeed", "zero", stage, None, compile, False)
            if layout.offload is not None:
                yield Family("deepspeed", "zero", stage, None, compile, True)


def space_of(base: Base, size: Changes, accelerator: str, per_node: int, tight: float) -> Space | None:
    """The families of a model on an accelerator; None where the spec means nothing there.

    Args:
        base: The spec.
        size: What makes the model of `base` of the spec that was written.
        accelerator: Identifier in the catalog.
        per_node: Devices of a node.
        tight: A peak times this is the upper end of its interval.
    """
    there: Changes = (*size, ("hardware.accelerator", accelerator), ("hardware.accelerators_per_node", str(per_node)))
    members: list[Member] = []
    refused: dict[str, str] = {}
    for family in _families(base):
        plain: dict[str, object] = {f"parallelism.{name}": 1 for name in ("tensor", "pipeline", "context", "expert", "stages_per_device")}
        plain |= {"parallelism.pipeline_schedule": "1f1b", "parallelism.shard_size": None, "training.micro_batch_size": 1}
        fields = (*((name, text_of(value)) for name, value in (plain | family.wanted()).items()), *there)
        resolved = changed(base.composed, fields)
        if resolved is None:
            continue
        errors = [found.code for found in check(resolved, base.network, None) if found.severity == "error" and found.code not in COUNTED]
        if errors:
            refused.setdefault(family.name, errors[0])
            continue
        device = describe_device(resolved)
        configuration = configuration_of(resolved, base.network, device.accelerator)
        members.append(Member(family, resolved, configuration.layout, numerics_of(resolved, device), shard_stage(resolved)))
    if not members:
        return None
    names = {member.family.name for member in members}
    device = describe_device(members[0].resolved)
    shape, _, machine = configuration_of(members[0].resolved, base.network, device.accelerator)
    return Space(
        base,
        accelerator,
        per_node,
        shape,
        weights_of(members[0].resolved, base.network),
        machine,
        device.memory_bytes,
        tight,
        tuple(members),
        {name: code for name, code in refused.items() if name not in names},
        {},
        {},
        {},
    )


def divisors(number: int) -> list[int]:
    """All divisors, smallest first."""
    small = [divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})


class Degrees(NamedTuple):
    """Degrees of parallelism, and the order of the passes over the pipeline, as an index into `SCHEDULES`."""

    tensor: int
    sequence_parallel: bool
    pipeline: int
    schedule: int
    virtual: int
    context: int
    expert: int


def _degrees(space: Space, devices: int, closed: frozenset[str]) -> Iterator[Degrees]:
    """Degrees that divide the devices and the model, whatever the batch; 1 where a kind of parallelism is closed."""
    shape = space.shape
    layers, sequence = 1 if "pipeline" in closed else int(shape.layers), 1 if "context" in closed else int(shape.sequence)
    tensors = divisors(gcd(gcd(int(shape.heads), int(shape.kv_heads)), int(shape.ffn))) if "tensor" not in closed else [1]
    experts = divisors(int(shape.experts)) if shape.experts and "expert" not in closed else [1]
    plain = space.members[0].layout._replace(devices=float(devices))
    for tensor in tensors:
        if devices % tensor:
            continue
        for pipeline in divisors(devices // tensor):
            if pipeline > layers:
                break
            for context in divisors(devices // tensor // pipeline):
                if sequence % context:
                    continue
                for expert in experts:
                    for schedule, virtual in _schedules(pipeline, layers):
                        for along in (True, False) if tensor > 1 else (False,):
                            one = plain._replace(
                                tensor=float(tensor),
                                sequence_parallel=float(along),
                                pipeline=float(pipeline),
                                virtual=float(virtual),
                                context=float(context),
                                expert=float(expert),
                                micro_batches=float(pipeline),
                            )
                            # Whole rounds of an interleaved pipeline are a matter of the batch, which is asked later.
                            if legal(SCALARS, shape, one):
                                yield Degrees(tensor, along, pipeline, schedule, virtual, context, expert)


def _schedules(pipeline: int, layers: int) -> Iterator[tuple[int, int]]:
    names = list(SCHEDULES)
    if pipeline == 1:
        yield names.index("1f1b"), 1
        return
    for index, name in enumerate(names):
        if not SCHEDULES[name].interleaves:
            yield index, 1
        else:
            # Stages that share out the layers evenly, and powers of two.
            for virtual in range(2, layers // pipeline + 1):
                if layers % (pipeline * virtual) == 0 or virtual & (virtual - 1) == 0:
                    yield index, virtual


class _Batches:
    """The batch of a step for each number of sequences that go through all devices at once."""

    def __init__(self, base: Base) -> None:
        spec = base.resolved.spec
        self.batch = spec.training.global_batch_size
        self.common = batches.common_batch(spec)
        self.law: float | None = None
        if base.resolved.origin("training.global_batch_size").kind is OriginKind.DERIVED:
            node = base.composed.node("training.global_batch_size")
            name = str(node.value) if node is not None else "auto"
            tokens = laws.batch_tokens(laws.scale(spec, spec.training.max_tokens), name).value
            self.law = tokens / spec.training.sequence_length

    def of(self, replicas: int) -> list[tuple[int, int]]:
        """Micro batches that these replicas can have, each with the batch of a step."""
        if self.law is None:
            if self.common % replicas:
                return []
            return [(size, self.batch) for size in divisors(self.common // replicas)]
        sizes = [factor << power for power in range(24) for factor in (1, 3)]
        found = ((size, laws.near_power(self.law, size * replicas)) for size in sizes if size * replicas <= BEYOND_LAW * self.law)
        return sorted((size, batch) for size, batch in found if batch <= BEYOND_LAW * self.law)


def is_built(space: Space, member: int, degrees: "Degrees | Row") -> bool:
    """Whether projects are written for a family with some degrees: what the rules of `build` say."""
    key = member, degrees.tensor, degrees.pipeline, degrees.schedule, degrees.virtual, degrees.context, degrees.expert
    if key not in space.built:
        space.built[key] = buildable(_with(space.members[member].resolved, degrees))
    return space.built[key]


def _is_built_at_all(space: Space, name: str) -> bool:
    """Whether projects are written for a kind of parallelism with any family."""
    tensor, pipeline, context, expert = (2 if kind == name else 1 for kind in KINDS)
    some = Degrees(tensor, False, pipeline, list(SCHEDULES).index("1f1b"), 1, context, expert)
    return any(is_built(space, member, some) for member in range(len(space.members)))


def buildable(resolved: Resolved) -> bool:
    """Whether a project can be built of a spec that drives its devices."""
    return not any(True for _ in check_buildable(resolved)) and not any(
        True for _ in SPEC_RULES[NOT_DRIVEN].diagnostics(resolved, resolved)
    )


def _is_allowed(space: Space, member: int, degrees: Degrees) -> bool:
    """Whether the rules allow a family with kinds of parallelism that the columns have no condition for, such as a certain optimizer."""
    key = member, *(getattr(degrees, name) > 1 for name in KINDS)
    if key not in space.allowed:
        found = check(_with(space.members[member].resolved, degrees), space.base.network, None)
        errors = [one.code for one in found if one.severity == "error" and one.code not in COUNTED]
        space.allowed[key] = not errors
        if errors:
            kinds = " and ".join(name for name in KINDS if getattr(degrees, name) > 1)
            space.refused.setdefault(f"{space.members[member].family.name} with {kinds}", errors[0])
    return space.allowed[key]


def _with(resolved: Resolved, degrees: "Degrees | Row") -> Resolved:
    fields: dict[str, object] = {name: int(getattr(degrees, name)) for name in KINDS}
    fields |= {"stages_per_device": int(degrees.virtual), "pipeline_schedule": list(SCHEDULES)[degrees.schedule]}
    fields["sequence_parallel"] = bool(degrees.sequence_parallel)
    parallelism = resolved.spec.parallelism.model_copy(update=fields)
    return replace(resolved, spec=resolved.spec.model_copy(update={"parallelism": parallelism}))


def columns_of(space: Space, point: Point, *, built_only: bool = False) -> Columns:
    """Every layout of a model on some devices; with `built_only` those that projects are written for."""
    devices, shared = point.devices, _Batches(space.base)
    by_replicas: dict[int, list[tuple[int, int]]] = {}
    blocks: list[Columns] = []
    kinds = len(CHECKPOINTINGS)
    closed = frozenset(name for name in KINDS if built_only and not _is_built_at_all(space, name))
    for degrees in _degrees(space, devices, closed):
        replicas = devices // (degrees.tensor * degrees.pipeline * degrees.context)
        if replicas not in by_replicas:
            by_replicas[replicas] = shared.of(replicas)
        sizes = by_replicas[replicas]
        shards = [(index, size) for index, size in _shards(space, replicas) if _is_allowed(space, index, degrees)]
        if built_only:
            shards = [(index, size) for index, size in shards if is_built(space, index, degrees)]
        if not sizes or not shards:
            continue
        micro, batch = (np.array(values, dtype=float) for values in zip(*sizes, strict=True))
        members, groups = (np.array(values) for values in zip(*shards, strict=True))
        count = len(micro) * len(members) * kinds

        def each(values: Any, inner: int, count: int = count) -> Any:
            """A column that repeats its values in blocks of `inner` rows."""
            return np.resize(np.repeat(values, inner), count)

        def same(value: float, count: int = count) -> Array:
            return np.full(count, float(value))

        blocks.append(
            Columns(
                member=each(members, len(micro) * kinds),
                tensor=same(degrees.tensor),
                sequence_parallel=same(degrees.sequence_parallel),
                pipeline=same(degrees.pipeline),
                schedule=np.full(count, degrees.schedule),
                virtual=same(degrees.virtual),
                context=same(degrees.context),
                expert=same(degrees.expert),
                shard_size=each(groups.astype(float), len(micro) * kinds),
                micro_batch=each(micro, kinds),
                checkpointing=each(np.arange(kinds), 1),
                batch=each(batch, kinds),
                micro_batches=each(batch / micro / replicas, kinds),
            )
        )
    if not blocks:
        nothing: Any = {True: np.zeros(0, dtype=np.int64), False: np.zeros(0)}
        return Columns(*(nothing[name in ("member", "schedule", "checkpointing")] for name in Columns._fields))
    together = Columns(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    return together.take(np.flatnonzero(legal(np, space.shape, layout_columns(space, point, together))))


def _shards(space: Space, replicas: int) -> list[tuple[int, int]]:
    """Families by index, each with the sizes that its groups of shards can have."""
    found = []
    for index, member in enumerate(space.members):
        data, offload = member.family.data, member.family.offload
        if data == "ddp":
            found.append((index, 1))
        elif data == "hsdp":
            found += [(index, size) for size in divisors(replicas)[1:-1]]
        elif replicas > 1 or offload:
            found.append((index, replicas))
    return found


def _of_members(space: Space, columns: Columns, values: list[float]) -> Any:
    """A column of what depends on the family; one number where all families agree."""
    return values[0] if len(set(values)) == 1 else np.array(values)[columns.member]


def layout_columns(space: Space, point: Point, columns: Columns) -> Layout:
    """The candidates as the core sees them."""
    members = space.members
    same: dict[str, Any] = {name: _of_members(space, columns, [getattr(m.layout, name) for m in members]) for name in Layout._fields}
    stage = np.array([float(member.shard_stage) for member in members])[columns.member]
    grouped = np.array([member.family.data == "hsdp" for member in members])[columns.member]
    schedules: list[Schedule] = list(SCHEDULES.values())
    bubble = np.array([schedule.bubble for schedule in schedules])[columns.schedule] / columns.virtual
    flushes = np.array([float(schedule.flushes) for schedule in schedules])[columns.schedule]
    same |= {
        "devices": float(point.devices),
        "per_node": float(point.per_node),
        "tensor": columns.tensor,
        "sequence_parallel": columns.sequence_parallel,
        "pipeline": columns.pipeline,
        "virtual": columns.virtual,
        "bubble": bubble,
        "flushes": flushes,
        "context": columns.context,
        "expert": columns.expert,
        "shard_stage": np.where(point.devices / (columns.tensor * columns.pipeline) > 1, stage, 0.0),
        "shard_size": columns.shard_size * np.where(grouped, 1.0, columns.context),
        "micro_batch": columns.micro_batch,
        "micro_batches": columns.micro_batches,
        "recompute": np.array(list(CHECKPOINTINGS.values()), dtype=float)[columns.checkpointing],
    }
    return Layout(**same)


def configuration_columns(space: Space, point: Point, columns: Columns) -> Configuration:
    """The candidates with their model and machine."""
    return Configuration(space.shape, layout_columns(space, point, columns), space.machine)


class KeptTokens:
    """What is kept of a micro batch's tokens, by family, checkpointing and micro batch: counted by the compiler, once each."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.counted = space.kept

    def of(self, compile: bool, checkpointing: int, micro_batch: int) -> Tokens:
        """For one combination."""
        key = compile, checkpointing, micro_batch
        if key not in self.counted:
            resolved = self.space.members[0].resolved
            spec = resolved.spec
            training = spec.training.model_copy(update={"micro_batch_size": micro_batch, "compile": compile})
            parallelism = spec.parallelism.model_copy(update={"activation_checkpointing": list(CHECKPOINTINGS)[checkpointing]})
            resolved = replace(resolved, spec=spec.model_copy(update={"training": training, "parallelism": parallelism}))
            self.counted[key] = tokens_of(resolved, describe_device(resolved))
        return self.counted[key]

    def columns(self, columns: Columns) -> Tokens:
        """For all candidates."""
        compiled = np.array([member.family.compile for member in self.space.members])[columns.member]
        sizes, size = np.unique(columns.micro_batch, return_inverse=True)
        kinds = len(CHECKPOINTINGS)
        index = (compiled.astype(int) * kinds + columns.checkpointing) * len(sizes) + size
        table = [
            self.of(compile, checkpointing, int(number)) for compile in (False, True) for checkpointing in range(kinds) for number in sizes
        ]

        def column(values: list[float]) -> Any:
            return values[0] if len(set(values)) == 1 else np.array(values, dtype=float)[index]

        def along(name: str) -> Any:
            pairs = [getattr(entry, name) for entry in table]
            return type(pairs[0])(column([pair.stream for pair in pairs]), column([pair.split for pair in pairs]))

        plain = {name: column([getattr(entry, name) for entry in table]) for name in ("number", "let_go", "working", "masks", "logits")}
        return Tokens(**plain, kept=along("kept"), outer=along("outer"), again=along("again"))


def numerics_columns(space: Space, columns: Columns) -> Numerics:
    """The kind of device, the number format and the engine's settings of all candidates."""
    members = [member.numerics for member in space.members]
    return Numerics(*(_of_members(space, columns, [getattr(m, name) for m in members]) for name in Numerics._fields))
