"""The last place where anything is decided: what the spec means in files, components and numbers. Total: it never rejects."""

import re
from collections.abc import Iterable
from pathlib import Path

from llmspec.estimate import Estimate
from llmspec.estimate.device import describe_device
from llmspec.lower.checkpoint import lower_checkpoint
from llmspec.lower.data import lower_data
from llmspec.lower.deepspeed import lower_deepspeed
from llmspec.lower.guard import lower_guard
from llmspec.lower.launch import lower_launch
from llmspec.lower.layout import lower_layout
from llmspec.lower.model import lower_model
from llmspec.lower.optimizer import lower_optimizer
from llmspec.lower.pieces import EmittedFile
from llmspec.lower.plan import PackagePlan, Plan
from llmspec.lower.readme import lower_readme
from llmspec.lower.reporting import lower_reporting
from llmspec.lower.schedule import lower_schedule
from llmspec.lower.training import lower_training
from llmspec.network.network import Network
from llmspec.resolve import resolved_yaml
from llmspec.resolve.resolved import Resolved


def lower(resolved: Resolved, network: Network, estimate: Estimate, spec_text: str, output_directory: Path) -> Plan:
    """Decide every file and every number of the project.

    Args:
        resolved: The spec with nothing left open.
        network: Its model.
        estimate: What it will cost, for the README.
        spec_text: A spec file that says all of it, kept beside the code.
        output_directory: Where the project will stand, to which paths of data are made relative.
    """
    spec = resolved.spec
    model = lower_model(resolved, network)
    data = lower_data(resolved, output_directory)
    training = lower_training(resolved)
    layout = lower_layout(resolved)
    optimizer = lower_optimizer(resolved)
    schedule = lower_schedule(resolved)
    checkpoint = lower_checkpoint(resolved)
    guard = lower_guard(resolved)
    reporting = lower_reporting(resolved, int(estimate.flops.per_token.value), describe_device(resolved).peak)
    launch = lower_launch(resolved)
    deepspeed = lower_deepspeed(resolved, network)
    engine = (deepspeed,) if deepspeed is not None else ()
    sections = (model, data, training, optimizer, schedule, layout, checkpoint, guard, reporting, launch, *engine)
    files = (
        EmittedFile("README.md", "project/README.md.jinja"),
        EmittedFile("pyproject.toml", "project/pyproject.toml.jinja"),
        EmittedFile(".gitignore", "project/gitignore.jinja"),
        EmittedFile("spec.yaml", None, spec_text),
        EmittedFile("spec.resolved.yaml", None, resolved_yaml(resolved)),
        EmittedFile("config.py", "project/config.py.jinja"),
        *(file for section in sections for file in section.files),
    )
    return Plan(
        name=spec.name,
        description=spec.description,
        seed=spec.seed,
        model=model,
        data=data,
        training=training,
        optimizer=optimizer,
        schedule=schedule,
        layout=layout,
        checkpoint=checkpoint,
        guard=guard,
        reporting=reporting,
        launch=launch,
        deepspeed=deepspeed,
        readme=lower_readme(resolved, estimate, files),
        package=PackagePlan(
            name=re.sub(r"[._-]+$", "", spec.name),
            dependencies=_newest(section.dependencies for section in (data, training, optimizer, reporting, *engine)),
        ),
        config_classes=tuple(group for section in sections for group in section.config_classes),
        files=files,
    )


def _newest(sections: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The packages of all sections; of one that several need, the newest version that one of them asks for."""
    versions: dict[str, tuple[int, ...]] = {}
    for dependency in (dependency for section in sections for dependency in section):
        name, _, version = dependency.partition(">=")
        versions[name] = max(versions.get(name, ()), tuple(map(int, version.split("."))))
    return tuple(f"{name}>={'.'.join(map(str, version))}" for name, version in sorted(versions.items()))
