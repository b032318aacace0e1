"""Runs that begin with weights that are there: those of a Hugging Face model, or of an earlier run."""

import re

import pytest

from tests.training.conftest import Build, Project

# Makes a model with transformers, and says what its loss on the first batch of the run is.
THEIRS = """
import sys
from pathlib import Path
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM
from config import DataConfig, ModelConfig, TrainingConfig
from data import IGNORED, TrainingData
from export import describe_model, write_json
data_dir, directory, config = Path(sys.argv[1]), Path("theirs"), TrainingConfig()
directory.mkdir()
write_json(directory / "config.json", describe_model(ModelConfig(), config.sequence_length))
torch.manual_seed(3)
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape), alpha=0.05)
model.save_pretrained(directory)
batch = TrainingData(data_dir, DataConfig(), config.sequence_length, config.seed).batch(0, config.global_batch_size)
logits = model(batch.tokens).logits
print("LOSS", F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED).item())
"""


def imported(project: Project) -> float:
    """Have the project import a model; returns that model's loss on the first batch."""
    (project.path / "theirs.py").write_text(THEIRS)
    done = project.run("theirs.py", str(project.data))
    project.run("export.py", "--import", "theirs", "--output", "imported")
    return float(re.search(r"LOSS (\S+)", done.stdout).group(1))  # type: ignore[union-attr]


WITHOUT_MASK = {"data__packing": {"document_mask": False}}  # which transformers does not have


def test_a_run_begins_with_an_imported_model(build: Build) -> None:
    project = build(**WITHOUT_MASK, training__ema={"decay": 0.9})
    theirs = imported(project)
    project.train("run", "--start-from", "imported", "--max-steps", "2")
    losses = project.losses()
    assert losses[0] == pytest.approx(theirs, abs=2e-6)
    assert losses[1] < losses[0]
    # A launcher starts a run that was stopped with the same arguments: it goes on from its checkpoint.
    again = project.train("run", "--resume", "--start-from", "imported", "--max-steps", "3")
    assert "going on from step 2" in again.stdout
    assert [line["step"] for line in project.metrics()] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ddp", "fsdp"])
def test_several_processes_begin_with_an_imported_model(build: Build, layout: str) -> None:
    project = build(hardware__accelerators_per_node=2, parallelism__data=layout, **WITHOUT_MASK)
    theirs = imported(project)
    project.train("run", "--start-from", "imported", "--max-steps", "2", processes=2)
    assert project.losses()[0] == pytest.approx(theirs, abs=2e-6)
    # The weights of a checkpoint do as well, in as many files as it has.
    project.train("further", "--start-from", "run/checkpoints/step-00000002", "--max-steps", "1", processes=2)
    assert project.losses("further")[0] < project.losses()[0]


def test_weights_of_another_model_are_refused(build: Build) -> None:
    project = build()
    project.train("run", "--max-steps", "1")
    refused = project.train("run", "--start-from", "run/checkpoints/step-00000001", check=False)
    assert refused.returncode == 1 and "add --resume" in refused.stderr
    config = project.path / "config.py"
    config.write_text(re.sub(r"num_layers: int = 2\b", "num_layers: int = 3", config.read_text()))
    other = project.train("other", "--start-from", "run/checkpoints/step-00000001", check=False)
    assert other.returncode == 1
    assert "is of another model or optimizer: `layers.2." in other.stderr
    missing = project.train("other", "--start-from", "nowhere", check=False)
    assert missing.returncode == 2 and "--start-from: nowhere is no directory" in missing.stderr
    assert not (project.path / "other").exists()
