"""A project on the disk."""

import os
from pathlib import Path

import pytest

from tests.rebuild.projects import build, project


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is shown by the order of operations (test_crash.py); here it would only cost time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A project that was built once."""
    directory = tmp_path / "generated" / "run"
    assert build(project(), directory).codes == []
    return directory
