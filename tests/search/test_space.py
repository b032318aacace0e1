"""The pass over columns: it knows every legal layout, says what the compiler says, and is fast."""

import itertools
import random
import time
from math import isinf
from pathlib import Path

import numpy as np
import pytest

from llmspec.diagnostics import Bag
from llmspec.search.ranking import fields_of
from llmspec.search.score import COMPONENTS, score, tight_factor
from llmspec.search.search import read_base
from llmspec.search.space import Base, Point, space_of
from llmspec.variants import analyze_case

ROOT = Path(__file__).parents[2]
# Bytes are whole numbers in the compiler, component by component, and not in the columns.
ROUNDING = 16


def base_of(path: str, *overrides: str) -> tuple[Path, Base]:
    bag = Bag()
    return ROOT / path, read_base(ROOT / path, overrides, bag)[0]


SPECS = {
    "llama-1b": ("specs/llama-3.2-1b.yaml", ()),
    "law": ("specs/llama-3.1-8b.yaml", ("training.guard={}",)),
    "gpt2": (
        "specs/gpt2-124m.yaml",
        ("hardware.accelerator=a100-80-sxm", "hardware.accelerators_per_node=4", "hardware.nodes=2", "training.global_batch_size=96"),
    ),
    "fp32-offload": (
        "specs/llama-3.2-1b.yaml",
        (
            "precision=fp32",
            "parallelism={engine: deepspeed, zero_stage: 2, offload: {optimizer: cpu}}",
            "hardware.accelerator=a100-40-sxm",
        ),
    ),
    "fp8": ("specs/llama-3.2-1b.yaml", ("precision=fp8", "architecture.attention.window=1024")),
    "muon": ("specs/llama-3.2-1b.yaml", ("optimizer={kind: muon, learning_rate: 1e-3}", "training.batch_size_warmup=[]")),
}


@pytest.mark.parametrize("name", SPECS)
def test_columns_say_what_the_compiler_says(name: str) -> None:
    path, overrides = SPECS[name]
    file, base = base_of(path, *overrides)
    hardware = base.resolved.spec.hardware
    space = space_of(base, (), hardware.accelerator, hardware.accelerators_per_node, tight_factor())
    assert space is not None
    point = Point(hardware.accelerator, hardware.nodes, hardware.accelerators_per_node)
    scored = score(space, point)
    assert len(scored.columns) > 500
    # Some of every family and of every kind of parallelism, whether they fit or not.
    random.seed(1)
    chosen = set(random.sample(range(len(scored.columns)), 25))
    for member in range(len(space.members)):
        rows = np.flatnonzero(scored.columns.member == member)
        chosen |= set(random.sample(rows.tolist(), min(2, len(rows))))
    for column in ("tensor", "pipeline", "context", "virtual"):
        rows = np.flatnonzero(getattr(scored.columns, column) > 1)
        chosen |= set(random.sample(rows.tolist(), min(4, len(rows))))
    fitting = 0
    for index in sorted(chosen):
        changes = fields_of(space, point, scored.columns.row(index), base)
        case = analyze_case(file, overrides, changes)
        fits = not isinf(scored.scores.seconds[index])
        if case.analysis is None:
            assert not fits and [error.code for error in case.bag.errors] == ["LS401"], (changes, case.bag.errors)
            continue
        fitting += 1
        figures = case.analysis.estimate
        assert fits, changes
        assert scored.scores.seconds[index] == pytest.approx(figures.step_time.step.value, rel=1e-9), changes
        assert scored.scores.peak[index] == pytest.approx(figures.memory.peak_bytes, rel=1e-9, abs=ROUNDING), changes
        assert bool(scored.safe[index]) is not figures.memory.tight, changes
    assert fitting > 10


def test_every_legal_layout_is_a_candidate() -> None:
    """By brute force: whatever the passes let through of a small space is among the columns, and nothing else is."""
    overrides = ("hardware.accelerators_per_node=2", "training.global_batch_size=12", "hardware.accelerator=h100-sxm")
    file, base = base_of("specs/gpt2-124m.yaml", *overrides)
    space = space_of(base, (), "h100-sxm", 2, tight_factor())
    assert space is not None
    scored = score(space, point := Point("h100-sxm", 1, 2))
    names = ("tensor", "pipeline", "context", "micro_batch", "checkpointing")
    rows = {tuple(getattr(row, name) for name in names) for row in map(scored.columns.row, range(len(scored.columns)))}
    kinds = ("none", "selective", "full")
    found = set()
    for tensor, pipeline, context, micro, kind in itertools.product((1, 2, 3), (1, 2), (1, 2), (1, 2, 3, 4, 5, 6, 12), range(3)):
        case = analyze_case(
            file,
            overrides,
            (
                ("parallelism.tensor", str(tensor)),
                ("parallelism.pipeline", str(pipeline)),
                ("parallelism.context", str(context)),
                ("training.micro_batch_size", str(micro)),
                ("parallelism.activation_checkpointing", kinds[kind]),
                ("parallelism.data", "ddp"),
            ),
        )
        if case.analysis is not None:
            found.add((tensor, pipeline, context, micro, kind))
    assert found == rows and len(found) > 30
    assert scored.scores.fits.all() and point.devices == 2


def test_what_does_not_fit_has_a_component_to_blame() -> None:
    _, base = base_of("specs/llama-3.1-8b.yaml")
    space = space_of(base, (), "h100-sxm", 8, tight_factor())
    assert space is not None
    scored = score(space, Point("h100-sxm", 1, 8))
    blamed = scored.scores.blame[~scored.scores.fits]
    assert len(blamed) and blamed.min() >= 0
    assert {"activations", "optimizer"} <= {COMPONENTS[index] for index in set(blamed.tolist())}
    assert np.isinf(scored.scores.seconds[~scored.scores.fits]).all() and np.isfinite(scored.scores.seconds[scored.scores.fits]).all()


def test_many_candidates_a_second() -> None:
    """`python -m tests.bench.search` prints the figure; here it is bounded far below, for machines that are busy."""
    _, base = base_of("specs/llama-3.1-8b.yaml")
    space = space_of(base, (), "h100-sxm", 8, tight_factor())
    assert space is not None
    rates = []
    for _ in range(3):
        started = time.process_time()
        scored = score(space, Point("h100-sxm", 4, 8))
        rates.append(len(scored.columns) / (time.process_time() - started))
    assert max(rates) > 100_000
