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
    """What the templates of metrics.py and evaluate.py need to know. `evaluates` says that there are validation documents."""

    evaluates: bool
    perplexity: bool
    bits_per_byte: bool
    metrics_phrase: str
    tensorboard: bool
    energy_component: str
    energy_tests_component: str
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
    paths = ("metrics.py", "energy.py", "tests/test_energy.py", *(("evaluate.py",) if evaluates else ()))
    return ReportingPlan(
        evaluates=evaluates,
        perplexity="perplexity" in spec.evaluation.metrics,
        bits_per_byte="bits_per_byte" in spec.evaluation.metrics,
        metrics_phrase=", ".join(["", *metrics[:-1]]) + f" and {metrics[-1]}",
        tensorboard=spec.logging.tensorboard,
        energy_component=f"components/energy/{_energy_meter(spec)}.py.jinja",
        energy_tests_component=f"components/energy/test_{_energy_meter(spec)}.py.jinja",
        dependencies=tuple(_dependencies(spec)),
        config_classes=(logging, _evaluation_class(spec)) if evaluates else (logging,),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in paths),
    )


def _energy_meter(spec: Spec) -> str:
    """Who knows what the run draws: the GPUs' counters, the processor's, or its rated power."""
    accelerator = find_accelerator(spec.hardware.accelerator)
    if accelerator is None or accelerator.is_cpu:
        return "processor"
    return "nvml" if accelerator.vendor == "nvidia" else "rated"


def _dependencies(spec: Spec) -> Iterator[str]:
    if spec.logging.tensorboard:
        yield "tensorboard>=2.18"
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
    device_type = "cpu" if accelerator is None else accelerator.device_type
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
