"""The emitted shell: clean under shellcheck, and what it does, with stand-ins for Python and Slurm."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmspec.emit import Project
from tests.launch.conftest import HARDWARE, Render

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
HOSTILE = 'it\'s $(touch MARKER) "x" `touch MARKER` ${z} ; & | # \\ \u2028 \U0001f600'
CONTAINERS = {
    "bare": None,
    "pyxis": {"kind": "pyxis", "image": HOSTILE, "mounts": [HOSTILE, "/data:/data"]},
    "apptainer": {"kind": "apptainer", "image": HOSTILE, "mounts": [HOSTILE]},
}
# Each says what it was called with, one word a line, and ends as the test wants.
STANDINS = {
    "srun": 'printf "srun:%s\\n" "$@"; while [[ $1 == --* ]]; do shift; done; SLURM_PROCID=3 SLURM_LOCALID=1 "$@"; exit "${STATUS:-0}"',
    "sleep": "exit",
    "scontrol": '[[ $1 == show ]] && echo node1 || printf "scontrol:%s\\n" "$*"',
    "module": 'printf "module:%s\\n" "$@"',
    "apptainer": 'printf "apptainer:%s\\n" "$@"; while [[ $1 != */python ]]; do shift; done; "$@"',
    "python": 'printf "python:%s\\n" "$@"; echo "rank:${RANK:-} ${LOCAL_RANK:-} of ${WORLD_SIZE:-} at ${MASTER_ADDR:-}"; echo "A:${A:-}"',
}


def write(project: Project, directory: Path) -> Path:
    for path, file in project.items():
        if path.startswith("launch/") or path == "train.py":
            place = directory / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.text, "utf-8")
    for name, body in STANDINS.items():
        place = directory / "bin" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/usr/bin/env bash\n{body}\n")
        place.chmod(0o755)
    return directory


def submit(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the batch script as Slurm does: from another place than where it stands."""
    slurm = {"SLURM_SUBMIT_DIR": str(directory), "SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "node[1-4]", "SLURM_NTASKS": "32"}
    return subprocess.run(
        ["bash", directory / "launch" / "slurm.sbatch", *arguments],
        env=os.environ
        | slurm
        | {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "PYTHON": str(directory / "bin" / "python")}
        | environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize("hardware", HARDWARE)
def test_shellcheck_finds_nothing(render: Render, hardware: str, tmp_path: Path) -> None:
    slurm: list[dict[str, Any]] = [{}, {"requeue": False, "cpus_per_task": 4, "modules": [HOSTILE], "setup": ["export B=1"]}]
    slurm += [{"container": container} for container in CONTAINERS.values()]
    torchrun: list[dict[str, Any]] = [{}, {"rendezvous": "elastic"}, {"rendezvous": "elastic", "max_restarts": 0}, {}, {}]
    for index, settings in enumerate(slurm):
        launch = {"local": {}, "torchrun": torchrun[index], "slurm": settings, "environment": {"A": HOSTILE} if index else {}}
        directory = write(render(hardware, launch), tmp_path / str(index) / "a project")
        scripts = sorted(path for path in (directory / "launch").iterdir())
        assert [path.name for path in scripts] == ["local.sh", "slurm.sbatch", "torchrun.sh"]
        subprocess.run([SHELLCHECK, *scripts], check=True)


@pytest.mark.parametrize("container", CONTAINERS)
def test_words_arrive_whole(render: Render, container: str, tmp_path: Path) -> None:
    launch = {"slurm": {"modules": [HOSTILE], "container": CONTAINERS[container]}, "environment": {"A": HOSTILE}}
    directory = write(render("nodes", launch), tmp_path / "a project's place")
    done = submit(directory, "--output-dir", HOSTILE)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("\n")
    assert f"module:{HOSTILE}" in said
    assert [line for line in said if line.startswith("python:")] == [
        f"python:{word}" for word in ("train.py", "--resume", "--output-dir", HOSTILE)
    ]
    assert "rank:3 1 of 32 at node1" in said
    assert f"A:{HOSTILE}" in said
    if container == "pyxis":
        assert f"srun:--container-image={HOSTILE}" in said
        assert f"srun:--container-mounts={directory}:{directory},{HOSTILE},/data:/data" in said
    if container == "apptainer":
        assert {f"apptainer:{word}" for word in ("--nv", str(directory), HOSTILE)} <= set(said)
    assert not list(tmp_path.rglob("MARKER"))


@pytest.mark.parametrize(("status", "goes_back"), [(0, False), (1, False), (130, False), (138, True), (143, True)])
def test_which_jobs_go_back_to_the_queue(render: Render, status: int, goes_back: bool, tmp_path: Path) -> None:
    for requeue in (True, False):
        directory = write(render("node", {"slurm": {"requeue": requeue}}), tmp_path / str(requeue))
        done = submit(directory, STATUS=str(status))
        assert done.returncode == status
        assert ("scontrol:requeue 12345" in done.stdout) == (goes_back and requeue)


def test_a_job_from_elsewhere_says_so(render: Render, tmp_path: Path) -> None:
    directory = write(render("node", {"slurm": {}}), tmp_path)
    done = submit(directory, SLURM_SUBMIT_DIR=str(tmp_path / "launch"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "submit this script from the project's directory" in done.stderr


def test_one_device_needs_no_meeting_point(render: Render, tmp_path: Path) -> None:
    project = render("device", {"slurm": {}})
    assert "MASTER_ADDR" not in project["launch/slurm.sbatch"].text
    done = submit(write(project, tmp_path))
    assert "rank:  of  at" in done.stdout


def test_options_stand_before_the_first_command(render: Render) -> None:
    text = render("nodes", {"slurm": {"options": ["--mail-type=END"], "time": "1d2h"}})["launch/slurm.sbatch"].text
    head, _, rest = text.partition("set -euo pipefail")
    assert "#SBATCH" not in rest
    options = [line.removeprefix("#SBATCH ") for line in head.splitlines() if line.startswith("#SBATCH")]
    assert {"--nodes=4", "--ntasks-per-node=8", "--gres=gpu:8", "--time=1-02:00:00", "--signal=B:USR1@120", "--mail-type=END"} <= set(
        options
    )
    assert "--open-mode=append" in options  # or a job that comes back would overwrite what it has said


def test_a_processor_asks_for_no_gpu(render: Render) -> None:
    text = render("processors", {"slurm": {}})["launch/slurm.sbatch"].text
    assert "gres" not in text
    assert "PYTORCH_ALLOC_CONF" not in text
    assert "PYTORCH_ALLOC_CONF" in render("node", {"slurm": {}})["launch/slurm.sbatch"].text
    own = render("node", {"slurm": {}, "environment": {"PYTORCH_ALLOC_CONF": "backend:cudaMallocAsync"}})["launch/slurm.sbatch"].text
    assert own.count("PYTORCH_ALLOC_CONF") == 1 and "cudaMallocAsync" in own
