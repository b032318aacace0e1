"""What the plan says against what the network and the schema say."""

from pathlib import Path

import pytest

from llmspec.compile import analyze
from llmspec.diagnostics import Bag
from llmspec.lower.reporting import lower_reporting
from llmspec.network.network import WeightKind
from tests.training.conftest import data_section, write_project


@pytest.mark.parametrize("spec", ["quickstart", "gpt2-124m", "llama-3.2-1b"])
def test_matrices_are_what_has_two_dimensions(spec: str) -> None:
    """The emitted optim.py tells what decays by the number of dimensions."""
    analysis = analyze(Path(__file__).parents[2] / f"specs/{spec}.yaml", [], Bag())
    for weight in analysis.network.weights:
        assert (len(weight.shape) >= 2) == (weight.kind not in (WeightKind.NORM, WeightKind.BIAS))
        is_embedding = weight.kind in (WeightKind.EMBEDDING, WeightKind.POSITION)
        assert weight.name.startswith("embed_") == is_embedding


def test_files_and_dependencies_follow_from_what_is_asked_for(tmp_path: Path, corpus: Path) -> None:
    project = write_project(tmp_path, {"data": data_section(corpus), "logging": {"tensorboard": True}})
    analysis = analyze(tmp_path / "spec.yaml", [], Bag())
    plan = lower_reporting(analysis.resolved, 1, 1.0)
    assert {file.path for file in plan.files} <= {str(path.relative_to(project)) for path in project.rglob("*.py")}
    assert any(dependency.startswith("tensorboard") for dependency in plan.dependencies)
    assert "tensorboard" in (project / "pyproject.toml").read_text()
