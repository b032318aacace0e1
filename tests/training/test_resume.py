"""A run that stops and goes on equals one that never stopped."""

import signal
import subprocess

import pytest

from tests.training.conftest import Build, Project


def interrupt(project: Project, output: str, number: signal.Signals) -> int:
    """Start a run, send it a signal after step 4, and wait for its end."""
    where = ["--device", "cpu", "--data-dir", str(project.data), "--output-dir", output]
    process = subprocess.Popen(
        project.command("train.py", *where),
        cwd=project.path,
        env=project.environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step  4/20"):
            process.send_signal(number)
    return process.wait(timeout=100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_the_run_goes_on_bit_for_bit(build: Build, number: signal.Signals) -> None:
    project = build(architecture__dropout=0.1)
    project.train("whole")
    assert interrupt(project, "stopped", number) == 128 + number
    stopped_at = project.metrics("stopped")[-1]["step"]
    assert 4 <= stopped_at < 20
    project.train("stopped", "--resume")
    assert project.losses("stopped") == project.losses("whole")
    assert project.weights(20, "stopped") == project.weights(20, "whole")


def test_a_run_that_is_complete_stays_as_it_is(build: Build) -> None:
    project = build()
    project.train("run", "--max-steps", "3")
    before = project.weights(3)
    assert "going on from step 3" in project.train("run", "--resume", "--max-steps", "3").stdout
    assert project.weights(3) == before
    assert len(project.metrics()) == 3


def test_another_batch_is_refused(build: Build) -> None:
    project = build()
    project.train("run", "--max-steps", "1")
    done = build(training__global_batch_size=16).train("run", "--resume", check=False)
    assert done.returncode == 1
    assert "`global_batch_size` of the training was 8 and is 16 now" in done.stderr
