"""The training part of the plan: loss, optimizer, schedule, layout, checkpoints, reports and evaluation."""

from dataclasses import dataclass

from llmspec.catalog.accelerators import find_accelerator
from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.optimizer import ConstantSchedule, WsdSchedule

_METRIC_NAMES = {"perplexity": "perplexity", "bits_per_byte": "bits per byte"}


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the templates of train.py and of the modules that it uses need to know.

    Each `*_component` is the path of a template to include. `distributed` says that there is more than one device, `parallelizes`
    that parallelize.py exists, `clips` that gradients are clipped, `schedule_ends` that the learning rate falls towards the last step,
    `evaluates` that there are validation documents.
    """

    objective_component: str
    z_loss: bool
    groups_component: str
    decays: bool
    decay_embeddings: bool
    schedule_component: str
    schedule_kind: str
    schedule_ends: bool
    schedule_math: bool
    decay_shape: str | None
    clips: bool
    precision: str
    bf16: bool
    dropout: bool
    document_mask: bool
    max_duration: bool
    distributed: bool
    world_size: int
    torchrun_command: str | None
    signals_component: str
    step_component: str
    parallelizes: bool
    compiles: bool
    checkpointing: str
    checkpointing_component: str | None
    evaluates: bool
    perplexity: bool
    bits_per_byte: bool
    metrics_phrase: str
    tensorboard: bool
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_training(resolved: Resolved, flops_per_token: int, peak_flops: float) -> TrainingPlan:
    """Choose the components of the training side and the numbers of its config classes.

    Args:
        resolved: The spec with nothing left open.
        flops_per_token: Forward and backward FLOPs of the model for one token, for the model FLOPs utilisation.
        peak_flops: Peak FLOP/s of one device in the run's number format.
    """
    spec = resolved.spec
    schedule, attention = spec.schedule, spec.architecture.attention
    distributed = resolved.world_size > 1
    checkpointing = spec.parallelism.activation_checkpointing
    decay_shape = schedule.decay_shape if isinstance(schedule, WsdSchedule) else None
    metrics = [_METRIC_NAMES[metric] for metric in _METRIC_NAMES if metric in spec.evaluation.metrics]
    step = "step_distributed" if distributed else "step"
    signals = "catch_signals_distributed" if distributed else "catch_signals"
    z_loss = spec.objectives[0].z_loss > 0
    return TrainingPlan(
        objective_component=f"components/objective/cross_entropy{'_z_loss' if z_loss else ''}.py.jinja",
        z_loss=z_loss,
        groups_component=f"components/optimizer/adamw{'_decay' if spec.optimizer.weight_decay else ''}.py.jinja",
        decays=spec.optimizer.weight_decay > 0,
        decay_embeddings=spec.optimizer.decay_embeddings,
        schedule_component=f"components/schedule/{schedule.kind}.py.jinja",
        schedule_kind=schedule.kind,
        schedule_ends=not isinstance(schedule, ConstantSchedule),
        schedule_math=schedule.kind == "cosine" or decay_shape in ("cosine", "one_minus_sqrt"),
        decay_shape=decay_shape,
        clips=spec.training.max_grad_norm != "none",
        precision=spec.precision,
        bf16=spec.precision == "bf16",
        dropout=spec.architecture.dropout > 0 or attention.dropout > 0,
        document_mask=spec.data.packing.document_mask,
        max_duration=spec.training.max_duration is not None,
        distributed=distributed,
        world_size=resolved.world_size,
        torchrun_command=_torchrun_command(spec) if distributed else None,
        signals_component=f"components/training/{signals}.py.jinja",
        step_component=f"components/training/{step}.py.jinja",
        parallelizes=distributed or spec.training.compile or checkpointing != "none",
        compiles=spec.training.compile,
        checkpointing=checkpointing,
        checkpointing_component=None if checkpointing == "none" else f"components/training/checkpoint_{checkpointing}.py.jinja",
        evaluates=spec.data.validation_fraction > 0,
        perplexity="perplexity" in spec.evaluation.metrics,
        bits_per_byte="bits_per_byte" in spec.evaluation.metrics,
        metrics_phrase=", ".join(["", *metrics[:-1]]) + f" and {metrics[-1]}",
        tensorboard=spec.logging.tensorboard,
        dependencies=("torch>=2.6", "safetensors>=0.5", "rich>=13", *(["tensorboard>=2.18"] if spec.logging.tensorboard else [])),
        config_classes=_config_classes(resolved, flops_per_token, peak_flops),
        files=_files(resolved),
    )


def _torchrun_command(spec: Spec) -> str:
    """The command line that starts the run, for the docstring of train.py."""
    nodes, devices = spec.hardware.nodes, spec.hardware.accelerators_per_node
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {devices} train.py"
    return f"torchrun --nnodes {nodes} --node-rank N --nproc-per-node {devices} --master-addr HOST train.py"


def _files(resolved: Resolved) -> tuple[EmittedFile, ...]:
    spec = resolved.spec
    paths = ["objectives.py", "optim.py", "checkpoint.py", "metrics.py", "train.py"]
    tests = ["tests/tiny.py", "tests/test_training.py", "tests/test_optim.py", "tests/test_checkpoint.py"]
    if spec.data.validation_fraction > 0:
        paths.append("evaluate.py")
    if resolved.world_size > 1 or spec.training.compile or spec.parallelism.activation_checkpointing != "none":
        paths.append("parallelize.py")
        tests.append("tests/test_parallelize.py")
    return tuple(EmittedFile(path, f"project/{path}.jinja") for path in (*paths, *tests))


def _config_classes(resolved: Resolved, flops_per_token: int, peak_flops: float) -> tuple[ConfigClass, ...]:
    spec = resolved.spec
    classes = [
        ConfigClass("TrainingConfig", "Batch, length and numerics of the run.", tuple(_training_fields(spec))),
        ConfigClass(
            "OptimizerConfig",
            "AdamW.",
            (
                ConfigField("beta1", "float", spec.optimizer.beta1, "decay of the first moment"),
                ConfigField("beta2", "float", spec.optimizer.beta2, "decay of the second moment"),
                ConfigField("adam_eps", "float", spec.optimizer.adam_eps, "added to the root of the second moment"),
                *_weight_decay_fields(spec),
            ),
        ),
        ConfigClass("ScheduleConfig", "The learning rate over the run.", tuple(_schedule_fields(spec))),
        ConfigClass(
            "CheckpointConfig",
            "When the run is saved.",
            (
                ConfigField("every", "int", spec.checkpoint.every, "steps between checkpoints"),
                ConfigField("keep", "int", spec.checkpoint.keep, "how many stay, the newest"),
            ),
        ),
        ConfigClass("LoggingConfig", "What the run reports.", tuple(_logging_fields(spec, flops_per_token, peak_flops))),
    ]
    if spec.data.validation_fraction > 0:
        fields = (
            ConfigField("every", "int", spec.evaluation.every, "steps between evaluations"),
            ConfigField("max_tokens", "int", spec.evaluation.max_tokens, "validation tokens scored each time; evaluate.py scores all"),
        )
        classes.append(ConfigClass("EvaluationConfig", "When the validation documents are scored.", fields))
    return tuple(classes)


def _training_fields(spec: Spec) -> list[ConfigField]:
    training = spec.training
    fields = [
        ConfigField("seed", "int", spec.seed, "of weights, data order and dropout"),
        ConfigField("sequence_length", "int", training.sequence_length, "tokens in one sequence"),
        ConfigField("global_batch_size", "int", training.global_batch_size, "sequences in one step, over all devices"),
        ConfigField("micro_batch_size", "int", training.micro_batch_size, "sequences in one forward pass on one device"),
        ConfigField("max_steps", "int", training.max_steps, "optimizer steps"),
    ]
    if training.max_grad_norm != "none":
        fields.append(ConfigField("max_grad_norm", "float", training.max_grad_norm, "gradients of a larger norm are scaled down to it"))
    if training.max_duration is not None:
        fields.append(ConfigField("max_seconds", "float", training.max_duration, "save and stop after so long"))
    if spec.objectives[0].z_loss > 0:
        fields.append(ConfigField("z_loss", "float", spec.objectives[0].z_loss, "weight of the squared log of the softmax normaliser"))
    return fields


def _weight_decay_fields(spec: Spec) -> list[ConfigField]:
    if not spec.optimizer.weight_decay:
        return []
    what = "matrices and embeddings" if spec.optimizer.decay_embeddings else "matrices"
    return [ConfigField("weight_decay", "float", spec.optimizer.weight_decay, f"of {what}, times the learning rate")]


def _schedule_fields(spec: Spec) -> list[ConfigField]:
    schedule = spec.schedule
    fields = [
        ConfigField("learning_rate", "float", spec.optimizer.learning_rate, "at the peak"),
        ConfigField("warmup_steps", "int", schedule.warmup_steps, "steps until the peak"),
    ]
    if isinstance(schedule, WsdSchedule):
        fields.append(ConfigField("decay_fraction", "float", schedule.decay_fraction, "share of the steps in which the rate falls"))
    if not isinstance(schedule, ConstantSchedule):
        fields.append(ConfigField("min_learning_rate", "float", schedule.min_learning_rate, "at the last step"))
    return fields


def _logging_fields(spec: Spec, flops_per_token: int, peak_flops: float) -> list[ConfigField]:
    accelerator = find_accelerator(spec.hardware.accelerator)
    device_type = "cpu" if accelerator is None else accelerator.device_type
    return [
        ConfigField("every", "int", spec.logging.every, "steps between lines"),
        ConfigField("flops_per_token", "int", flops_per_token, "of the model, forward and backward"),
        ConfigField("peak_flops", "float", float(peak_flops), f"FLOP/s of one device in {spec.precision}, as its maker states it"),
        ConfigField("device_type", "str", device_type, "what that peak is of; on another type utilisation is not reported"),
    ]
