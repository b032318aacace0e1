"""A batch that grows: what each step sees, on any layout and after any interruption."""

import sys
from typing import Any

import pytest

from tests.training.conftest import Build

# 3 steps of 2 sequences, 3 of 4, and then 8.
STAGES: dict[str, Any] = {
    "training__batch_size_warmup": [{"until_tokens": 192, "global_batch_size": 2}, {"until_tokens": 576, "global_batch_size": 4}],
    "training__micro_batch_size": 1,
    "training__max_steps": 12,
}


def test_every_step_sees_what_it_should(build: Build) -> None:
    project = build(**STAGES)
    project.train("whole")
    lines = project.metrics("whole")
    sequences = [2] * 3 + [4] * 3 + [8] * 6
    assert [line["tokens"] for line in lines] == [32 * sum(sequences[: step + 1]) for step in range(12)]
    # Interrupted in the middle of each stage, and at the border of one.
    for steps in ("2", "3", "5", "8"):
        project.train("parts", "--resume", "--max-steps", steps)
    project.train("parts", "--resume")
    assert project.losses("parts") == project.losses("whole")
    assert project.weights(12, "parts") == project.weights(12, "whole")
    # The same sequences in the same order as with a constant batch: the first step with 8 starts at sample 18.
    code = "import train, config; c = config.TrainingConfig(); print([train.samples_before(s, c) for s in (1, 4, 7, 8, 13)])"
    done = project.run("-c", code)
    assert done.stdout.split() == "[0, 6, 18, 26, 66]".split(), sys.version


def test_estimate_counts_the_small_batches(build: Build) -> None:
    readme = (build(**STAGES).path / "README.md").read_text()
    assert f"{66 * 32:,} tokens" in readme


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({"data": "ddp"}, marks=pytest.mark.slow, id="ddp"),
        pytest.param({"data": "fsdp"}, id="fsdp"),
        pytest.param({"engine": "deepspeed", "zero_stage": 2}, marks=pytest.mark.slow, id="deepspeed"),
    ],
)
def test_layouts_equal_one_process(build: Build, layout: dict[str, Any]) -> None:
    project = build(**STAGES, hardware__accelerators_per_node=2, parallelism=layout)
    project.train("one")
    project.train("two", processes=2)
    assert project.losses("two") == pytest.approx(project.losses("one"), rel=1e-5)
    assert [line["tokens"] for line in project.metrics("two")] == [line["tokens"] for line in project.metrics("one")]
