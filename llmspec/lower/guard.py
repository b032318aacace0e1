"""What keeps harmful steps from the weights."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """What the template of guard.py needs to know.

    `spikes` says that leaps of loss and gradient norm are skipped as well; `spoils` that the engine is brought to skip them by a gradient
    that is not finite, which can be done for the loss alone.
    """

    component: str
    spikes: bool
    spoils: bool
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_guard(resolved: Resolved) -> GuardPlan:
    """Choose what counts as a fault."""
    guard, parallelism = resolved.spec.training.guard, resolved.spec.parallelism
    spikes = guard.spike_sigma is not None
    spoils = spikes and parallelism.engine == "deepspeed" and parallelism.zero_stage > 0
    fields = [
        ConfigField("max_skipped_steps", "int", guard.max_skipped_steps, "of the last `window` steps; more of them stop the run"),
        ConfigField("window", "int", guard.window, "steps that are looked at"),
    ]
    if guard.spike_sigma is not None:
        fields.append(ConfigField("spike_sigma", "float", guard.spike_sigma, "standard deviations above the window's mean"))
    return GuardPlan(
        component=f"components/guard/{'spikes_of_loss' if spoils else 'spikes' if spikes else 'finite'}.py.jinja",
        spikes=spikes,
        spoils=spoils,
        config_classes=(ConfigClass("GuardConfig", "Which steps are skipped.", tuple(fields)),),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("guard.py", "tests/test_guard.py")),
    )
