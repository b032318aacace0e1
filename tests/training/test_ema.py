"""The running mean of the weights: on any layout, after any interruption, and in what reads checkpoints."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import Build

EMA: dict[str, Any] = {"training__ema": {"decay": 0.9, "every": 2}, "training__max_steps": 12}


def test_resumed_mean_is_the_same_and_is_what_is_used(build: Build) -> None:
    project = build(**EMA)
    project.train("whole")
    project.train("parts", "--max-steps", "5")
    project.train("parts", "--resume")
    names = ("model.safetensors", "optimizer.safetensors")
    files = {run: [load_file(project.path / run / "checkpoints/step-00000012" / name) for name in names] for run in ("whole", "parts")}
    for whole, parts in zip(*files.values(), strict=True):
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
    weights, state = files["whole"]
    assert all(f"ema/{name}" in state for name in weights)
    assert any(not torch.equal(state[f"ema/{name}"], weight) for name, weight in weights.items())

    # What train.py scored are the means; evaluate.py takes either.
    scores = {}
    for kind in ("ema", "last"):
        where = ["--data-dir", str(project.data), "--output-dir", "whole", "--device", "cpu"]
        project.run("evaluate.py", *where, "--weights", kind, "--output", f"{kind}.json")
        scores[kind] = json.loads((project.path / f"{kind}.json").read_text())["validation_loss"]
        assert project.run("generate.py", *where, "--weights", kind, "--max-new-tokens", "3", "1 2").stdout
    assert scores["ema"] != scores["last"]
    default = project.run("evaluate.py", *where, "--output", "default.json")
    assert default.returncode == 0
    assert json.loads((project.path / "default.json").read_text())["validation_loss"] == scores["ema"]


@pytest.mark.parametrize("layout", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_mean_does_not_depend_on_the_layout(build: Build, layout: str) -> None:
    project = build(**EMA, training__micro_batch_size=1, hardware__accelerators_per_node=2, parallelism={"data": layout})
    project.train("two", "--max-steps", "7", processes=2)
    project.train("two", "--resume")  # goes on with one
    project.train("one")
    means = []
    for run in ("one", "two"):
        tensors: dict[str, torch.Tensor] = {}
        for path in (project.path / run / "checkpoints/step-00000012").glob("*.safetensors"):
            tensors |= load_file(path)
        means.append({name: tensor for name, tensor in tensors.items() if name.startswith("ema/")})
    assert means[0] and means[0].keys() == means[1].keys()
    for name, mean in means[0].items():
        torch.testing.assert_close(means[1][name], mean, atol=2e-4, rtol=2e-3)
    scored = [project.metrics(run)[-1]["validation_loss"] for run in ("one", "two")]
    assert scored[1] == pytest.approx(scored[0], rel=1e-3)
