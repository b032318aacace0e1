"""Tests on a real Slurm run only where they are asked for, with `-m slurm`."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slurm" not in config.getoption("markexpr"):
        chosen = [item for item in items if item.get_closest_marker("slurm") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
