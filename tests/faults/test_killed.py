"""A run that is killed again and again, also while it saves, equals one that never stopped."""

import os
import random
import signal
import time
from typing import Any

import pytest

from tests.faults.runs import Run, do, logs
from tests.training.conftest import Build, Project

EXACT = ("step", "loss", "learning_rate", "grad_norm", "tokens", "skipped", "validation_loss")


def curve(project: Project, output: str) -> list[tuple[Any, ...]]:
    return [tuple(line.get(name) for name in EXACT) for line in project.metrics(output)]


def assert_survives(project: Project, num_steps: int, world_size: int, kills: int, seed: int) -> None:
    whole, killed = do(
        project,
        {"kind": "plain", "output": "whole", "world_size": world_size},
        {"kind": "killed", "output": "killed", "world_size": world_size, "kills": kills, "seed": seed, "num_steps": num_steps},
    )
    assert whole["statuses"] == [0] * world_size, logs(project)
    assert killed["kills"] == kills
    assert killed["in_a_save"] >= 3
    assert killed["slowest"] < 20  # the processes that were not killed did not wait for those that were
    assert curve(project, "killed") == curve(project, "whole")
    assert project.weights(num_steps, "killed") == project.weights(num_steps, "whole")
    # Every sample once, for the step that it belongs to, over all parts of the run that count.
    seen = sorted((step, sample) for step, first, number in killed["samples"] for sample in range(first, first + number))
    assert seen == [(sample // 8 + 1, sample) for sample in range(8 * num_steps)]


@pytest.mark.parametrize(
    ("world_size", "asynchronous"),
    [(1, False), pytest.param(1, True, marks=pytest.mark.slow), pytest.param(2, False, marks=pytest.mark.slow), (2, True)],
)
def test_killed_ten_times(build: Build, world_size: int, asynchronous: bool) -> None:
    changes = {"checkpoint": {"every": 3, "keep": 2, "asynchronous": asynchronous}, "training__max_steps": 60, "architecture__dropout": 0.1}
    if world_size > 1:
        changes |= {"hardware__accelerators_per_node": world_size, "parallelism__data": "fsdp" if asynchronous else "ddp"}
    assert_survives(build(**changes), 60, world_size, kills=10, seed=world_size)


@pytest.mark.slow
def test_killed_under_torchrun(build: Build) -> None:
    """One rank is killed at a time, at random moments; torchrun ends the others, and the next start goes on."""
    project = build(
        hardware__accelerators_per_node=2,
        parallelism__data="fsdp",
        training__max_steps=80,
        checkpoint={"every": 3, "asynchronous": True},
        architecture__dropout=0.1,
    )
    project.train("whole", processes=2)
    chance = random.Random(0)
    for kill in range(10):
        run = Run(project, "train.py", "--resume", output="killed")
        run.until(f"step +{chance.randint(6 * kill + 1, 6 * kill + 6)}/")
        time.sleep(chance.random() * 0.05)
        os.kill(run.ranks()[chance.randrange(2)], signal.SIGKILL)
        killed_at = time.monotonic()
        run.rest()
        assert run.process.returncode == 1
        assert time.monotonic() - killed_at < 40
    project.train("killed", "--resume", processes=2)
    assert curve(project, "killed") == curve(project, "whole")
    assert project.weights(80, "killed") == project.weights(80, "whole")
