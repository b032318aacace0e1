"""How the project is started: the launch scripts."""

from dataclasses import dataclass

from llmspec.catalog import find_accelerator
from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.launch import ApptainerContainer, SlurmLaunch

_EXECUTABLES = {"local": "local.sh", "torchrun": "torchrun.sh", "slurm": "slurm.sbatch"}

# How long processes may go on after one has ended. All end together, unless one died and the others wait for it.
_SECONDS_AFTER_FIRST_EXIT = 60


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of the run. One that gives way leaves a value alone that is set already."""

    name: str
    value: str
    gives_way: bool


@dataclass(frozen=True, slots=True)
class TorchrunPlan:
    """What launch/torchrun.sh needs to know."""

    elastic: bool
    port: int
    max_restarts: int


@dataclass(frozen=True, slots=True)
class SlurmPlan:
    """What launch/slurm.sbatch needs to know. `options` are sbatch's, and hold nothing that its comments could end at."""

    options: tuple[str, ...]
    requeue: bool
    modules: tuple[str, ...]
    setup: tuple[str, ...]
    srun: tuple[str, ...]
    container: str | None
    container_image: str
    container_mounts: tuple[str, ...]
    container_option: str


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What the launch scripts need to know."""

    local: bool
    torchrun: TorchrunPlan | None
    slurm: SlurmPlan | None
    num_nodes: int
    last_node_rank: int
    devices_per_node: int
    environment: tuple[Variable, ...]
    grace_seconds: int
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_launch(resolved: Resolved) -> LaunchPlan:
    """Decide which launch scripts are emitted and for how many machines and devices."""
    spec = resolved.spec
    launch, hardware = spec.launch, spec.hardware
    torchrun = launch.torchrun
    return LaunchPlan(
        local=launch.local is not None,
        torchrun=None
        if torchrun is None
        else TorchrunPlan(elastic=torchrun.rendezvous == "elastic", port=torchrun.port, max_restarts=torchrun.max_restarts),
        slurm=None if launch.slurm is None else _slurm(spec, launch.slurm),
        num_nodes=hardware.nodes,
        last_node_rank=hardware.nodes - 1,
        devices_per_node=hardware.accelerators_per_node,
        environment=_environment(spec),
        grace_seconds=_grace_seconds(spec),
        config_classes=(),
        files=tuple(
            EmittedFile(f"launch/{file}", f"project/launch/{file}.jinja", executable=True)
            for name, file in _EXECUTABLES.items()
            if getattr(launch, name) is not None
        ),
    )


def _environment(spec: Spec) -> tuple[Variable, ...]:
    """The spec's variables, and what a run on NVIDIA's GPUs is better off with."""
    accelerator = find_accelerator(spec.hardware.accelerator)
    variables = [Variable(name, value, gives_way=False) for name, value in spec.launch.environment.items()]
    if accelerator is not None and accelerator.vendor == "nvidia" and "PYTORCH_ALLOC_CONF" not in spec.launch.environment:
        # Segments that grow leave less memory unused between tensors of changing sizes.
        variables.append(Variable("PYTORCH_ALLOC_CONF", "expandable_segments:True", gives_way=True))
    return tuple(variables)


def _grace_seconds(spec: Spec) -> int:
    return max(1, round(spec.launch.grace_period))


def _slurm(spec: Spec, slurm: SlurmLaunch) -> SlurmPlan:
    hardware, container = spec.hardware, slurm.container
    accelerator = find_accelerator(hardware.accelerator)
    options = {
        "job-name": spec.name,
        "nodes": hardware.nodes,
        "ntasks-per-node": hardware.accelerators_per_node,
        "cpus-per-task": slurm.cpus_per_task,
        "gres": None if slurm.gres == "none" else slurm.gres,
        "mem": slurm.memory,
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "reservation": slurm.reservation,
        "time": None if slurm.time is None else _slurm_time(slurm.time),
        "output": slurm.output,
        "open-mode": "append",
        "signal": f"B:USR1@{_grace_seconds(spec)}",
    }
    flags = ["--exclusive"] if slurm.exclusive else []
    srun = []
    if hardware.nodes * hardware.accelerators_per_node > 1:
        # Not --kill-on-bad-exit: it would kill processes that have saved and are about to end, as 138 is a bad exit too.
        srun.append(f"--wait={_SECONDS_AFTER_FIRST_EXIT}")
    if slurm.cpus_per_task is not None:
        srun.append(f"--cpus-per-task={slurm.cpus_per_task}")  # since Slurm 22.05 srun does not take sbatch's
    gpu_option = {"nvidia": "--nv", "amd": "--rocm"}.get(accelerator.vendor, "") if accelerator is not None else ""
    return SlurmPlan(
        options=(
            *(f"--{name}={value}" for name, value in options.items() if value is not None),
            *flags,
            "--requeue" if slurm.requeue else "--no-requeue",
            *slurm.options,
        ),
        requeue=slurm.requeue,
        modules=slurm.modules,
        setup=slurm.setup,
        srun=tuple(srun),
        container=None if container is None else container.kind,
        container_image="" if container is None else container.image,
        container_mounts=() if container is None else container.mounts,
        container_option=gpu_option if isinstance(container, ApptainerContainer) else "",
    )


def _slurm_time(seconds: float) -> str:
    """Days-hours:minutes:seconds, as sbatch reads it."""
    minutes, second = divmod(max(1, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day}-{hour:02}:{minute:02}:{second:02}" if day else f"{hour:02}:{minute:02}:{second:02}"
