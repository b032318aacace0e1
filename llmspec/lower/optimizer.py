"""How the weights move: parameter groups and optimizer."""

from collections.abc import Iterator
from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, ConfigInstance, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.optimizer import (
    Adafactor,
    Adam,
    AdamW,
    AdamW8bit,
    AnyOptimizer,
    L2Optimizer,
    Lamb,
    Lion,
    Muon,
    RmsProp,
    ScheduleFreeAdamW,
    Sgd,
    Soap,
)

_TITLES = {
    "adam": "Adam.",
    "adamw": "AdamW.",
    "sgd": "Stochastic gradient descent.",
    "rmsprop": "RMSprop.",
    "adafactor": "Adafactor.",
    "lamb": "LAMB.",
    "lion": "Lion.",
    "muon": "Muon for the matrices of the layers, AdamW for everything else.",
    "soap": "SOAP.",
    "schedule_free_adamw": "Schedule-free AdamW.",
    "adamw_8bit": "AdamW with 8-bit moments.",
}
_PACKAGES = {
    "adafactor": ("torch>=2.6",),
    "lamb": ("pytorch-optimizer>=4",),
    "lion": ("pytorch-optimizer>=4",),
    "muon": ("torch>=2.9",),
    "soap": ("pytorch-optimizer>=4",),
    "schedule_free_adamw": ("schedulefree>=1.4",),
    "adamw_8bit": ("torchao>=0.14",),
}

# Rates at which a tiny model learns within a few steps.
_TEST_RATES = {"sgd": 0.1, "adafactor": 0.1, "lamb": 0.03, "lion": 0.001}


@dataclass(frozen=True, slots=True)
class OptimizerPlan:
    """What the template of optim.py needs to know.

    `component` and `groups_component` are paths of templates to include; without the latter all parameters are alike. `returns` is the
    class of the optimizer, `imports` the lines that it needs, `typed_any` that it needs typing.Any too, `kind` its name in specs;
    `test_rate` is a rate at which it learns within a few steps.

    `splits` says that two rules share the parameters. `patterns` and `layer_decay` ask for groups of their own, `reads_model` says that
    these depend on more of the model than names, `scales_rates` that some have a rate of their own. `has_modes` says that the weights to
    score and to save are others than those to train. `sharded` says that parameters are spread over devices, `num_dimensions` is the
    expression that tells matrices from vectors there.
    """

    kind: str
    component: str
    groups_component: str | None
    returns: str
    imports: tuple[str, ...]
    decays: bool
    decay_embeddings: bool
    splits: bool
    adamw_scale: bool
    patterns: bool
    layer_decay: bool
    reads_model: bool
    scales_rates: bool
    has_modes: bool
    sharded: bool
    num_dimensions: str
    nesterov: bool
    scaling: str | None
    test_rate: float
    typed_any: bool
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_optimizer(resolved: Resolved) -> OptimizerPlan:
    """Choose the optimizer's components and its numbers."""
    optimizer = resolved.spec.optimizer
    sharded = resolved.world_size > 1 and resolved.spec.parallelism.data in ("fsdp", "hsdp")
    zero_3 = resolved.spec.parallelism.engine == "deepspeed" and resolved.spec.parallelism.zero_stage == 3
    splits = isinstance(optimizer, Muon) or (isinstance(optimizer, AdamW8bit) and not optimizer.quantize_embeddings)
    adamw_scale = isinstance(optimizer, Muon) and optimizer.adamw_learning_rate_scale != 1
    mup = resolved.spec.architecture.mup is not None
    scales = (
        mup or adamw_scale or optimizer.layer_decay is not None or any(group.learning_rate_scale != 1 for group in optimizer.groups or ())
    )
    by_name = splits or scales or optimizer.groups is not None
    decays = optimizer.weight_decay > 0
    groups = "by_name" if by_name else "decay" if decays else None
    component = f"{optimizer.kind}_sharded" if isinstance(optimizer, Muon) and sharded else optimizer.kind
    own = _deepspeed_class(resolved.spec)  # DeepSpeed's own optimizer
    return OptimizerPlan(
        kind=optimizer.kind,
        component="components/deepspeed/optimizer.py.jinja" if own else f"components/optimizer/{component}.py.jinja",
        groups_component=groups and f"components/optimizer/groups_{groups}.py.jinja",
        returns=own or _returns(optimizer, splits),
        imports=(_deepspeed_import(own), "from torch import nn") if own else _imports(optimizer, splits, sharded),
        decays=decays,
        decay_embeddings=optimizer.decay_embeddings,
        splits=splits,
        adamw_scale=adamw_scale,
        patterns=optimizer.groups is not None,
        layer_decay=optimizer.layer_decay is not None,
        reads_model=mup or optimizer.layer_decay is not None,
        scales_rates=scales,
        has_modes=isinstance(optimizer, ScheduleFreeAdamW),
        sharded=sharded,
        num_dimensions="num_dimensions(parameter)" if zero_3 else "parameter.ndim",
        nesterov=isinstance(optimizer, Sgd | Muon) and optimizer.nesterov,
        scaling=optimizer.scaling if isinstance(optimizer, Muon) else None,
        test_rate=_TEST_RATES.get(optimizer.kind, 0.003),
        typed_any=groups is not None or not isinstance(optimizer, Adam | AdamW | Sgd | RmsProp | Adafactor | Lion),
        dependencies=() if own else _PACKAGES.get(optimizer.kind, ()),
        config_classes=tuple(_config_classes(optimizer, by_name)),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in ("optim.py", "tests/test_optim.py")),
    )


def _deepspeed_class(spec: Spec) -> str | None:
    """DeepSpeed's own optimizer, of the device or of the host; None where torch's or another library's is used."""
    layout = spec.parallelism
    if layout.engine != "deepspeed" or not layout.deepspeed_optimizer:
        return None
    offloaded = layout.offload is not None and layout.offload.optimizer != "none"
    name = "Lion" if spec.optimizer.kind == "lion" else "Adam"
    return f"DeepSpeedCPU{name}" if offloaded else f"Fused{name}"


def _deepspeed_import(name: str) -> str:
    return f"from deepspeed.ops.{'lion' if name.endswith('Lion') else 'adam'} import {name}"


def _returns(optimizer: AnyOptimizer, splits: bool) -> str:
    if splits:
        return "OptimizerPair"
    names = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adafactor": "Adafactor", "lamb": "Lamb", "lion": "Lion"}
    return (names | {"soap": "SOAP", "schedule_free_adamw": "AdamWScheduleFree", "adamw_8bit": "AdamW8bit"})[optimizer.kind]


def _imports(optimizer: AnyOptimizer, splits: bool, sharded: bool) -> tuple[str, ...]:
    """The lines that import what the optimizer is made of, in their order."""
    match optimizer:
        case Adam() | AdamW() | Sgd() | RmsProp() | Adafactor():
            return ("from torch import nn", f"from torch.optim import {_returns(optimizer, splits)}")
        case Lion():
            return ("from pytorch_optimizer import Lion", "from torch import nn")
        case Muon():
            if sharded:
                tensors = "from torch.distributed.tensor import DTensor, distribute_tensor"
                return ("import torch", "from torch import Tensor, nn", tensors, "from torch.optim import AdamW, Optimizer")
            return ("from torch import nn", "from torch.optim import AdamW, Muon, Optimizer")
        case ScheduleFreeAdamW():
            return ("import schedulefree", "import torch", "from torch import nn")
        case AdamW8bit():
            quantised = ("from torchao.optim.subclass_8bit import OptimState8bit",)
            torch = ("from torch.optim import AdamW, Optimizer",) if splits else ()
            return ("import torch", "import torchao.optim", "from torch import nn", *torch, *quantised)
        case Soap():
            return ("import pytorch_optimizer", "import torch", "from torch import nn")
        case _:
            return ("import pytorch_optimizer", "from torch import nn")


def _config_classes(optimizer: AnyOptimizer, by_name: bool) -> Iterator[ConfigClass]:
    fields = [*_own_fields(optimizer)]
    if optimizer.weight_decay or by_name:
        fields.append(ConfigField("weight_decay", "float", optimizer.weight_decay, _decay_comment(optimizer)))
    if optimizer.layer_decay is not None:
        fields.append(ConfigField("layer_decay", "float", optimizer.layer_decay, "what each earlier layer's rate is multiplied by"))
    if optimizer.groups is not None:
        instances = tuple(
            ConfigInstance(
                "GroupConfig",
                (("pattern", group.pattern), ("rate_scale", group.learning_rate_scale), ("weight_decay", group.weight_decay)),
            )
            for group in optimizer.groups
        )
        fields.append(ConfigField("groups", "tuple[GroupConfig, ...]", instances, "the first whose pattern matches counts"))
        yield ConfigClass(
            "GroupConfig",
            "Parameters with a rate or a weight decay of their own.",
            (
                ConfigField("pattern", "str", "", "of their names", required=True),
                ConfigField("rate_scale", "float", 1.0, "their learning rate, as a multiple of the run's", required=True),
                ConfigField("weight_decay", "float | None", None, "None where it is that of the optimizer", required=True),
            ),
        )
    yield ConfigClass("OptimizerConfig", _TITLES[optimizer.kind], tuple(fields))


def _decay_comment(optimizer: AnyOptimizer) -> str:
    what = "matrices and embeddings" if optimizer.decay_embeddings else "matrices"
    if isinstance(optimizer, L2Optimizer):
        return f"of {what}, added to their gradients"
    return f"of {what}, in the step that is scaled" if isinstance(optimizer, Lamb) else f"of {what}, times the learning rate"


def _own_fields(optimizer: AnyOptimizer) -> Iterator[ConfigField]:
    """The numbers that only some optimizers have."""
    match optimizer:
        case Sgd():
            yield ConfigField("momentum", "float", optimizer.momentum, "share of the last step that the next one keeps")
        case RmsProp():
            yield ConfigField("beta2", "float", optimizer.beta2, "decay of the mean square of the gradient")
            yield ConfigField("momentum", "float", optimizer.momentum, "share of the last step that the next one keeps")
            yield ConfigField("rms_eps", "float", optimizer.rms_eps, "added to the root of the mean square")
        case Adafactor():
            yield ConfigField("decay_exponent", "float", optimizer.decay_exponent, "the second moment's decay at step t is 1 - t^-this")
            yield ConfigField("clip_threshold", "float", optimizer.clip_threshold, "largest root mean square of a step, before the rate")
            yield ConfigField("rms_eps", "float", optimizer.rms_eps, "smallest root of a second moment")
            yield ConfigField("min_scale", "float", optimizer.min_scale, "smallest root mean square that a tensor counts with")
        case Lion():
            yield ConfigField("beta1", "float", optimizer.beta1, "share of the momentum in the step")
            yield ConfigField("beta2", "float", optimizer.beta2, "decay of the momentum")
        case Muon():
            yield ConfigField("momentum", "float", optimizer.momentum, "decay of the momentum")
            yield ConfigField("newton_schulz_steps", "int", optimizer.newton_schulz_steps, "that make the momentum orthogonal")
            if optimizer.adamw_learning_rate_scale != 1:
                yield ConfigField(
                    "adamw_rate_scale", "float", optimizer.adamw_learning_rate_scale, "rate of AdamW's parameters, by the run's"
                )
            yield from _adam_fields(optimizer, "AdamW's first moment", "AdamW's second moment")
        case ScheduleFreeAdamW():
            yield ConfigField("beta1", "float", optimizer.beta1, "where gradients are taken: 1 the average, 0 the newest weights")
            yield ConfigField("beta2", "float", optimizer.beta2, "decay of the second moment")
            yield ConfigField("adam_eps", "float", optimizer.adam_eps, "added to the root of the second moment")
            yield ConfigField("average_power", "float", optimizer.average_power, "step t counts t^this times in the average")
        case _:
            yield from _adam_fields(optimizer, "the first moment", "the second moment")
    if isinstance(optimizer, Soap):
        yield ConfigField("precondition_every", "int", optimizer.precondition_every, "steps between two updates of the eigenbasis")
        yield ConfigField("max_precondition_size", "int", optimizer.max_precondition_size, "larger dimensions are left alone")
    if isinstance(optimizer, AdamW8bit):
        yield ConfigField("block_size", "int", optimizer.block_size, "values that share one scale")


def _adam_fields(optimizer: Adam | AdamW | Lamb | Muon | Soap | AdamW8bit, first: str, second: str) -> Iterator[ConfigField]:
    yield ConfigField("beta1", "float", optimizer.beta1, f"decay of {first}")
    yield ConfigField("beta2", "float", optimizer.beta2, f"decay of {second}")
    yield ConfigField("adam_eps", "float", optimizer.adam_eps, f"added to the root of {second}")
