"""How the weights move: parameter groups and optimizer."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec


@dataclass(frozen=True, slots=True)
class OptimizerPlan:
    """What the template of optim.py needs to know.

    `groups_component` is the path of a template to include.
    """

    groups_component: str
    decays: bool
    decay_embeddings: bool
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_optimizer(resolved: Resolved) -> OptimizerPlan:
    """Choose the optimizer's components and its numbers."""
    spec = resolved.spec
    return OptimizerPlan(
        groups_component=f"components/optimizer/adamw{'_decay' if spec.optimizer.weight_decay else ''}.py.jinja",
        decays=spec.optimizer.weight_decay > 0,
        decay_embeddings=spec.optimizer.decay_embeddings,
        config_classes=(ConfigClass("OptimizerConfig", "AdamW.", (*_optimizer_fields(spec), *_weight_decay_fields(spec))),),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("optim.py", "tests/test_optim.py")),
    )


def _optimizer_fields(spec: Spec) -> tuple[ConfigField, ...]:
    return (
        ConfigField("beta1", "float", spec.optimizer.beta1, "decay of the first moment"),
        ConfigField("beta2", "float", spec.optimizer.beta2, "decay of the second moment"),
        ConfigField("adam_eps", "float", spec.optimizer.adam_eps, "added to the root of the second moment"),
    )


def _weight_decay_fields(spec: Spec) -> list[ConfigField]:
    if not spec.optimizer.weight_decay:
        return []
    what = "matrices and embeddings" if spec.optimizer.decay_embeddings else "matrices"
    return [ConfigField("weight_decay", "float", spec.optimizer.weight_decay, f"of {what}, times the learning rate")]
