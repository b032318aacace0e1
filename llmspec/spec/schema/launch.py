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


class KubernetesLaunch(Section):
    """launch/kubernetes.yaml: training as a job of a Kubernetes cluster; launch/kubernetes_data.yaml prepares its data."""

    workload: Literal["job", "train_job"] = "job"
    """What runs it: a plain `job`, or Kubeflow Trainer's `train_job`. Default: job."""

    image: Text
    """Container image with the project in /workspace, such as the emitted Dockerfile makes. Required."""

    volume_claim: Text
    """Persistent volume claim for data and checkpoints. With several nodes, all must be able to mount it. Required."""

    storage: TextOrNumber | None = None
    """Size of the claim, such as 500Gi, which is then made; else it must be there. Default: none."""

    storage_class: Text | None = None
    """Storage class of the claim that is made. Default: the cluster's."""

    namespace: Text | None = None
    """Namespace. Default: the current one."""

    cpus: TextOrNumber | None = None
    """Processor cores of each node's pod. Default: not said."""

    memory: TextOrNumber | None = None
    """Main memory of each node's pod, such as 512Gi. Default: not said."""

    shared_memory: TextOrNumber = "8Gi"
    """Most shared memory of each node's pod, which processes exchange data in; it counts as its memory. Default: 8Gi."""

    node_selector: dict[Text, TextOrNumber] = Field(default={}, max_length=64)
    """Labels that nodes must have. Default: none."""

    image_pull_secret: Text | None = None
    """Name of the cluster's secret that the image is pulled with. Default: none."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """How often training is started again after a failure. Being moved to another node is no failure. Default: 3."""


class SkyPilotLaunch(Section):
    """launch/skypilot.yaml: training on machines that SkyPilot rents, found again when they are taken away."""

    accelerators: Text = derived("SkyPilot's name of the accelerator and accelerators_per_node; none on a CPU")
    """What each machine must have, in SkyPilot's words, such as H100:8; `none` for processors alone. Default: from `hardware`."""

    infra: Text | None = None
    """Where to look, such as aws/us-east-1 or k8s. Default: wherever it is cheapest."""

    use_spot: bool = derived("whether hardware.price is spot")
    """Whether to rent machines that can be taken away. Default: whether hardware.price is spot."""

    cpus: TextOrNumber | None = None
    """Processor cores of each machine, such as 16+. Default: SkyPilot's."""

    memory: TextOrNumber | None = None
    """Main memory of each machine in GB, such as 64+. Default: SkyPilot's."""

    disk_size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Disk of each machine in GB. Default: SkyPilot's."""

    bucket: Text | None = None
    """Bucket for checkpoints, such as s3://name/path, which outlives the machine. For one machine. Default: none."""

    volume: Text | None = None
    """SkyPilot volume for checkpoints, which outlives the machines and which all of them mount. Default: none."""

    setup: tuple[Text, ...] = ()
    """Lines of shell that run once on each machine before the project is installed. Default: none."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """How often training is started again after a failure. Machines that are taken away are no failure. Default: 3."""


class DockerLaunch(Section):
    """Dockerfile: an image of the project, with all that it imports."""

    base: Text = derived("python:3.12.11-slim-bookworm; on AMD's GPUs an image with their PyTorch")
    """Image to start from. Default: python:3.12.11-slim-bookworm; on AMD's GPUs an image with their PyTorch."""


class DeepspeedLaunch(Section):
    """launch/deepspeed.sh: training with DeepSpeed's launcher, started on one machine, which starts the others of launch/hostfile."""

    port: Port = 29_500
    """Port on the first machine where the processes meet. Default: 29500."""


class Launch(Section):
    """The launch scripts to emit: a key each, with its settings; and what all of them share."""

    local: LocalLaunch | None = derived("emitted unless only other launchers are named")
    """launch/local.sh. Default: emitted when no launcher is named."""

    torchrun: TorchrunLaunch | None = derived("emitted when there are several machines and no launcher is named")
    """launch/torchrun.sh. Default: emitted when there are several machines and no launcher is named."""

    deepspeed: DeepspeedLaunch | None = None
    """launch/deepspeed.sh; needs the DeepSpeed engine. Default: not emitted."""

    slurm: SlurmLaunch | None = None
    """launch/slurm.sbatch. Default: not emitted."""

    kubernetes: KubernetesLaunch | None = None
    """launch/kubernetes.yaml. Default: not emitted."""

    skypilot: SkyPilotLaunch | None = None
    """launch/skypilot.yaml. Default: not emitted."""

    docker: DockerLaunch | None = None
    """Dockerfile. Default: not emitted."""

    environment: dict[Text, TextOrNumber] = Field(default={}, max_length=128)
    """Environment variables of the run, by name, such as `{NCCL_DEBUG: WARN}`. Default: none."""

    grace_period: Annotated[Seconds, Field(ge=1, le=65_535)] = 120.0
    """How long a run that is told to stop may take to save, before it is stopped. Default: 120 seconds."""

    @property
    def named(self) -> bool:
        """Whether any launcher is asked for."""
        return any(getattr(self, name) is not None for name in LAUNCHERS)


LAUNCHERS = ("local", "torchrun", "deepspeed", "slurm", "kubernetes", "skypilot")
