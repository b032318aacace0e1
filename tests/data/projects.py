"""Projects of nothing but the data side, rendered into a directory and run for real."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter

from llmspec.emit.environment import environment
from llmspec.emit.format import format_project
from llmspec.emit.project import EmittedText
from llmspec.lower.data import DataPlan, lower_data
from llmspec.spec.schema.data import Data
from llmspec.spec.schema.tokenizer import AnyTokenizer

BYTE = {"kind": "byte"}


@dataclass(frozen=True)
class DataProject:
    """A rendered project."""

    directory: Path
    plan: DataPlan

    def run(self, *arguments: str, fails: bool = False, **environment_variables: str) -> str:
        """Run Python in the project; returns what it printed."""
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=300,
            # Projects are rebuilt here faster than the time stamps of bytecode, whole seconds, can tell.
            env={
                **os.environ,
                "PYTHONPATH": str(self.directory),
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                **environment_variables,
            },
            check=False,
        )
        output = process.stdout + process.stderr
        assert (process.returncode != 0) == fails, output
        assert "Traceback" not in output, output
        return output

    def evaluate(self, code: str) -> str:
        """Run a few lines in the project; returns what they printed."""
        return self.run("-c", code)

    def prepare(self, workers: int = 2) -> str:
        """Tokenizer and shards."""
        return self.run("tokenizer.py") + self.run("prepare_data.py", "--workers", str(workers))


def plan_data(
    sources: list[dict[str, Any]],
    tokenizer: dict[str, Any],
    directory: Path,
    output_directory: Path,
    **data: Any,
) -> DataPlan:
    """The data's part of a plan."""
    spec = SimpleNamespace(
        tokenizer=TypeAdapter(AnyTokenizer).validate_python(tokenizer),
        data=Data.model_validate({"sources": tuple(sources), **data}),
    )
    resolved: Any = SimpleNamespace(spec=spec, directory=directory)
    return lower_data(resolved, output_directory)


def render_data(plan: DataPlan) -> dict[str, str]:
    """The data side's files and the config, formatted."""
    jinja = environment()
    others = {"layout": SimpleNamespace(distributed=True), "reporting": SimpleNamespace(on_gpu=True)}
    plans = SimpleNamespace(data=plan, config_classes=plan.config_classes, **others)
    texts = {"config.py": jinja.get_template("project/config.py.jinja").render(plan=plans)}
    texts |= {file.path: jinja.get_template(str(file.template)).render(plan=plans) for file in plan.files}
    project = format_project({path: EmittedText(text) for path, text in texts.items()})
    return {path: file.text for path, file in project.items()}


def build(directory: Path, sources: list[dict[str, Any]], tokenizer: dict[str, Any], **data: Any) -> DataProject:
    """Render a project into `directory / "project"`; paths of the sources are relative to `directory`."""
    target = directory / "project"
    plan = plan_data(sources, tokenizer, directory, target, **data)
    for path, text in render_data(plan).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    return DataProject(target, plan)
