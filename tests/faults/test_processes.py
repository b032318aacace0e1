"""Processes that die, hang or are told to stop: the others do not wait for ever, and say whose fault it was."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.faults.runs import Run
from tests.training.conftest import Build, Project

BROKEN = """
import os, sys
import train
original = train.fetch
def fetch(data, step, *rest):
    if os.environ["RANK"] == "1" and step == 4:
        {fault}
    return original(data, step, *rest)
train.fetch = fetch
sys.exit(train.record(train.main)())
"""


@pytest.fixture
def long_run(build: Build) -> Project:
    return build(hardware__accelerators_per_node=2, training__max_steps=5000, checkpoint__every=1000, parallelism__collective_timeout="4s")


def test_an_error_of_one_rank_ends_the_run_and_comes_first(long_run: Project) -> None:
    (long_run.path / "broken.py").write_text(BROKEN.format(fault="raise ZeroDivisionError('of rank 1')"))
    run = Run(long_run, "broken.py")
    run.until("step    1/")
    started = time.monotonic()
    output = run.rest()
    assert time.monotonic() - started < 30
    assert run.process.returncode == 1
    traceback = output[output.index("Traceback") :]
    assert re.search(r"\w+Error: .*", traceback).group() == "ZeroDivisionError: of rank 1"  # type: ignore[union-attr]
    root = output[output.index("Root Cause") :]
    assert "rank      : 1" in root and "ZeroDivisionError: of rank 1" in root


def test_a_rank_that_is_killed_ends_the_run(long_run: Project) -> None:
    run = Run(long_run)
    run.until("step    3/")
    os.kill(run.ranks()[1], signal.SIGKILL)
    started = time.monotonic()
    output = run.rest()
    assert time.monotonic() - started < 30
    assert run.process.returncode == 1
    assert re.search(r"rank +: 1 .*\n +exitcode +: -9 ", output)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_is_named(long_run: Project, rank: int) -> None:
    run = Run(long_run)
    run.until("step    3/")
    stopped = run.ranks()[rank]
    os.kill(stopped, signal.SIGSTOP)
    try:
        started = time.monotonic()
        run.until(f"TimeoutError: the processes waited for a rank that did not come: {rank}$")
        assert time.monotonic() - started < 60
    finally:
        os.kill(stopped, signal.SIGKILL)  # torchrun would do it half a minute later
    run.rest()
    assert run.process.returncode == 1


def test_a_rank_that_hangs_between_collectives_is_named(build: Build) -> None:
    """Its process is well and answers; only its training does not come further."""
    sharded = {"parallelism__data": "fsdp", "parallelism__collective_timeout": "4s", "training__max_steps": 5000}
    project = build(hardware__accelerators_per_node=2, checkpoint__every=1000, **sharded)
    (project.path / "broken.py").write_text(BROKEN.format(fault="import time; time.sleep(1000)"))
    run = Run(project, "broken.py")
    run.until("TimeoutError: the processes waited for a rank that did not come: 1$")
    assert "Rank 0 waits here:" in run.rest()
    assert run.process.returncode == 1


def test_rank_0_that_hangs_with_the_store_is_named(long_run: Project) -> None:
    """Where no torchrun keeps the store, as on Slurm, it goes with rank 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = long_run.command("train.py", "--device", "cpu", "--data-dir", str(long_run.data))
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    started = {"cwd": long_run.path, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    first, second = (
        subprocess.Popen(command, env=long_run.environment | meeting | {"RANK": rank, "LOCAL_RANK": rank}, **started)  # type: ignore[call-overload]
        for rank in "01"
    )
    try:
        assert any("step    3/" in line for line in first.stdout)
        os.kill(first.pid, signal.SIGSTOP)
        output, _ = second.communicate(timeout=60)
    finally:
        first.kill()
        second.kill()
        first.communicate()
    assert "TimeoutError: the processes waited for a rank that did not come: 0" in output
    assert second.returncode == 1


def test_one_signalled_rank_stops_all_at_the_same_step(long_run: Project) -> None:
    run = Run(long_run)
    run.until("step    3/")
    processes = run.ranks()
    os.kill(processes[1], signal.SIGUSR1)
    output = run.rest()
    step = int(re.search(r"saved step (\d+) and stopped", output).group(1))  # type: ignore[union-attr]
    assert (long_run.path / f"run/checkpoints/step-{step:08d}/state.json").exists()
    # The one that is the first to exit has torchrun end the other, if that is still there then.
    statuses = re.findall(r"exitcode +: (-?\d+)", output)
    assert "138" in statuses and set(statuses) <= {"138", "-15"}
