"""A resolved spec with one field changed, for looking at many variants of it without reading it again."""

from collections.abc import Callable
from dataclasses import replace

from llmspec.catalog import find_accelerator
from llmspec.resolve import derive
from llmspec.resolve.resolved import OriginKind, Resolved
from llmspec.spec.schema import Spec


def with_field(resolved: Resolved, field: str, value: object) -> Resolved:
    """The spec with another value in a field, and in what follows from it for how a step is laid out.

    Args:
        resolved: The spec.
        field: A section and a name in it, such as `training.micro_batch_size`.
        value: What stands there instead, which is not validated.
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    rules: dict[str, Callable[[Spec], derive.Derived]] = {
        "parallelism.sequence_parallel": derive.sequence_parallel,
        "parallelism.shard_size": derive.shard_size,
        "training.compile": lambda spec: derive.compile_model(spec, accelerator),
    }
    spec = _with(resolved.spec, field, value)
    for follows, rule in rules.items():
        if resolved.origin(follows).kind is OriginKind.DERIVED and follows != field:
            spec = _with(spec, follows, rule(spec).value)
    return replace(resolved, spec=spec)


def _with(spec: Spec, field: str, value: object) -> Spec:
    section, name = field.split(".")
    return spec.model_copy(update={section: getattr(spec, section).model_copy(update={name: value})})
