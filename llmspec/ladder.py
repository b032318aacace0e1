"""A ladder: small specs below a large one, whose runs tell what the large one will reach.

Widths lie evenly in their logarithm between a sixteenth (at least 64) and a half of the spec's, with its aspect: layers, heads and the
feed-forward's width shrink alike. Each width is trained for several numbers of tokens a parameter, so that size and data can be told
apart. Learning rate and batch come from the laws of `auto`; all else is the spec's.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmspec.compile import Analysis, analyze
from llmspec.diagnostics import Bag, CompilationError
from llmspec.estimate.loss_problems import too_narrow
from llmspec.resolve import Resolved, laws
from llmspec.spec import Composed
from llmspec.spec.standalone import standalone_text
from llmspec.spec.tree import Node

LEAST_WIDTH, SMALLEST = 128, 64
# Below ten million parameters the laws of the learning rate grow beyond what any run has used.
HIGHEST_RATE = 0.01
_ADAM = ("adam", "adamw")


class Rung(NamedTuple):
    """One small run."""

    name: str
    text: str
    width: int
    layers: int
    parameters: int
    tokens: int
    hours: float


def make_ladder(
    large: Analysis, path: Path, overrides: Sequence[str], directory: Path, *, sizes: int, ratios: Sequence[float], bag: Bag
) -> list[Rung]:
    """The rungs, smallest first. Raises `CompilationError` where one is no valid spec.

    Args:
        large: The large spec, analysed.
        path: Its file.
        overrides: Values of `--set`.
        directory: Where the specs will stand: their relative paths are rewritten for it.
        sizes: How many widths.
        ratios: Tokens a parameter, for each width.
        bag: Takes the diagnostics.
    """
    spec = large.resolved.spec
    width = spec.architecture.hidden_size
    if width < LEAST_WIDTH:
        bag.add(too_narrow(large.resolved.root, width, LEAST_WIDTH))
        bag.raise_if_errors()
    base = [*overrides, *_moved(large.composed, directory), *_alone(large)]
    rungs: list[Rung] = []
    seen: set[int] = set()
    for small in _widths(width, sizes):
        exact, shape = shape_at(large.composed, large.resolved, small)
        if exact in seen:
            continue
        seen.add(exact)
        # How long it is does not matter here, if it is longer than a warm-up.
        whole = _analyzed(path, [*base, *shape, "training.max_tokens=1T"], bag, to_build=False)
        parameters = int(whole.estimate.parameters.total.value)
        for ratio in ratios:
            tokens = _rounded(parameters * ratio)
            name = f"{spec.name}-{whole.resolved.spec.architecture.hidden_size}x{ratio:g}".replace(".", "_")
            final = [*base, *shape, *_training(large, whole, tokens), f"name={json.dumps(name)}"]
            analysis = _analyzed(path, final, bag)
            architecture = analysis.resolved.spec.architecture
            hours = analysis.estimate.wall_clock.total_hours.value
            text = standalone_text(analysis.composed)
            rungs.append(Rung(name, text, architecture.hidden_size, architecture.num_layers, parameters, tokens, hours))
    return rungs


def _analyzed(path: Path, overrides: Sequence[str], bag: Bag, *, to_build: bool = True) -> Analysis:
    """An analysis of which only errors are told: warnings of a small run are not what was asked for."""
    own = Bag()
    try:
        return analyze(path, overrides, own, to_build=to_build)
    except CompilationError:
        bag.extend(own)
        bag.sources.update(own.sources)
        raise


def _widths(width: int, sizes: int) -> Iterator[int]:
    smallest, largest = max(SMALLEST, width // 16), width // 2
    for n in range(sizes):
        share = n / (sizes - 1) if sizes > 1 else 1.0
        yield round(smallest * (largest / smallest) ** share)


def shape_at(composed: Composed, resolved: Resolved, width: int) -> tuple[int, list[str]]:
    """The width near `width` that holds whole heads, and the overrides that make a model with the spec's aspect of it."""
    architecture = resolved.spec.architecture
    attention, whole = architecture.attention, architecture.hidden_size
    keys = attention.key_value_heads
    group, head = attention.num_heads // keys, whole // attention.num_heads
    # Narrow models have narrower heads, so that there are at least two, and one for each key head at least.
    while head > 16 and width < head * max(2, group):
        head //= 2
    heads = group * max(1, round(width / head / group))
    exact = heads * head
    shape = [
        f"architecture.hidden_size={exact}",
        f"architecture.num_layers={max(2, round(architecture.num_layers * exact / whole))}",
        f"architecture.attention.num_heads={heads}",
    ]
    written = composed.node
    if written("architecture.attention.num_kv_heads") is not None:
        shape.append(f"architecture.attention.num_kv_heads={heads // group}")
    if written("architecture.attention.head_dim") is not None:
        shape.append(f"architecture.attention.head_dim={head}")
    if written("architecture.feed_forward.ffn_hidden_size") is not None:
        ratio = architecture.feed_forward.ffn_hidden_size / whole
        shape.append(f"architecture.feed_forward.ffn_hidden_size={max(16, round(exact * ratio / 16) * 16)}")
    return exact, shape


def _alone(large: Analysis) -> Iterator[str]:
    """The overrides that make a run of one device of a run of many."""
    written = large.composed.node
    if written("hardware.nodes") is not None:
        yield "hardware.nodes=1"
    if written("hardware.accelerators_per_node") is not None:
        yield "hardware.accelerators_per_node=1"
    for name in ("parallelism", "launch", "checkpoint.every", "training.micro_batch_size", "training.max_duration", "training.max_steps"):
        if written(name) is not None:
            yield f"{name}=null"


def _training(large: Analysis, small: Analysis, tokens: int) -> Iterator[str]:
    """The overrides for a run of so many tokens: the laws' batch and rate, warm-up in proportion, one evaluation at the end."""
    spec = large.resolved.spec
    run = laws.scale(small.resolved.spec, tokens)
    length = spec.training.sequence_length
    sequences = laws.near_power(max(1.0, laws.batch_tokens(run, "auto").value / length), 1)
    sequences = max(1, min(sequences, tokens // length // 20 or 1))
    steps = max(1, tokens // (sequences * length))
    yield f"training.max_tokens={tokens}"
    yield f"training.global_batch_size={sequences}"
    written = large.composed.node
    if spec.optimizer.kind in _ADAM:
        rate = laws.learning_rate(laws.rate_scale(small.resolved.spec, tokens), "auto").value
        yield f"optimizer.learning_rate={min(HIGHEST_RATE, rate):g}"
        if written("schedule.min_learning_rate") is not None:
            yield "schedule.min_learning_rate=null"
    if written("schedule.warmup_steps") is not None:
        share = getattr(spec.schedule, "warmup_steps", 0) / max(1, spec.training.max_steps)
        yield f"schedule.warmup_steps={min(steps - 1, max(1, round(steps * max(share, 0.02))))}"
    yield f"evaluation.every={steps}"


def _moved(composed: Composed, directory: Path) -> Iterator[str]:
    """The overrides that let relative paths mean the same files from another directory."""

    def moved(text: str) -> str:
        if Path(text).is_absolute():
            return text
        return os.path.relpath(composed.directory.resolve() / text, directory.resolve())

    def walk(node: Node, place: str) -> Iterator[str]:
        if isinstance(node.value, dict):
            for name, entry in node.mapping.items():
                if name == "path":
                    if isinstance(entry.value, str):
                        yield f"{place}.path={json.dumps(moved(entry.value))}"
                    elif isinstance(entry.value, list):
                        yield f"{place}.path={json.dumps([moved(str(item.value)) for item in entry.value])}"
                else:
                    yield from walk(entry, f"{place}.{name}" if place else name)
        elif isinstance(node.value, list):
            for n, item in enumerate(node.value):
                yield from walk(item, f"{place}[{n}]")

    for section in ("data", "tokenizer"):
        node = composed.tree.mapping.get(section)
        if node is not None:
            yield from walk(node, section)


def _rounded(tokens: float) -> int:
    """Two digits, for people."""
    return int(float(f"{tokens:.2g}"))


def launch_script(rungs: Sequence[Rung], spec: str) -> str:
    """A shell script that builds and runs the rungs one after the other, and fits the law to them; it goes on where it was stopped."""
    names = "\n".join(f"  {rung.name}" for rung in rungs)
    return f"""\
#!/usr/bin/env bash
# Builds and trains the rungs of this ladder one after the other, smallest first, then fits the law of the loss to them. What is
# done is skipped, and a run that was interrupted goes on from its last checkpoint: run it again. All share the data of the first.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
llmspec="${{LLMSPEC:-llmspec}}"

rungs=(
{names}
)
for rung in "${{rungs[@]}}"; do
  [ -e "$rung/run/finished" ] && continue
  printf '\\n==> %s\\n' "$rung"
  $llmspec build "$rung.yaml" -o "$rung"
  if [ "$rung" != "${{rungs[0]}}" ]; then
    ln -sfn "../${{rungs[0]}}/data" "$rung/data"
  fi
  "$rung/launch/local.sh"
  touch "$rung/run/finished"
done

$llmspec fit "${{rungs[@]}}" -o fit.json
$llmspec estimate {spec} --loss-fit fit.json
"""
