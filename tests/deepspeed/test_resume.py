"""DeepSpeed's checkpoints: exact on the same processes, convertible to another number, and free of pickled objects."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.deepspeed.conftest import Make, deepspeed, train_all
from tests.training.conftest import Project

SHORT = {"checkpoint.every": 5, "evaluation.every": 20}


def write(make: Make, name: str, stage: int) -> Project:
    return make(name, SHORT | deepspeed(stage))


def stopped(project: Project, written: Project, output: str = "run") -> Project:
    """A project with the run that another has begun."""
    shutil.copytree(written.path / output, project.path / output)
    return project


def test_stages_resume_exactly_and_scripts_read_their_weights(make: Make) -> None:
    whole = [write(make, f"whole-{stage}", stage) for stage in (2, 3)]
    parts = [write(make, f"parts-{stage}", stage) for stage in (2, 3)]
    train_all(whole, processes=2)
    train_all(parts, "--max-steps", "7", processes=2)
    train_all(parts, "--resume", processes=2)
    for one, two in zip(whole, parts, strict=True):
        assert one.losses() == two.losses()
        assert one.weights(20) == two.weights(20)
        assert sorted(path.name for path in (two.path / "run/checkpoints").iterdir()) == [
            "step-00000010",
            "step-00000015",
            "step-00000020",
        ]
    # On one process, without DeepSpeed's engine.
    project = parts[1]
    project.run("evaluate.py", "--data-dir", str(project.data), "--output", "scores.json", "--device", "cpu")
    scores = json.loads((project.path / "scores.json").read_text())
    assert scores["validation_loss"] == pytest.approx(project.metrics()[-1]["validation_loss"], abs=0.3)
    project.run("generate.py", "--data-dir", str(project.data), "--max-new-tokens", "4", "--device", "cpu", "1 4 7")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 4])
def test_another_number_of_processes_goes_on(make: Make, processes: int) -> None:
    single = make("single", SHORT)
    single.train()
    layouts = [(1, 1), (2, 2), (3, 3), (1, 2), (2, 1)]
    begun = {stage: write(make, f"begun-{stage}", stage) for stage in (1, 2, 3)}
    train_all(list(begun.values()), "--max-steps", "10", processes=2)
    resumed = [stopped(write(make, f"from-{before}-to-{after}", after), begun[before]) for before, after in layouts]
    train_all(resumed, "--resume", "--max-steps", "13", processes=processes)
    train_all(resumed, "--resume", processes=processes)  # from what was written after a conversion
    for project in resumed:
        assert project.losses() == pytest.approx(single.losses(), abs=5e-6), project.path
        assert not list((project.path / "run/checkpoints").glob("*universal*"))


@pytest.mark.slow
def test_stage_3_and_the_others_do_not_mix(make: Make) -> None:
    two = write(make, "two", 2)
    two.train("run", "--max-steps", "1")
    done = stopped(write(make, "three", 3), two).train("run", "--resume", check=False)
    assert done.returncode == 1
    assert "was written by 1 process(es) at ZeRO stage 2, which DeepSpeed cannot resume on 1 at stage 3" in done.stderr


def test_a_pickled_object_is_not_loaded(make: Make) -> None:
    project = write(make, "pickled", 2)
    project.train("run", "--max-steps", "1")
    (shard,) = (project.path / "run/checkpoints/step-00000001").glob("*optim_states.pt")
    state = torch.load(shard, weights_only=False)
    size = shard.stat().st_size
    torch.save({**state, "trap": Path("a")}, shard)  # an object of a class that nobody needs
    described = shard.with_name("state.json")
    described.write_text(described.read_text().replace(str(size), str(shard.stat().st_size)))
    done = project.train("run", "--resume", check=False)
    assert done.returncode == 1
    assert "Unsupported global: GLOBAL pathlib" in done.stderr
