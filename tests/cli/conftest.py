"""Running the command line the way a shell does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def llmspec() -> Run:
    """Runs `llmspec ARGUMENTS` from the root of the repository, or from `cwd`."""

    def run(*arguments: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LLMSPEC_TRACEBACK")}
        environment |= {"PYTHONPATH": str(ROOT), **variables}
        return subprocess.run(
            [sys.executable, "-m", "llmspec", *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )

    return run
