"""Every ZeRO stage on several processes does what the torch engine does on one."""

import json
import re
from pathlib import Path

import pytest

from tests.deepspeed.conftest import EVERYTHING, Make, deepspeed, train_all


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_all_stages_equal_one_process(make: Make, processes: int) -> None:
    single = make("single", EVERYTHING)
    single.train()
    projects = [make(f"zero-{stage}", EVERYTHING | deepspeed(stage)) for stage in range(4)]
    train_all(projects, processes=processes)
    assert max(line["grad_norm"] for line in single.metrics()) > 0.5  # so that it is clipped
    for project in projects:
        assert project.losses() == pytest.approx(single.losses(), abs=5e-6), project.path
        norms = [[line["grad_norm"] for line in run.metrics()] for run in (project, single)]
        assert norms[0] == pytest.approx(norms[1], abs=5e-6)
        scores = [run.metrics()[-1]["validation_loss"] for run in (project, single)]
        assert scores[0] == pytest.approx(scores[1], abs=5e-6)


OF_LOSS_ALONE = """
import sys, train
judge = train.Guard.allows
train.Guard.allows = lambda self, step, loss, norm: judge(self, step, loss, 1.0)
sys.exit(train.main())
"""


def test_spikes_are_skipped_as_on_one_process(make: Make) -> None:
    """Stage 0 judges the gradient norm as well, as the torch engine does; the others the loss alone."""
    guard = {"spike_sigma": 1.0, "window": 4, "max_skipped_steps": 4}
    changes = {"training.guard": guard, "training.micro_batch_size": 1, "training.max_steps": 36, "optimizer.learning_rate": 0.02}
    projects = [make(f"zero-{stage}", changes | deepspeed(stage)) for stage in range(4)]
    train_all(projects, processes=2)
    train_all(projects, "--max-steps", "25", processes=2, output="parts")
    train_all(projects, "--resume", processes=2, output="parts")
    single = make("single", changes)
    single.train()
    (single.path / "of_loss_alone.py").write_text(OF_LOSS_ALONE)
    single.run("of_loss_alone.py", "--data-dir", str(single.data), "--output-dir", "alone", "--device", "cpu")
    for project, expected in zip(projects, ("run", "alone", "alone", "alone"), strict=True):
        skipped = [[line["skipped"] for line in run.metrics(output)] for run, output in ((project, "run"), (single, expected))]
        assert skipped[0] == skipped[1] and 0 < skipped[0][25] < 10, project.path
        assert project.losses() == pytest.approx(single.losses(expected), abs=5e-6), project.path
        assert project.losses("parts") == project.losses(), project.path


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close_to_that_of_one_process(make: Make, precision: str) -> None:
    half = EVERYTHING | {
        "precision": precision,
        "hardware.accelerator": "h100-sxm",
        "training.compile": False,
        "parallelism.activation_checkpointing": "selective",
        "training.micro_batch_size": 2,
    }
    single = make("single", half)
    single.train()
    projects = [make(f"zero-{stage}", half | deepspeed(stage)) for stage in (1, 2, 3)]
    train_all(projects, processes=2)
    for project in projects:
        assert project.losses() == pytest.approx(single.losses(), abs=2e-3), project.path


@pytest.mark.slow
def test_stages_begin_with_weights_that_are_there(make: Make) -> None:
    single = make("single", EVERYTHING)
    single.train("run", "--max-steps", "3")
    weights = str(single.path / "run/checkpoints/step-00000003")
    single.train("further", "--start-from", weights, "--max-steps", "2")
    projects = [make(f"zero-{stage}", EVERYTHING | deepspeed(stage)) for stage in (2, 3)]
    train_all(projects, "--start-from", weights, "--max-steps", "2", processes=2)
    for project in projects:
        assert project.losses() == pytest.approx(single.losses("further"), abs=5e-6), project.path


def test_a_project_has_one_engine(make: Make) -> None:
    project = make("one", deepspeed(2) | {"parallelism.activation_checkpointing": "full"})
    text = {path.name: path.read_text() for path in project.path.rglob("*.py")}
    assert "parallelize.py" not in text
    for name, lines in text.items():
        assert "DistributedDataParallel" not in lines and "fully_shard" not in lines, name
    settings = json.loads((project.path / "ds_config.json").read_text())
    assert settings["gradient_clipping"] == 1.0
    assert settings["zero_optimization"]["stage"] == 2
    other = make("torch", {"hardware.accelerators_per_node": 2})
    files = [path for path in other.path.rglob("*") if path.suffix in (".py", ".toml", ".sh", ".md")]
    assert not [path for path in files if "deepspeed" in path.read_text().lower()]


@pytest.mark.slow  # DeepSpeed compiles its optimizer for the host when it is first used
def test_offloading_equals_one_process(make: Make) -> None:
    single = make("single", EVERYTHING)
    single.train()
    offloads = [
        (2, {"optimizer": "cpu"}),
        (3, {"optimizer": "cpu"}),
        (3, {"parameters": "cpu"}),
        (3, {"optimizer": "cpu", "parameters": "cpu"}),
    ]
    projects = [
        make(f"offload-{number}", EVERYTHING | deepspeed(stage) | {"parallelism.offload": offload})
        for number, (stage, offload) in enumerate(offloads)
    ]
    train_all(projects, processes=2)
    for project in projects:
        assert project.losses() == pytest.approx(single.losses(), abs=5e-6), project.path


def test_what_goes_to_a_disk_is_in_the_settings(make: Make) -> None:
    offload = {"optimizer": "nvme", "parameters": "nvme", "nvme_path": 'a"b'}
    project = make("disk", deepspeed(3) | {"parallelism.offload": offload})
    settings = json.loads((project.path / "ds_config.json").read_text())
    for part in ("offload_optimizer", "offload_param"):
        assert settings["zero_optimization"][part]["device"] == "nvme"
        assert settings["zero_optimization"][part]["nvme_path"] == 'a"b'
    assert settings["aio"]["block_size"] == 2**20
    assert "DeepSpeedCPUAdam" in (project.path / "optim.py").read_text()


def test_stage_3_never_holds_the_whole_model_on_a_device(make: Make) -> None:
    large = {
        "architecture.hidden_size": 512,
        "architecture.num_layers": 8,
        "architecture.attention": {"kind": "gqa", "num_heads": 8, "num_kv_heads": 4},
    }
    project = make("large", deepspeed(3) | large)
    done = project.run(str(Path(__file__).with_name("initial.py")), str(project.path), processes=2)
    result = json.loads(re.search("RESULT (.*)", done.stdout).group(1))  # type: ignore[union-attr]
    assert result["whole"] > 80e6
    assert result["num_samples"] > 20
    # Its half, and while one parameter is drawn that parameter: whole, as drawn, and in a message.
    assert 0.5 * result["whole"] <= result["sharded"] < 0.51 * result["whole"]
    assert result["peak"] < 0.51 * result["whole"] + 4 * result["largest"] < result["whole"]
    assert result["different"] == []
