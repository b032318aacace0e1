"""A disk that is full when the run saves: said clearly, and what was saved before is whole."""

import resource
import subprocess
from pathlib import Path

import pytest

from tests.training.conftest import Build, Project


def resume_with_room(project: Project, output: str, size: int, processes: int) -> subprocess.CompletedProcess[str]:
    """Resume a run that may write no file larger than so many bytes: like a full disk, and needs neither root nor a disk."""
    where = ["--device", "cpu", "--data-dir", str(project.data), "--output-dir", output, "--resume"]
    return subprocess.run(
        project.command("train.py", *where, processes=processes),
        cwd=project.path,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def names(project: Project, output: str) -> list[str]:
    return sorted(path.name for path in (project.path / output / "checkpoints").iterdir())


@pytest.mark.parametrize(("processes", "asynchronous"), [(1, False), (1, True), (2, True)])
def test_a_save_without_room_stops_the_run(build: Build, processes: int, asynchronous: bool) -> None:
    project = build(
        hardware__accelerators_per_node=processes,
        checkpoint={"every": 5, "asynchronous": asynchronous},
        training__max_steps=20,
    )
    project.train("whole", processes=processes)
    project.train("full", "--max-steps", "7", processes=processes)
    before = names(project, "full")
    assert before == ["step-00000001", "step-00000005", "step-00000007"]
    done = resume_with_room(project, "full", 100_000, processes)
    assert done.returncode == 1
    line = next(line for line in done.stderr.splitlines() if "could not be written" in line)
    assert "partial-step-00000010 could not be written" in line
    assert "File too large" in line
    assert "MiB are free" in line and "The checkpoint takes" in line
    assert names(project, "full") == before
    project.train("full", "--resume", processes=processes)
    assert project.losses("full") == project.losses("whole")
    assert project.weights(20, "full") == project.weights(20, "whole")


def test_the_first_step_already_shows_that_saving_fails(build: Build) -> None:
    project = build(checkpoint__every=10)
    Path(project.path / "run").mkdir()
    done = resume_with_room(project, "run", 10_000, 1)
    assert done.returncode == 1
    assert "partial-step-00000001 could not be written" in done.stderr
    assert "step  2/20" not in done.stdout
