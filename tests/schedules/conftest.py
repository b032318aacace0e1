"""The learning rate function of a compiled project, taken out of its optim.py."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmspec.emit.environment import environment
from llmspec.lower import lower
from tests.emit.conftest import SMALL, Compiler, changed

Rates = Callable[..., list[float]]
PEAK, STEPS = 2e-3, 240


@pytest.fixture
def rates(tmp_path: Path) -> Rates:
    """The learning rate of every step of a run with a schedule."""

    def rates(max_steps: int = STEPS, **schedule: Any) -> list[float]:
        changes = {"schedule": schedule, "training.max_steps": max_steps, "optimizer.learning_rate": PEAK}
        analysis = Compiler(tmp_path).analyze(changed(SMALL, changes))
        plan = lower(analysis.resolved, analysis.network, analysis.estimate, "", tmp_path)
        config, optim = (environment().get_template(f"project/{name}.py.jinja").render(plan=plan) for name in ("config", "optim"))
        return evaluate(config, optim, max_steps)

    return rates


def evaluate(config: str, optim: str, max_steps: int) -> list[float]:
    """Run the project's own function, with its own numbers, at every step."""
    scope: dict[str, Any] = ModuleType("emitted").__dict__
    exec(compile(config, "config.py", "exec"), scope)
    wanted = [
        node
        for node in ast.parse(optim).body
        if (isinstance(node, ast.FunctionDef) and node.name == "learning_rate")
        or (isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["math"])
    ]
    exec(compile(ast.Module(wanted, []), "optim.py", "exec"), scope)
    function, schedule = scope["learning_rate"], scope["ScheduleConfig"]()
    fixed = (max_steps,) if "max_steps" in inspect.signature(function).parameters else ()
    return [function(step, *fixed, schedule) for step in range(1, max_steps + 1)]
