"""skypilot.yaml against SkyPilot's own schemas, and its shell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llmspec.catalog import accelerator_names, skypilot_name
from tests.launch.conftest import HARDWARE, Render

SCHEMAS = json.loads((Path(__file__).parent / "schemas" / "skypilot.json").read_text())
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
FULL = {
    "infra": "aws/us-east-1",
    "cpus": "16+",
    "memory": 64,
    "disk_size": 512,
    "volume": "checkpoints",
    "setup": ["export A=1", "if true; then", "  echo yes", "fi"],
    "max_restarts": 5,
}
HOSTILE = 'it\'s $(touch MARKER) "x" `touch MARKER` ${z} {a: b} # - \\ : \u2028 \U0001f600'


def check(text: str) -> dict[str, Any]:
    task = yaml.safe_load(text)
    jsonschema.validate(task, SCHEMAS["task"])
    jsonschema.validate(task["resources"], SCHEMAS["resources"])
    for mount in task.get("file_mounts", {}).values():
        jsonschema.validate(mount, SCHEMAS["storage"])
    for script in (task["setup"], task["run"]):
        subprocess.run([SHELLCHECK, "--shell=bash", "-"], input=script, text=True, check=True)
    return task


@pytest.mark.parametrize("settings", [{"volume": "checkpoints"}, FULL], ids=["base", "full"])
@pytest.mark.parametrize("hardware", HARDWARE)
def test_files_are_valid(render: Render, hardware: str, settings: dict[str, Any]) -> None:
    project = render(hardware, {"skypilot": settings})
    task = check(project["launch/skypilot.yaml"].text)
    planned = HARDWARE[hardware]
    count = planned.get("accelerators_per_node", 1)
    expected = {"cpu": None, "h100-sxm": f"H100:{count}", "mi300x": f"MI300X:{count}"}[planned["accelerator"]]
    assert task["resources"].get("accelerators") == expected
    assert task["num_nodes"] == planned.get("nodes", 1)
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [138, 143]
    assert ("launch/torchrun.sh" in project) == (hardware not in ("processor", "device"))


def test_a_bucket_and_spot_machines(render: Render) -> None:
    task = check(render("device", {"skypilot": {"bucket": "s3://name/run"}}, hardware__price="spot")["launch/skypilot.yaml"].text)
    assert task["resources"]["use_spot"] is True
    assert task["file_mounts"] == {"/mnt/checkpoints": {"source": "s3://name/run", "mode": "MOUNT_CACHED"}}
    assert "python train.py --resume --output-dir /mnt/checkpoints/run\n" in task["run"]


@pytest.mark.parametrize("hardware", ["device", "nodes"])
def test_what_a_machine_runs(render: Render, hardware: str, tmp_path: Path) -> None:
    """The emitted shell with a `python` that says what it was asked for."""
    project = render(hardware, {"skypilot": {"volume": "checkpoints"}, "environment": {"A": HOSTILE}})
    for path, file in project.items():
        place = tmp_path / "project" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text, "utf-8")
        place.chmod(0o755)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/usr/bin/env bash\nprintf "%s " "$@"; echo "${A:-}"\n')
    python.chmod(0o755)
    task = check(project["launch/skypilot.yaml"].text)
    environment = os.environ | task["envs"] | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    environment |= {"SKYPILOT_NODE_RANK": "3", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4"}
    for script in (task["setup"], task["run"]):
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path / "project", env=environment, capture_output=True, text=True, check=False, timeout=20
        )
        assert done.returncode == 0, done.stderr
    tokenizer, data, train = done.stdout.strip("\n").split("\n")
    assert (tokenizer, data) == (f"tokenizer.py {HOSTILE}", f"prepare_data.py {HOSTILE}")
    if hardware == "nodes":
        assert "--nnodes 4 --nproc-per-node 8 --node-rank 3 --rdzv-backend static --master-addr 10.0.0.1" in train
    assert train.endswith(f"train.py --resume --output-dir /mnt/checkpoints/run {HOSTILE}")
    assert not list(tmp_path.rglob("MARKER"))


def test_texts_stay_texts(render: Render) -> None:
    settings = {"accelerators": HOSTILE, "bucket": HOSTILE, "infra": HOSTILE, "cpus": HOSTILE, "memory": HOSTILE}
    task = yaml.safe_load(render("device", {"skypilot": settings, "environment": {"A": HOSTILE}})["launch/skypilot.yaml"].text)
    assert task["envs"]["A"] == task["file_mounts"]["/mnt/checkpoints"]["source"] == HOSTILE
    assert {task["resources"][name] for name in ("accelerators", "infra", "cpus", "memory")} == {HOSTILE}


def test_the_checks_can_fail(render: Render) -> None:
    text = render("device", {"skypilot": {"bucket": "s3://name/run"}})["launch/skypilot.yaml"].text
    for right, wrong in (("num_nodes: 1", "num_nodes: one"), ("job_recovery", "recovery"), ("MOUNT_CACHED", "5"), ("run: |", "start: |")):
        assert right in text
        with pytest.raises(jsonschema.ValidationError):
            check(text.replace(right, wrong))


def test_most_of_what_the_catalog_has_can_be_rented() -> None:
    assert skypilot_name("a100-80-sxm") == "A100-80GB"
    assert skypilot_name("cpu") is None
    assert sum(skypilot_name(name) is not None for name in accelerator_names()) >= 25
