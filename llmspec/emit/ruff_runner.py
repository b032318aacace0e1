"""Running ruff on Python that is not on the disk yet."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruff import find_ruff_bin

from llmspec.emit.project import Project

LINE_LENGTH = 100
TARGET_VERSION = "py311"


@contextmanager
def python_files(project: Project) -> Iterator[Path]:
    """A temporary directory with the Python files of a project, where modules of the project count as first party."""
    with tempfile.TemporaryDirectory(prefix="llmspec-") as name:
        directory = Path(name)
        for path, file in project.items():
            if path.endswith(".py"):
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_text(file.text, "utf-8", newline="\n")
        yield directory


def run_ruff(directory: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ruff on all files of a directory, whatever configuration the user's machine has."""
    # `exclude` is emptied because its usual value holds names such as `build`, which the temporary directory may lie under.
    settings = f'line-length = {LINE_LENGTH}\ntarget-version = "{TARGET_VERSION}"\nexclude = []'
    return subprocess.run(
        [find_ruff_bin(), command, "--isolated", "--no-cache", "--no-respect-gitignore", "--config", settings, *arguments, "."],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("RUFF_")},
        capture_output=True,
        text=True,
        check=False,
    )
