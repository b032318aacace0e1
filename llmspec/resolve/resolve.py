"""Spec to Resolved: fill what was left out, and remember for every value who decided it. Adds and never rejects."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from llmspec.catalog import find_accelerator
from llmspec.diagnostics import Bag, Span
from llmspec.resolve import derive
from llmspec.resolve.derive import Derived
from llmspec.resolve.resolved import Origin, OriginKind, Resolved
from llmspec.spec.compose import Composed
from llmspec.spec.schema import Spec
from llmspec.spec.schema.laws import Law
from llmspec.spec.source import Layer
from llmspec.spec.tree import Node

_BY_LAW = ("training.global_batch_size", "optimizer.learning_rate")
_KINDS = {Layer.SPEC: OriginKind.SPEC, Layer.PRESET: OriginKind.PRESET, Layer.OVERRIDE: OriginKind.OVERRIDE}


def resolve(composed: Composed, spec: Spec, bag: Bag) -> Resolved:
    """Fill every derived field.

    Args:
        composed: The tree, which says where values were written.
        spec: The validated spec.
        bag: Takes what is wrong with the file of `hardware.prices`; resolution has nothing else to report.

    Raises:
        CompilationError: That file cannot be used.
    """
    accelerator = find_accelerator(spec.hardware.accelerator)
    rules: dict[str, str] = {}
    # A launcher that is named and one that is derived look alike afterwards, so both questions are asked of the spec as it was written.
    launchers = {"launch.local": derive.local_launch(spec), "launch.torchrun": derive.torchrun_launch(spec)}
    # In this order: later rules read what earlier ones filled.
    steps: tuple[tuple[str, Callable[[Spec], Derived]], ...] = (
        ("tokenizer.vocab_size", derive.tokenizer_vocab_size),
        ("architecture.vocab_size", derive.architecture_vocab_size),
        ("architecture.attention.head_dim", derive.head_dim),
        ("architecture.mup.base_head_dim", derive.base_head_dim),
        ("architecture.feed_forward.ffn_hidden_size", derive.ffn_hidden_size),
        ("architecture.position.num_positions", derive.num_positions),
        ("parallelism.data", derive.data_layout),
        ("parallelism.zero_stage", derive.zero_stage),
        ("parallelism.shard_size", derive.shard_size),
        ("parallelism.sequence_parallel", derive.sequence_parallel),
        ("parallelism.deepspeed_optimizer", derive.deepspeed_optimizer),
        ("training.global_batch_size", derive.global_batch_size),
        ("training.micro_batch_size", derive.micro_batch_size),
        ("training.max_steps", derive.max_steps),
        ("training.max_tokens", derive.max_tokens),
        ("optimizer.learning_rate", derive.learning_rate),
        ("training.compile", lambda spec: derive.compile_model(spec, accelerator)),
        ("schedule.warmup_steps", derive.warmup_steps),
        ("schedule.initial_learning_rate", derive.initial_learning_rate),
        ("schedule.min_learning_rate", derive.min_learning_rate),
        ("schedule.decay_every", derive.decay_every),
        ("schedule.timescale", derive.timescale),
        ("schedule.cycle_steps", derive.cycle_steps),
        ("schedule.rise_steps", derive.rise_steps),
        ("schedule.fall_steps", derive.fall_steps),
        ("precision", lambda spec: derive.precision(spec, accelerator)),
        ("checkpoint.every", lambda spec: derive.checkpoint_every(spec, accelerator)),
        ("checkpoint.asynchronous", lambda spec: derive.asynchronous(spec, accelerator)),
        ("evaluation.every", derive.every),
        *((path, lambda _, found=found: found) for path, found in launchers.items()),
        ("launch.torchrun.max_restarts", derive.max_restarts),
        ("launch.slurm.gres", lambda spec: derive.gres(spec, accelerator)),
        ("launch.skypilot.accelerators", lambda spec: derive.skypilot_accelerators(spec, accelerator)),
        ("launch.skypilot.use_spot", derive.use_spot),
        ("launch.docker.base", lambda spec: derive.docker_base(spec, accelerator)),
    )
    for path, rule in steps:
        if _is_open(spec, path):
            derived = rule(spec)
            rules[path] = derived.rule
            spec = _filled(spec, path.split("."), derived.value)
    origins = dict(_origins(composed, spec, rules))
    resolved = Resolved(spec, origins, composed.root, composed.directory)
    if spec.hardware.prices is None:
        return resolved
    from llmspec.spec.price_file import read_prices

    file = normpath(composed.directory / spec.hardware.prices)
    return replace(resolved, own_quotes=read_prices(Path(file), file, resolved.span("hardware.prices"), bag))


def _is_open(spec: Spec, path: str) -> bool:
    """Whether the spec's kind of section has the field, and nothing is said for it, or only which law decides it."""
    section: Any = spec
    *parents, name = path.split(".")
    for parent in parents:
        section = getattr(section, parent)
        if section is None:
            return False
    if name not in type(section).model_fields:
        return False
    value = getattr(section, name)
    return value is None or (value in get_args(Law) and path in _BY_LAW)


def _filled(section: Any, path: list[str], value: object) -> Any:
    name, *rest = path
    return section.model_copy(update={name: _filled(getattr(section, name), rest, value) if rest else value})


def _origins(composed: Composed, spec: Spec, rules: dict[str, str]) -> Iterator[tuple[str, Origin]]:
    """The origin of every section and every value, by path."""
    commands = dict(enumerate_lines(composed.overrides))

    def written(node: Node, span: Span) -> Origin:
        layer = composed.layers[span.file]
        if layer is Layer.SPEC:
            text = f"{span.file}:{span.line}"
        elif layer is Layer.PRESET:
            text = span.file
        else:
            text = f"--set {commands.get(span.line, '')}".rstrip()
        return Origin(_KINDS[layer], text, span)

    def walk(value: object, node: Node | None, path: str) -> Iterator[tuple[str, Origin]]:
        if node is not None and node.value is None:
            node = None  # null is as if the field were absent
        if path:
            if path in rules:
                yield path, Origin(OriginKind.DERIVED, f"derived: {rules[path]}", node.place if node is not None else None)
            elif node is not None:
                yield path, written(node, node.place)
            elif not isinstance(value, BaseModel):
                yield path, Origin(OriginKind.DEFAULT, "default")
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                inner = node.mapping.get(name) if node is not None else None
                yield from walk(getattr(value, name), inner, f"{path}.{name}" if path else name)
        elif isinstance(value, tuple):
            items = node.value if node is not None and isinstance(node.value, list) else []
            for index, item in enumerate(value):
                yield from walk(item, items[index] if index < len(items) else None, f"{path}[{index}]")
        elif isinstance(value, dict):
            for name, entry in value.items():
                yield from walk(entry, node.mapping.get(name) if node is not None else None, f"{path}.{name}")

    yield from walk(spec, composed.tree, "")


def enumerate_lines(overrides: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The overrides by the line at which each stands in their common text."""
    line = 1
    for text in overrides:
        yield line, text
        line += len(text.splitlines()) or 1
