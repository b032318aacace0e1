"""Number formats other than fp32 and bf16."""

import itertools
import json

import pytest

from tests.training.conftest import Build


def test_fp8_learns_as_bf16_does(build: Build) -> None:
    common = {"hardware__accelerator": "h100-sxm", "training__compile": False, "data__validation_fraction": 0}
    half = build(**common, precision="bf16")
    half.train("half", "--max-steps", "10")
    losses = half.losses("half")
    assert not (half.path / "parallelize.py").exists()
    assert "torchao" not in (half.path / "pyproject.toml").read_text()
    for recipe in ("tensorwise", "rowwise"):
        eight = build(**common, precision="fp8", training__fp8_recipe=recipe)
        eight.train(recipe, "--max-steps", "10")
        # On a CPU the products are emulated: the rounding is fp8's. It moves the loss, but hardly.
        assert eight.losses(recipe) != losses
        assert eight.losses(recipe) == pytest.approx(losses, abs=0.1)
    assert losses[-1] < losses[0] - 1
    assert "torchao" in (eight.path / "pyproject.toml").read_text()


def test_fp16_goes_on_with_its_loss_scale(build: Build) -> None:
    project = build(hardware__accelerator="v100-sxm-32", training__compile=False, precision="fp16", data__validation_fraction=0)
    source = project.path / "train.py"
    text = source.read_text()
    assert "torch.amp.GradScaler(device.type)" in text
    source.write_text(text.replace("GradScaler(device.type)", "GradScaler(device.type, init_scale=2.0**29)"))
    done = project.train("run", "--max-steps", "3")
    assert done.stdout.count("skipped: gradients overflow, the loss scale is halved") == 3
    project.train("run", "--resume")
    lines = project.metrics()
    skipped = list(itertools.accumulate(line["overflows"] for line in lines))
    assert 4 <= skipped[-1] <= 12
    assert [line["loss_scale"] for line in lines] == [2.0 ** (29 - count) for count in skipped]
    assert lines[0]["grad_norm"] is None and lines[-1]["grad_norm"] > 0
    state = json.loads((project.path / "run/checkpoints/step-00000020/state.json").read_text())
    assert state["extra"]["scaler"]["scale"] == lines[-1]["loss_scale"]
    # As soon as the scale fits, the run learns.
    assert lines[-1]["loss"] < lines[3]["loss"] - 0.5
