"""What a person sees of the run: its log and its scores."""

from collections.abc import Iterator
from dataclasses import dataclass

from llmspec.catalog.accelerators import find_accelerator
from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec

_METRIC_NAMES = {"perplexity": "perplexity", "bits_per_byte": "bits per byte"}


@dataclass(frozen=True, slots=True)
class ReportingPlan:
    """What the templates of metrics.py and the modules beside it need to know.

    `evaluates` says that there are validation documents, `profiles` that a few steps are traced, `on_gpu` that the run is planned for
    CUDA devices. Each `*_component` is the path of a template to include, `memory_advice` what to do when a device is too small.
    """

    evaluates: bool
    perplexity: bool
    bits_per_byte: bool
    metrics_phrase: str
    tensorboard: bool
    energy_component: str
    energy_tests_component: str
    wandb: bool
    mlflow: bool
    trackers_phrase: str
    profiles: bool
    on_gpu: bool
    memory_history: bool
    memory_advice: tuple[str, ...]
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_reporting(resolved: Resolved, flops_per_token: int, peak_flops: float) -> ReportingPlan:
    """Choose what is reported and scored.

    Args:
        resolved: The spec with nothing left open.
        flops_per_token: Forward and backward FLOPs of the model for one token, for the model FLOPs utilisation.
        peak_flops: Peak FLOP/s of one device in the run's number format.
    """
    spec = resolved.spec
    metrics = [_METRIC_NAMES[metric] for metric in _METRIC_NAMES if metric in spec.evaluation.metrics]
    evaluates = spec.data.validation_fraction > 0
    logging = ConfigClass("LoggingConfig", "What the run reports.", tuple(_logging_fields(spec, flops_per_token, peak_flops)))
    on_gpu = _device_type(spec) == "cuda"
    trackers = [name for name, wanted in (("Weights & Biases", spec.logging.wandb), ("MLflow", spec.logging.mlflow)) if wanted is not None]
    paths = (
        "metrics.py",
        "energy.py",
        "tests/test_energy.py",
        *(("evaluate.py",) if evaluates else ()),
        *(("trackers.py", "tests/test_trackers.py") if trackers else ()),
        *(("profiling.py",) if spec.logging.profiler is not None else ()),
        *(("memory.py", "tests/test_memory.py") if on_gpu else ()),
    )
    return ReportingPlan(
        evaluates=evaluates,
        perplexity="perplexity" in spec.evaluation.metrics,
        bits_per_byte="bits_per_byte" in spec.evaluation.metrics,
        metrics_phrase=", ".join(["", *metrics[:-1]]) + f" and {metrics[-1]}",
        tensorboard=spec.logging.tensorboard,
        energy_component=f"components/energy/{_energy_meter(spec)}.py.jinja",
        energy_tests_component=f"components/energy/test_{_energy_meter(spec)}.py.jinja",
        wandb=spec.logging.wandb is not None,
        mlflow=spec.logging.mlflow is not None,
        trackers_phrase=" and ".join(trackers),
        profiles=spec.logging.profiler is not None,
        on_gpu=on_gpu,
        memory_history=on_gpu and spec.logging.memory_history,
        memory_advice=tuple(_memory_advice(resolved)),
        dependencies=tuple(_dependencies(spec)),
        config_classes=(logging, *_service_classes(spec), *((_evaluation_class(spec),) if evaluates else ())),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in paths),
    )


def _device_type(spec: Spec) -> str:
    accelerator = find_accelerator(spec.hardware.accelerator)
    return "cpu" if accelerator is None else accelerator.device_type


def _memory_advice(resolved: Resolved) -> Iterator[str]:
    """What in the spec makes a device need less and leaves the results as they are, the cheapest first."""
    layout, devices = resolved.spec.parallelism, resolved.world_size
    for stronger in {"none": ("selective", "full"), "selective": ("full",)}.get(layout.activation_checkpointing, ()):
        what = "cheap parts" if stronger == "selective" else "whole layers"
        yield f"`parallelism.activation_checkpointing: {stronger}` in the spec: {what} are computed twice"
    if layout.engine == "torch" and layout.data == "ddp" and devices > 1:
        yield f"`parallelism.data: fsdp` in the spec: each of {devices:,} devices keeps a share of the weights"
    if layout.engine == "deepspeed" and layout.zero_stage is not None and layout.zero_stage < 3 and devices > 1:
        yield f"`parallelism.zero_stage: {layout.zero_stage + 1}` in the spec: each of {devices:,} devices keeps a smaller share"
    if layout.engine == "deepspeed" and layout.offload is None:
        yield "`parallelism.offload: {optimizer: cpu}` in the spec: moments stay with the host; slower"


def _service_classes(spec: Spec) -> Iterator[ConfigClass]:
    wandb, mlflow, profiler = spec.logging.wandb, spec.logging.mlflow, spec.logging.profiler
    if wandb is not None:
        there = (
            ConfigField("project", "str", wandb.project, "the project there"),
            ConfigField("entity", "str | None", wandb.entity, "user or team; None is whoever is logged in"),
            ConfigField("name", "str", wandb.name or spec.name, "the run's name there"),
            ConfigField("mode", "str", wandb.mode, "online, or offline until `wandb sync`"),
        )
        yield ConfigClass("WandbConfig", "Where Weights & Biases shows the run.", there)
    if mlflow is not None:
        fields = (
            ConfigField("experiment", "str", mlflow.experiment, "the experiment there"),
            ConfigField("tracking_uri", "str | None", mlflow.tracking_uri, "address of the server; None is the output directory"),
            ConfigField("name", "str", spec.name, "the run's name there"),
        )
        yield ConfigClass("MlflowConfig", "Where MLflow shows the run.", fields)
    if profiler is not None:
        steps = (
            ConfigField("start", "int", profiler.start, "first step that is traced, from where the process starts"),
            ConfigField("steps", "int", profiler.steps, "how many are traced"),
        )
        yield ConfigClass("ProfilerConfig", "Which steps are traced.", steps)


def _energy_meter(spec: Spec) -> str:
    """Who knows what the run draws: the GPUs' counters, the processor's, or its rated power."""
    accelerator = find_accelerator(spec.hardware.accelerator)
    if accelerator is None or accelerator.is_cpu:
        return "processor"
    return "nvml" if accelerator.vendor == "nvidia" else "rated"


def _dependencies(spec: Spec) -> Iterator[str]:
    if spec.logging.tensorboard:
        yield "tensorboard>=2.18"
    if spec.logging.wandb is not None:
        yield "wandb>=0.19"
    if spec.logging.mlflow is not None:
        yield "mlflow-skinny>=3"
    if _energy_meter(spec) == "nvml":
        yield "nvidia-ml-py>=12"


def _evaluation_class(spec: Spec) -> ConfigClass:
    fields = (
        ConfigField("every", "int", spec.evaluation.every, "steps between evaluations"),
        ConfigField("max_tokens", "int", spec.evaluation.max_tokens, "validation tokens scored each time; evaluate.py scores all"),
    )
    return ConfigClass("EvaluationConfig", "When the validation documents are scored.", fields)


def _logging_fields(spec: Spec, flops_per_token: int, peak_flops: float) -> list[ConfigField]:
    accelerator = find_accelerator(spec.hardware.accelerator)
    device_type = _device_type(spec)
    fields = [
        ConfigField("every", "int", spec.logging.every, "steps between lines"),
        ConfigField("flops_per_token", "int", flops_per_token, "of the model, forward and backward"),
        ConfigField("peak_flops", "float", float(peak_flops), f"FLOP/s of one device in {spec.precision}, as its maker states it"),
        ConfigField("device_type", "str", device_type, "what that peak is of; on another type utilisation is not reported"),
    ]
    watts = accelerator.tdp_watts if accelerator is not None else None
    meter = _energy_meter(spec)
    if meter == "processor":
        machine = float(watts or 0) * spec.hardware.accelerators_per_node
        fields.append(ConfigField("processor_watts", "float", machine, "rated power of a machine's processors, for the energy"))
    elif meter == "rated":
        rated = None if watts is None else float(watts)
        fields.append(ConfigField("accelerator_watts", "float | None", rated, "rated power of one device, for the energy"))
    return fields
