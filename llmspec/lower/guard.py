"""What keeps harmful steps from the weights."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """What the template of guard.py needs to know: its component, and whether spikes are skipped as well."""

    component: str
    spikes: bool
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_guard(resolved: Resolved) -> GuardPlan:
    """Choose what counts as a fault."""
    guard = resolved.spec.training.guard
    fields = [
        ConfigField("max_skipped_steps", "int", guard.max_skipped_steps, "of the last `window` steps; more of them stop the run"),
        ConfigField("window", "int", guard.window, "steps that are looked at"),
    ]
    if guard.spike_sigma is not None:
        fields.append(ConfigField("spike_sigma", "float", guard.spike_sigma, "standard deviations above the window's mean"))
    return GuardPlan(
        component=f"components/guard/{'finite' if guard.spike_sigma is None else 'spikes'}.py.jinja",
        spikes=guard.spike_sigma is not None,
        config_classes=(ConfigClass("GuardConfig", "Which steps are skipped.", tuple(fields)),),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("guard.py", "tests/test_guard.py")),
    )
