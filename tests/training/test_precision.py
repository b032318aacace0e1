"""Number formats other than fp32 and bf16."""

import json

import pytest

from tests.training.conftest import Build


def test_fp8_learns_as_bf16_does_and_resumes(build: Build) -> None:
    common = {"hardware__accelerator": "h100-sxm", "training__compile": False}
    half = build(**common, precision="bf16")
    half.train("half")
    losses = half.losses("half")
    assert not (half.path / "parallelize.py").exists()
    assert "torchao" not in (half.path / "pyproject.toml").read_text()
    for recipe in ("tensorwise", "rowwise"):
        eight = build(**common, precision="fp8", training__fp8_recipe=recipe)
        eight.train(recipe, "--max-steps", "10")
        eight.train(recipe, "--resume")
        # On a CPU the products are emulated: the rounding is fp8's. It moves the loss, but hardly.
        assert eight.losses(recipe) != losses
        assert eight.losses(recipe) == pytest.approx(losses, abs=0.1)
    assert "torchao" in (eight.path / "pyproject.toml").read_text()


def test_fp16_goes_on_with_its_loss_scale(build: Build) -> None:
    project = build(hardware__accelerator="v100-sxm-32", training__compile=False, precision="fp16")
    source = project.path / "train.py"
    text = source.read_text()
    assert "torch.amp.GradScaler(device.type)" in text
    source.write_text(text.replace("GradScaler(device.type)", "GradScaler(device.type, init_scale=2.0**40)"))
    done = project.train("run", "--max-steps", "6")
    assert done.stdout.count("skipped: gradients overflow, the loss scale is halved") == 6
    project.train("run", "--resume")
    lines = project.metrics()
    assert [line["loss_scale"] for line in lines[:6]] == [2.0 ** (40 - step) for step in range(1, 7)]
    assert lines[6]["loss_scale"] < lines[5]["loss_scale"]
    state = json.loads((project.path / "run/checkpoints/step-00000020/state.json").read_text())
    assert state["extra"]["scaler"]["scale"] == lines[-1]["loss_scale"]
    # As soon as the scale fits, the run learns.
    first = next(index for index, line in enumerate(lines) if not line["overflows"])
    assert lines[-1]["loss"] < lines[first]["loss"] - 0.5
