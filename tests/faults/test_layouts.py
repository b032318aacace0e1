"""A checkpoint goes on under every layout and with every optimizer, on as many processes as one likes."""

from typing import Any

import pytest

from tests.faults.runs import do, logs
from tests.training.conftest import Build, Project

TWO = {"hardware__accelerators_per_node": 2}
FOUR = {"hardware__accelerators_per_node": 4, "training__micro_batch_size": 1}
LAYOUTS: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    (TWO | {"parallelism__data": "fsdp", "checkpoint__asynchronous": True}, 2),
    (FOUR | {"parallelism__data": "hsdp", "parallelism__shard_size": 2}, 4),
    (TWO | {"parallelism__data": "ddp"}, 2),
    (TWO | {"parallelism__data": "fsdp"}, 1),
    ({"checkpoint__asynchronous": True}, 1),
]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "rmsprop": {},
    "adam": {},
    "adamw": {},
    "adafactor": {},
    "lamb": {},
    "lion": {},
    "muon": {},
    "soap": {},
    "schedule_free_adamw": {},
    "adamw_8bit": {},
}
# They need whole tensors, so that no shards are built for them.
WHOLE_TENSORS = {"adafactor", "lamb", "soap", "adamw_8bit"}


def test_one_run_over_all_layouts(build: Build) -> None:
    project = build()
    project.train("one")
    for index, (changes, world_size) in enumerate(LAYOUTS, start=1):
        steps = str(min(20, 3 * index + 2))
        project = build(**changes)
        arguments = ["--resume", "--max-steps", steps]
        (done,) = do(project, {"kind": "plain", "output": "all", "world_size": world_size, "arguments": arguments})
        assert done["statuses"] == [0] * world_size, logs(project)
    assert project.losses("all") == pytest.approx(project.losses("one"), abs=5e-6)


def assert_resumes_exactly(project: Project, world_size: int) -> None:
    """Parts of a run, with an end at a step that nobody knew of before, equal the whole."""
    runs = [("whole", "20"), ("parts", "1"), ("parts", "8"), ("parts", "20")]
    tasks = [
        {"kind": "plain", "output": output, "world_size": world_size, "arguments": ["--resume", "--max-steps", steps]}
        for output, steps in runs
    ]
    assert all(done["statuses"] == [0] * world_size for done in do(project, *tasks)), logs(project)
    assert project.losses("parts") == project.losses("whole")
    assert project.weights(20, "parts") == project.weights(20, "whole")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind == "muon" else pytest.mark.slow) for kind in OPTIMIZERS])
def test_every_optimizer_resumes_exactly(build: Build, kind: str) -> None:
    assert_resumes_exactly(build(optimizer={"kind": kind, "learning_rate": 1e-3, **OPTIMIZERS[kind]}, architecture__dropout=0.1), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "layout"), [(kind, "ddp") for kind in OPTIMIZERS] + [(kind, "fsdp") for kind in OPTIMIZERS if kind not in WHOLE_TENSORS]
)
def test_every_optimizer_resumes_exactly_on_two_processes(build: Build, kind: str, layout: str) -> None:
    optimizer = {"kind": kind, "learning_rate": 1e-3, **OPTIMIZERS[kind]}
    assert_resumes_exactly(build(**TWO, parallelism__data=layout, optimizer=optimizer), 2)


def test_state_beside_model_and_optimizer_resumes_exactly(build: Build) -> None:
    changes = {"training__ema": {"decay": 0.9}, "training__guard": {"spike_sigma": 2.0, "window": 4}}
    project = build(**TWO, **changes, parallelism__data="fsdp", checkpoint__asynchronous=True)
    assert_resumes_exactly(project, 2)
    skipped = [line["skipped"] for line in project.metrics("parts")]
    assert skipped == [line["skipped"] for line in project.metrics("whole")]
    assert skipped[-1] > 0
    assert any(name.split()[1].startswith("ema/") for name in project.weights(20, "parts"))
