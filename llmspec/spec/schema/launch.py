"""`launch:` the launch scripts to emit."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Seconds, Section, Text, TextOrNumber, derived

Port = Annotated[int, Field(ge=1024, le=65_535)]


class LocalLaunch(Section):
    """launch/local.sh: everything in order on this machine: tokenizer, data, training, evaluation, a sample."""


class TorchrunLaunch(Section):
    """launch/torchrun.sh: training on one or several machines, one call a machine."""

    rendezvous: Literal["static", "elastic"] = "static"
    """How machines find each other: `static` by numbers that they are given, once; `elastic` at a meeting point, where they meet again
    after a failure. Default: static."""

    port: Port = 29_500
    """Port on the first machine where the processes meet. Default: 29500."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = derived("3 with an elastic rendezvous, else 0")
    """How often training is started again after a failure, from its last checkpoint. Default: 3 with an elastic rendezvous, else 0."""


class PyxisContainer(Section):
    """A container of NVIDIA's Pyxis plugin, which srun starts each task in."""

    kind: Literal["pyxis"]
    """Which container."""

    image: Text
    """Image, such as `nvcr.io#nvidia/pytorch:25.10-py3` or the path of a squashfs file. Required."""

    mounts: tuple[Text, ...] = ()
    """Further mounts, each `from:to`; the project itself is always mounted. Default: none."""


class ApptainerContainer(Section):
    """An Apptainer (Singularity) container, which each task starts itself in."""

    kind: Literal["apptainer"]
    """Which container."""

    image: Text
    """Image, such as `pytorch.sif` or `docker://pytorch/pytorch:latest`. Required."""

    mounts: tuple[Text, ...] = ()
    """Further mounts, each `from:to`; the project itself is always mounted. Default: none."""


AnyContainer = Annotated[PyxisContainer | ApptainerContainer, Field(discriminator="kind")]


class SlurmLaunch(Section):
    """launch/slurm.sbatch: training as a job of a Slurm cluster, which saves and goes back to the queue before its time is up."""

    partition: Text | None = None
    """Partition. Default: the cluster's."""

    account: Text | None = None
    """Account that pays. Default: the user's."""

    qos: Text | None = None
    """Quality of service. Default: the partition's."""

    constraint: Text | None = None
    """Features that nodes must have, such as `h100&nvlink`. Default: none."""

    reservation: Text | None = None
    """Reservation to run in. Default: none."""

    time: Annotated[Seconds, Field(ge=60)] | None = None
    """Time limit of one job; the run goes on in the next one. Default: the partition's."""

    gres: Text = derived("gpu:<accelerators_per_node>; none on a CPU")
    """Generic resources of each node, such as `gpu:h100:8`; `none` asks for none. Default: gpu:<accelerators_per_node>, none on a CPU."""

    cpus_per_task: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Processor cores of each device's process. Default: the cluster's."""

    memory: TextOrNumber | None = None
    """Main memory of each node, such as 512G; 0 takes all of it. Default: the cluster's."""

    exclusive: bool = False
    """Whether nodes are not shared with other jobs. Default: false."""

    requeue: bool = True
    """Whether a job that was told to stop goes back to the queue. Default: true."""

    output: Text = "slurm-%j.out"
    """File that the job's output is added to; %j is the job's number, %x its name. Its directory must be there. Default: slurm-%j.out."""

    modules: tuple[Text, ...] = ()
    """Environment modules to load, such as cuda/12.8. Default: none."""

    setup: tuple[Text, ...] = ()
    """Lines of shell that run once before training, such as `source .venv/bin/activate`. Default: none."""

    container: AnyContainer | None = None
    """Container that training runs in. Default: none."""

    options: tuple[Text, ...] = ()
    """Further options of sbatch, such as `--mail-type=END`. Default: none."""


class Launch(Section):
    """The launch scripts to emit: a key each, with its settings; and what all of them share."""

    local: LocalLaunch | None = derived("emitted unless only other launchers are named")
    """launch/local.sh. Default: emitted when no launcher is named."""

    torchrun: TorchrunLaunch | None = derived("emitted when there are several machines and no launcher is named")
    """launch/torchrun.sh. Default: emitted when there are several machines and no launcher is named."""

    slurm: SlurmLaunch | None = None
    """launch/slurm.sbatch. Default: not emitted."""

    environment: dict[Text, TextOrNumber] = Field(default={}, max_length=128)
    """Environment variables of the run, by name, such as `{NCCL_DEBUG: WARN}`. Default: none."""

    grace_period: Annotated[Seconds, Field(ge=1, le=65_535)] = 120.0
    """How long a run that is told to stop may take to save, before it is stopped. Default: 120 seconds."""

    @property
    def named(self) -> bool:
        """Whether any launcher is asked for."""
        return any(getattr(self, name) is not None for name in LAUNCHERS)


LAUNCHERS = ("local", "torchrun", "slurm")
