"""How the run is laid over its devices: engine, replicas, shards, what is recomputed and what is compiled."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec

_PARALLELIZE = {"none": "single", "fsdp": "shards", "hsdp": "shards"}


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """What the templates of train.py and parallelize.py need to know of the layout.

    Each `*_component` is the path of a template to include. `distributed` says that there is more than one device, `data` how replicas
    keep in step there (`none` on one device), `sharded` that no device holds the whole model, `casts_norms` that layer norms get weights in
    16 bits and an input in 32, `parallelizes` that parallelize.py exists.
    """

    distributed: bool
    data: str
    sharded: bool
    casts_norms: bool
    reshard_after_forward: bool
    world_size: int
    torchrun_command: str | None
    signals_component: str
    step_component: str
    forward_backward_component: str | None
    parallelize_component: str
    parallelizes: bool
    compiles: bool
    checkpointing: str
    checkpointing_component: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_layout(resolved: Resolved) -> LayoutPlan:
    """Decide how the model is laid over the devices."""
    spec = resolved.spec
    deepspeed = spec.parallelism.engine == "deepspeed"
    distributed = deepspeed or resolved.world_size > 1
    data = spec.parallelism.data if distributed else "none"
    sharded = data in ("fsdp", "hsdp")
    checkpointing = spec.parallelism.activation_checkpointing
    alone = spec.training.compile or checkpointing != "none" or spec.precision == "fp8"
    parallelizes = not deepspeed and (distributed or alone)
    suffix = "_distributed" if distributed else ""
    paths: tuple[str, ...] = ("parallelize.py", "tests/test_parallelize.py") if parallelizes else ()
    if distributed:
        paths += ("watch.py", "tests/test_watch.py")
    return LayoutPlan(
        distributed=distributed,
        data=data,
        sharded=sharded,
        casts_norms=sharded and spec.precision != "fp32" and spec.architecture.norm.kind == "layernorm",
        reshard_after_forward=spec.parallelism.reshard_after_forward,
        world_size=resolved.world_size,
        torchrun_command=_torchrun_command(spec) if distributed else None,
        signals_component=f"components/training/catch_signals{suffix}.py.jinja",
        step_component=f"components/training/step{suffix}.py.jinja",
        forward_backward_component=f"components/training/forward_backward_{data}.py.jinja" if distributed else None,
        parallelize_component=f"components/training/parallelize_{_PARALLELIZE.get(data, data)}.py.jinja",
        parallelizes=parallelizes,
        compiles=spec.training.compile,
        checkpointing=checkpointing,
        checkpointing_component=None if checkpointing == "none" else f"components/training/checkpoint_{checkpointing}.py.jinja",
        config_classes=_parallel_config(spec) if distributed else (),
        files=tuple(EmittedFile(path, f"project/{path}.jinja") for path in paths),
    )


def _parallel_config(spec: Spec) -> tuple[ConfigClass, ...]:
    parallelism = spec.parallelism
    fields = [ConfigField("collective_timeout", "float", parallelism.collective_timeout, "seconds after which a collective has failed")]
    if parallelism.data == "hsdp":
        fields.insert(0, ConfigField("shard_size", "int", parallelism.shard_size, "processes that hold one set of shards together"))
    return (ConfigClass("ParallelConfig", "How the processes work together.", tuple(fields)),)


def _torchrun_command(spec: Spec) -> str:
    """The command line that starts the run, for the docstring of train.py."""
    nodes, devices = spec.hardware.nodes, spec.hardware.accelerators_per_node
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {devices} train.py"
    return f"torchrun --nnodes {nodes} --node-rank N --nproc-per-node {devices} --master-addr HOST train.py"
