"""Lets processes.py run a project, and tells what came of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.training.conftest import Project


def do(project: Project, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """Let processes.py run a project."""
    complete = [{"data": str(project.data), "world_size": 1, **task} for task in tasks]
    command = [sys.executable, str(Path(__file__).with_name("processes.py")), str(project.path), json.dumps(complete)]
    done = subprocess.run(command, env=project.environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr + logs(project)
    result: list[dict[str, Any]] = json.loads(done.stdout)
    return result


def logs(project: Project) -> str:
    return "\n".join(path.read_text()[-3000:] for path in project.path.glob("*.log"))
