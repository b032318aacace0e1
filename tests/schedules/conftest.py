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
    """The learning rate of every step of a run with a schedule, or the momentum, where the optimizer's is given."""

    def rates(max_steps: int = STEPS, momentum: float | None = None, **schedule: Any) -> list[float]:
        changes = {"schedule": schedule, "training.max_steps": max_steps, "optimizer.learning_rate": PEAK}
        if momentum is not None:
            changes["optimizer.beta1"] = momentum
        analysis = Compiler(tmp_path).analyze(changed(SMALL, changes))
        plan = lower(analysis.resolved, analysis.network, analysis.estimate, "", tmp_path)
        config, optim = (environment().get_template(f"project/{name}.py.jinja").render(plan=plan) for name in ("config", "optim"))
        return evaluate(config, optim, max_steps, momentum)

    return rates


def evaluate(config: str, optim: str, max_steps: int, momentum: float | None) -> list[float]:
    """Run the project's own function, with its own numbers, at every step: that of the rate, or of a momentum that is so high at most."""
    scope: dict[str, Any] = ModuleType("emitted").__dict__
    exec(compile(config, "config.py", "exec"), scope)
    wanted = [
        node
        for node in ast.parse(optim).body
        if (isinstance(node, ast.FunctionDef) and node.name in ("learning_rate", "cycle_momentum", "cycle_height"))
        or (isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["math"])
    ]
    exec(compile(ast.Module(wanted, []), "optim.py", "exec"), scope)
    function, schedule = scope["learning_rate" if momentum is None else "cycle_momentum"], scope["ScheduleConfig"]()
    fixed = (max_steps,) if "max_steps" in inspect.signature(function).parameters else ()
    highest = () if momentum is None else (momentum,)
    return [function(step, *fixed, schedule, *highest) for step in range(1, max_steps + 1)]
