"""Projects with launchers, compiled in memory. Tests on a real Slurm run only where they are asked for, with `-m slurm`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspec.emit import Project
from tests.emit.conftest import SMALL, Compiler, changed

Render = Callable[..., Project]

# What runs are laid over in these tests, by name.
HARDWARE: dict[str, dict[str, Any]] = {
    "processor": {"accelerator": "cpu"},
    "processors": {"accelerator": "cpu", "accelerators_per_node": 2},
    "device": {"accelerator": "h100-sxm"},
    "node": {"accelerator": "h100-sxm", "accelerators_per_node": 8},
    "nodes": {"accelerator": "h100-sxm", "accelerators_per_node": 8, "nodes": 4},
    "amd": {"accelerator": "mi300x", "accelerators_per_node": 8, "nodes": 2},
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slurm" not in config.getoption("markexpr"):
        chosen = [item for item in items if item.get_closest_marker("slurm") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Render the small spec on named hardware with a `launch` section."""

    def render(hardware: str, launch: dict[str, Any], **changes: Any) -> Project:
        dotted = {path.replace("__", "."): value for path, value in changes.items()}
        return Compiler(tmp_path).render(
            changed(SMALL, {"hardware": HARDWARE[hardware], "training.global_batch_size": 64, "launch": launch, **dotted})
        )

    return render
