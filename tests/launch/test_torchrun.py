"""launch/torchrun.sh on two machines, which are one here."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Build, Project, build, corpus, data  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slow
TWO = {"hardware__nodes": 2, "training__max_steps": 200, "checkpoint__every": 5, "evaluation__every": 200}


class Machine:
    """One machine's launch/torchrun.sh."""

    def __init__(self, project: Project, rank: int, port: int, output: str) -> None:
        where = {"NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHON": sys.executable}
        self.log = project.path / f"{output}-{rank}-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["bash", "launch/torchrun.sh", "--device", "cpu", "--data-dir", str(project.data), "--output-dir", output],
                cwd=project.path,
                env=project.environment | where,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def workers(self) -> list[int]:
        """The processes of train.py below the script."""
        found, open_ends = [], [self.process.pid]
        while open_ends:
            path = Path(f"/proc/{(parent := open_ends.pop())}/task/{parent}/children")
            for child in map(int, path.read_text().split() if path.exists() else ()):
                command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                found += [child] if b"train.py" in command and b"torch.distributed.run" not in command else []
                open_ends.append(child)
        return found

    def wait(self) -> int:
        return self.process.wait(timeout=200)


def start(project: Project, output: str) -> list[Machine]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return [Machine(project, rank, port, output) for rank in range(2)]


def until(what: Callable[[], bool], machines: list[Machine]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end, "\n".join(machine.log.read_text() for machine in machines)
        time.sleep(0.05)


def steps(project: Project, output: str) -> int:
    path = project.path / output / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def test_a_static_rendezvous_stopped_and_started_again(build: Build) -> None:  # noqa: F811
    project = build(**TWO, launch={"torchrun": {}})
    whole = start(project, "whole")
    assert [machine.wait() for machine in whole] == [0, 0], whole[0].log.read_text()

    machines = start(project, "stopped")
    until(lambda: steps(project, "stopped") >= 12, machines)
    # Told on one machine, the whole run saves and stops.
    machines[1].process.send_signal(signal.SIGUSR1)
    assert machines[1].wait() == 138, machines[1].log.read_text()
    assert machines[0].wait() != 0
    assert "saved step" in machines[0].log.read_text()
    assert steps(project, "stopped") < 200
    machines = start(project, "stopped")
    assert [machine.wait() for machine in machines] == [0, 0], machines[0].log.read_text()
    assert project.losses("stopped") == project.losses("whole")


def test_an_elastic_rendezvous_survives_a_dead_process(build: Build) -> None:  # noqa: F811
    project = build(**TWO, launch={"torchrun": {"rendezvous": "elastic"}})
    machines = start(project, "run")
    until(lambda: steps(project, "run") >= 12, machines)
    (worker,) = machines[1].workers()
    os.kill(worker, signal.SIGKILL)
    assert [machine.wait() for machine in machines] == [0, 0], machines[1].log.read_text()
    assert "going on from step" in "".join(machine.log.read_text() for machine in machines)
    losses = project.losses("run")
    assert len(losses) == 200
    project.train("one")
    assert losses == pytest.approx(project.losses("one"), abs=5e-6)
