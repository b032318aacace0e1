"""launch/deepspeed.sh, with what it starts and what the other machines would be told."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deepspeed.conftest import Make, corpus, data, make
from tests.deepspeed.conftest import deepspeed as zero
from tests.launch.conftest import Render

__all__ = ["corpus", "data", "make"]

ZERO = {"parallelism__engine": "deepspeed"}


@pytest.mark.parametrize("hardware", ["node", "nodes", "processors"])
def test_the_script_is_clean(render: Render, tmp_path: Path, hardware: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    project = render(hardware, {"deepspeed": {}, "environment": {"A": "it's $HOME"}}, **ZERO)
    script = tmp_path / "deepspeed.sh"
    script.write_text(project["launch/deepspeed.sh"].text)
    subprocess.run(["shellcheck", script], check=True)
    assert project["launch/deepspeed.sh"].executable
    assert ("launch/hostfile" in project) == (hardware == "nodes")


def test_machines_and_their_environment(render: Render) -> None:
    nasty = 'it\'s $(touch pwned) `a` "b" \\ 100%'
    project = render("nodes", {"deepspeed": {}, "environment": {"A": nasty}}, **ZERO)
    lines = [line for line in project["launch/hostfile"].text.splitlines() if not line.startswith("#")]
    assert lines == [f"machine-{number} slots=8" for number in range(4)]
    assert "--hostfile" in project["launch/deepspeed.sh"].text
    # As DeepSpeed's launcher writes it into the command of each machine, where pdsh reads %% as %.
    runner = pytest.importorskip("deepspeed.launcher.multinode_runner").MultiNodeRunner
    name, _, value = next(line for line in project["launch/deepspeed.env"].text.splitlines() if line.startswith("A=")).partition("=")
    told = type("Runner", (runner,), {"__init__": lambda self: None, "backend_exists": None, "get_cmd": None})()
    told.exports = {}
    told.add_export(name, value)
    command = f'export A={told.exports["A"]}; printf %s "$A"'.replace("%%", "%")
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout == nasty


@pytest.mark.slow
def test_the_launcher_trains(make: Make) -> None:
    project = make("launched", zero(1) | {"launch": {"deepspeed": {"port": 29_517}}})
    script = project.path / "launch/deepspeed.sh"
    arguments = ["--device", "cpu", "--data-dir", str(project.data), "--max-steps", "3"]
    command = ["bash", str(script), *arguments]
    done = subprocess.run(
        command, env=os.environ | project.environment | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, shlex.join(command) + done.stdout + done.stderr
    assert len(project.losses()) == 3
    assert "zero stage 1 over 2" in done.stdout
