"""The emitted slurm.sbatch on a real Slurm of one machine: `make test-slurm`."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.conftest import Build, Project, build, corpus, data  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slurm
CLUSTER = Path(__file__).parent / "slurm" / "cluster.sh"
SLURM = {"launch": {"slurm": {}}, "hardware__accelerators_per_node": 2}
LONG = {"training__max_steps": 200, "checkpoint__every": 1000, "evaluation__every": 200}
GPUS = {"hardware__accelerator": "h100-sxm", "hardware__accelerators_per_node": 8, "training__global_batch_size": 16}


@dataclass(frozen=True)
class Cluster:
    """A running Slurm."""

    configuration: Path

    def call(self, *command: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"SLURM_CONF": str(self.configuration), "PYTHON": sys.executable, "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def submit(self, project: Project, output: str, *options: str) -> "Job":
        """Submit the emitted script as it is."""
        where = ["--device", "cpu", "--data-dir", str(project.data), "--output-dir", output]
        number = self.call("sbatch", "--parsable", *options, "launch/slurm.sbatch", *where, cwd=project.path).stdout.strip()
        return Job(self, project, number, output)


@dataclass(frozen=True)
class Job:
    """A job of the cluster."""

    cluster: Cluster
    project: Project
    number: str
    output: str

    def field(self, name: str) -> str:
        match = re.search(rf"\b{name}=(\S+)", self.cluster.call("scontrol", "show", "job", self.number).stdout)
        assert match is not None
        return match[1]

    @property
    def log(self) -> str:
        path = self.project.path / f"slurm-{self.number}.out"
        return path.read_text() if path.exists() else ""

    def steps(self) -> int:
        path = self.project.path / self.output / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def wait(self, what: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"{self.field('JobState')}\n{self.log}"
            time.sleep(0.1)

    def wait_for_steps(self, number: int) -> None:
        self.wait(lambda: self.steps() >= number)

    def wait_for_state(self, *states: str) -> None:
        self.wait(lambda: self.field("JobState") in (*states, "FAILED"))
        assert self.field("JobState") in states, self.log

    def start_again(self) -> None:
        """A job that went back to the queue waits two minutes; not here."""
        self.cluster.call("scontrol", "update", f"JobId={self.number}", "StartTime=now")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from running(tmp_path_factory.mktemp("slurm"))


@pytest.fixture(scope="module")
def gpu_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from running(tmp_path_factory.mktemp("slurm"), "8")


def running(directory: Path, *gpus: str) -> Iterator[Cluster]:
    # Its output goes to a file: daemons that keep a pipe open would keep its reader waiting.
    with (directory / "up.out").open("w") as log:
        done = subprocess.run([CLUSTER, "up", directory, *gpus], stdout=log, stderr=log, check=False, timeout=120)
    try:
        assert done.returncode == 0, (directory / "up.out").read_text()
        yield Cluster(directory / "slurm.conf")
    finally:
        subprocess.run([CLUSTER, "down", directory], check=True, timeout=60)


def test_stopped_four_times_the_run_has_the_same_curve(cluster: Cluster, build: Build) -> None:  # noqa: F811
    project = build(**SLURM, **LONG)
    whole = cluster.submit(project, "whole")
    whole.wait_for_state("COMPLETED")

    job = cluster.submit(project, "stopped")
    for restarts, stop in enumerate(
        (
            ["scancel", "--batch", "--signal=USR1"],  # as before the time limit
            ["scancel", "--signal=TERM"],
            ["scancel", "--signal=USR1"],
        ),
        start=1,
    ):
        job.wait_for_steps(job.steps() + 3)
        cluster.call(*stop, job.number)
        job.wait_for_state("PENDING")
        assert job.field("Restarts") == str(restarts), job.log
        assert job.steps() < 200
        job.start_again()
    # One that is more urgent makes it give way: Slurm itself puts it back.
    job.wait_for_steps(job.steps() + 3)
    urgent = cluster.call(
        "sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
    ).stdout.strip()
    job.wait(lambda: job.field("Restarts") == "4")
    Job(cluster, project, urgent, "").wait_for_state("COMPLETED")
    job.start_again()
    job.wait_for_state("COMPLETED")

    assert job.field("ExitCode") == "0:0"
    assert job.log.count("going on from step") == 4, job.log
    assert project.losses("stopped") == project.losses("whole")
    assert len(project.losses("whole")) == 200
    assert project.weights(200, "stopped") == project.weights(200, "whole")


def test_a_cancelled_job_saves_and_stays_cancelled(cluster: Cluster, build: Build) -> None:  # noqa: F811
    project = build(**SLURM, **LONG)
    job = cluster.submit(project, "run")
    job.wait_for_steps(3)
    cluster.call("scancel", job.number)
    job.wait_for_state("CANCELLED")
    job.wait(lambda: bool(list((project.path / "run" / "checkpoints").glob("step-*/state.json"))))
    time.sleep(2)
    assert job.field("JobState") == "CANCELLED"
    assert job.field("Restarts") == "0"


def test_before_its_time_is_up_a_job_goes_back_to_the_queue(cluster: Cluster, build: Build) -> None:  # noqa: F811
    project = build(launch={"slurm": {"time": "2m"}, "grace_period": "30s"}, training__max_steps=100_000, checkpoint__every=100_000)
    job = cluster.submit(project, "run")
    assert job.field("TimeLimit") == "00:02:00"
    job.wait(lambda: job.field("Restarts") == "1")  # Slurm gives notice up to a minute early
    assert "saved step" in job.log
    (*_, newest) = sorted((project.path / "run" / "checkpoints").glob("step-*/state.json"))
    assert int(newest.parent.name.removeprefix("step-")) == job.steps()
    cluster.call("scancel", job.number)


def test_a_run_that_fails_fails_the_job_at_once(cluster: Cluster, build: Build) -> None:  # noqa: F811
    project = build(**SLURM, **LONG)
    train = project.path / "train.py"
    train.write_text(
        train.read_text().replace(
            "            reporter.advance(step)\n",
            "            reporter.advance(step)\n"
            "            if step == 3 and dist.get_rank() == 1:\n"
            "                raise RuntimeError('a broken device')\n",
        )
    )
    job = cluster.submit(project, "run")
    job.wait_for_state("FAILED")
    assert job.field("ExitCode") == "1:0"
    assert job.field("Restarts") == "0"
    assert "RuntimeError: a broken device" in job.log


def test_gpus_are_asked_for(gpu_cluster: Cluster, build: Build) -> None:  # noqa: F811
    project = build(**GPUS, launch={"slurm": {"time": "12h", "memory": 0, "cpus_per_task": 2}})
    gpu_cluster.call("sbatch", "--test-only", "launch/slurm.sbatch", cwd=project.path)
    for wrong in ({"gres": "gpu:h100:9"}, {"gres": "gpu:a100:8"}, {"cpus_per_task": 4}, {"partition": "none"}, {"constraint": "fast"}):
        project = build(**GPUS, launch={"slurm": wrong})
        done = gpu_cluster.call("sbatch", "--test-only", "launch/slurm.sbatch", cwd=project.path, check=False)
        assert done.returncode != 0, wrong


def test_every_option_is_one_of_sbatch(gpu_cluster: Cluster, build: Build) -> None:  # noqa: F811
    slurm = {
        "partition": "main",
        "account": "physics",
        "time": "1d2h3m",
        "gres": "gpu:h100:8",
        "cpus_per_task": 1,
        "memory": "2G",
        "exclusive": True,
        "requeue": False,
        "output": "%x-%j.log",
        "options": ["--mail-type=END", "--comment=night"],
    }
    project = build(**GPUS, launch={"slurm": slurm})
    done = gpu_cluster.call("sbatch", "--parsable", "--hold", "launch/slurm.sbatch", cwd=project.path)
    shown = gpu_cluster.call("scontrol", "show", "job", done.stdout.strip()).stdout
    gpu_cluster.call("scancel", done.stdout.strip())
    for expected in (
        "JobName=small",
        "Partition=main",
        "Account=physics",
        "TimeLimit=1-02:03:00",
        "TresPerNode=gres:gpu:h100:8",
        "CPUs/Task=1",
        "MinMemoryNode=2G",
        "OverSubscribe=NO",
        "Requeue=0",
        "NumTasks=8",
        "Comment=night",
        "MailType=END",
        f"StdOut={project.path}/small-{done.stdout.strip()}.log",
    ):
        assert expected in shown, shown
