"""How the run is laid over its devices: engine, replicas, shards, what is recomputed and what is compiled."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """What the templates of train.py and parallelize.py need to know of the layout.

    Each `*_component` is the path of a template to include. `distributed` says that there is more than one device, `parallelizes`
    that parallelize.py exists.
    """

    distributed: bool
    world_size: int
    torchrun_command: str | None
    signals_component: str
    step_component: str
    parallelizes: bool
    compiles: bool
    checkpointing: str
    checkpointing_component: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_layout(resolved: Resolved) -> LayoutPlan:
    """Decide how the model is laid over the devices."""
    spec = resolved.spec
    distributed = resolved.world_size > 1
    checkpointing = spec.parallelism.activation_checkpointing
    parallelizes = distributed or spec.training.compile or checkpointing != "none"
    suffix = "_distributed" if distributed else ""
    paths = ("parallelize.py", "tests/test_parallelize.py") if parallelizes else ()
    return LayoutPlan(
        distributed=distributed,
        world_size=resolved.world_size,
        torchrun_command=_torchrun_command(spec) if distributed else None,
        signals_component=f"components/training/catch_signals{suffix}.py.jinja",
        step_component=f"components/training/step{suffix}.py.jinja",
        parallelizes=parallelizes,
        compiles=spec.training.compile,
        checkpointing=checkpointing,
        checkpointing_component=None if checkpointing == "none" else f"components/training/checkpoint_{checkpointing}.py.jinja",
        config_classes=(),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in paths),
    )


def _torchrun_command(spec: Spec) -> str:
    """The command line that starts the run, for the docstring of train.py."""
    nodes, devices = spec.hardware.nodes, spec.hardware.accelerators_per_node
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {devices} train.py"
    return f"torchrun --nnodes {nodes} --node-rank N --nproc-per-node {devices} --master-addr HOST train.py"
