"""Lets processes.py run a project, and tells what came of it."""

import json
import re
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


class Run:
    """A run of two processes under torchrun, whose output is read as it comes."""

    def __init__(self, project: Project, script: str = "train.py", *arguments: str, output: str = "run") -> None:
        where = ["--device", "cpu", "--data-dir", str(project.data), "--output-dir", output]
        self.process = subprocess.Popen(
            project.command(script, *where, *arguments, processes=2),
            cwd=project.path,
            env=project.environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> str:
        """Read as far as a line with the pattern."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line matches {pattern!r}:\n" + "".join(self.lines))

    def rest(self) -> str:
        """Read to the end, and wait for it."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        self.process.wait(timeout=100)
        return "".join(self.lines)

    def ranks(self) -> dict[int, int]:
        """The processes' ids by rank."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True).stdout.split()
        found = {}
        for pid in map(int, children):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found[next(int(entry[5:]) for entry in environment if entry.startswith(b"RANK="))] = pid
        return found
