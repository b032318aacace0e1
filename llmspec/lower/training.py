"""The heart of the training part of the plan: the loss and the numerics of a step."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.batches import warmup_stages
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.training import Ema

# What torch.autocast is told by precision; fp8 is for matrix products of layers alone, all else is bf16 there.
AUTOCAST = {"fp32": None, "fp16": "float16", "bf16": "bfloat16", "fp8": "bfloat16", "fp4": "bfloat16"}


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the templates of train.py and objectives.py need to know of the loss and the numerics.

    `objective_component` is the path of a template to include. `clips` says that gradients are clipped, `max_duration` that the clock
    ends the run, `batch_size_warmup` that the first steps have smaller batches, `ema` that
    a running mean of the weights is kept. `autocast` is torch's name of the number format of matrix products (None: fp32), `scales` says
    that losses are scaled up so that fp16 holds their gradients, `fp8` that layers multiply in it.
    """

    objective_component: str
    z_loss: bool
    clips: bool
    precision: str
    autocast: str | None
    scales: bool
    fp8: bool
    dropout: bool
    document_mask: bool
    max_duration: bool
    batch_size_warmup: bool
    ema: bool
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_training(resolved: Resolved) -> TrainingPlan:
    """Choose the loss and the numerics of a step."""
    spec = resolved.spec
    z_loss = spec.objectives[0].z_loss > 0
    ema = spec.training.ema
    paths = (
        *(("ema.py", "tests/test_ema.py") if ema is not None else ()),
        "objectives.py",
        "train.py",
        "tests/tiny.py",
    )
    deepspeed = spec.parallelism.engine == "deepspeed"
    tests = "components/deepspeed/test_training.py.jinja" if deepspeed else "project/tests/test_training.py.jinja"
    return TrainingPlan(
        objective_component=f"components/objective/cross_entropy{'_z_loss' if z_loss else ''}.py.jinja",
        z_loss=z_loss,
        clips=spec.training.max_grad_norm != "none",
        precision=spec.precision,
        autocast=AUTOCAST[spec.precision],
        scales=spec.precision == "fp16" and not deepspeed,  # which does it by itself
        fp8=spec.precision == "fp8",
        dropout=spec.architecture.dropout > 0 or spec.architecture.attention.dropout > 0,
        document_mask=spec.data.packing.document_mask,
        ema=spec.training.ema is not None,
        batch_size_warmup=bool(spec.training.batch_size_warmup),
        max_duration=spec.training.max_duration is not None,
        dependencies=("torch>=2.9", "safetensors>=0.5", "rich>=13", *(("torchao>=0.13",) if spec.precision == "fp8" else ())),
        config_classes=(
            ConfigClass("TrainingConfig", "Batch, length and numerics of the run.", tuple(_training_fields(spec))),
            *((ConfigClass("EmaConfig", "The running mean of the weights.", _ema_fields(ema)),) if ema is not None else ()),
        ),
        files=(
            *(EmittedFile(path, f"project/{path}.jinja") for path in paths),
            EmittedFile("tests/test_training.py", tests),
        ),
    )


def _ema_fields(ema: Ema) -> tuple[ConfigField, ...]:
    return (
        ConfigField("decay", "float", ema.decay, "share of the mean that stays at an update"),
        ConfigField("every", "int", ema.every, "steps between updates"),
    )


def _warmup_fields(spec: Spec) -> list[ConfigField]:
    stages = tuple((stage.steps, stage.batch) for stage in warmup_stages(spec))
    comment = "steps, and sequences in each, before the full batch"
    return [ConfigField("batch_size_warmup", "tuple[tuple[int, int], ...]", stages, comment)] if stages else []


def _training_fields(spec: Spec) -> list[ConfigField]:
    training = spec.training
    fields = [
        ConfigField("seed", "int", spec.seed, "of weights, data order and dropout"),
        ConfigField("sequence_length", "int", training.sequence_length, "tokens in one sequence"),
        ConfigField("global_batch_size", "int", training.global_batch_size, "sequences in one step, over all devices"),
        *_warmup_fields(spec),
        ConfigField("micro_batch_size", "int", training.micro_batch_size, "sequences in one forward pass on one device"),
        ConfigField("max_steps", "int", training.max_steps, "optimizer steps"),
    ]
    if training.max_grad_norm != "none" and spec.parallelism.engine != "deepspeed":  # which has it in ds_config.json
        fields.append(ConfigField("max_grad_norm", "float", training.max_grad_norm, "gradients of a larger norm are scaled down to it"))
    if spec.precision == "fp8":
        fields.append(ConfigField("fp8_recipe", "str", training.fp8_recipe, "one scale for each tensor, or for each of its rows"))
    if training.max_duration is not None:
        fields.append(ConfigField("max_seconds", "float", training.max_duration, "save and stop after so long"))
    if spec.objectives[0].z_loss > 0:
        fields.append(ConfigField("z_loss", "float", spec.objectives[0].z_loss, "weight of the squared log of the softmax normaliser"))
    return fields
