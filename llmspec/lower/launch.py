"""How the project is started: the launch scripts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmspec.catalog import find_accelerator
from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.launch import ApptainerContainer, DeepspeedLaunch, DockerLaunch, KubernetesLaunch, SkyPilotLaunch, SlurmLaunch

_EXECUTABLES = {"local": "local.sh", "torchrun": "torchrun.sh", "deepspeed": "deepspeed.sh", "slurm": "slurm.sbatch"}
_TEMPLATES = "project/launch"

# How long processes may go on after one has ended. All end together, unless one died and the others wait for it.
_SECONDS_AFTER_FIRST_EXIT = 60
# What a pod gets beyond the time that a run may take to save.
_SECONDS_TO_END = 30


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
class DeepspeedLaunchPlan:
    """What launch/deepspeed.sh and the files beside it need to know. `environment` is written as DeepSpeed's launcher reads it."""

    port: int
    hosts: tuple[str, ...]
    environment: tuple[Variable, ...]


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
class KubernetesPlan:
    """What launch/kubernetes.yaml and launch/kubernetes_data.yaml need to know. `environment` is written as Kubernetes reads it."""

    name: str
    namespace: str | None
    image: str
    image_pull_secret: str | None
    volume_claim: str
    storage: str | None
    storage_class: str | None
    access_mode: str
    resources: tuple[Variable, ...]
    gpu_resource: str | None
    shared_memory: str
    node_selector: tuple[Variable, ...]
    environment: tuple[Variable, ...]
    command: tuple[str, ...]
    max_restarts: int
    termination_seconds: int
    train_job: bool


@dataclass(frozen=True, slots=True)
class SkyPilotPlan:
    """What launch/skypilot.yaml needs to know."""

    accelerators: str | None
    infra: str | None
    use_spot: bool
    cpus: str | None
    memory: str | None
    disk_size: int | None
    bucket: str | None
    volume: str | None
    setup: tuple[str, ...]
    max_restarts: int


@dataclass(frozen=True, slots=True)
class DockerPlan:
    """What the Dockerfile needs to know. `environment` is written as it stands in double quotes there."""

    base: str
    tag: str
    devices_option: str
    compiler: bool
    command: tuple[str, ...]
    environment: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What the launch scripts need to know."""

    local: bool
    torchrun: TorchrunPlan | None
    deepspeed: DeepspeedLaunchPlan | None
    slurm: SlurmPlan | None
    kubernetes: KubernetesPlan | None
    skypilot: SkyPilotPlan | None
    docker: DockerPlan | None
    num_nodes: int
    last_node_rank: int
    devices_per_node: int
    environment: tuple[Variable, ...]
    shares_cores: bool
    grace_seconds: int
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_launch(resolved: Resolved) -> LaunchPlan:
    """Decide which launch scripts are emitted and for how many machines and devices."""
    spec = resolved.spec
    launch, hardware = spec.launch, spec.hardware
    torchrun = launch.torchrun
    accelerator = find_accelerator(hardware.accelerator)
    on_cpu = accelerator is not None and accelerator.is_cpu
    return LaunchPlan(
        local=launch.local is not None,
        torchrun=None
        if torchrun is None
        else TorchrunPlan(elastic=torchrun.rendezvous == "elastic", port=torchrun.port, max_restarts=torchrun.max_restarts),
        deepspeed=None if launch.deepspeed is None else _deepspeed(spec, launch.deepspeed),
        slurm=None if launch.slurm is None else _slurm(spec, launch.slurm),
        kubernetes=None if launch.kubernetes is None else _kubernetes(spec, launch.kubernetes),
        skypilot=None if launch.skypilot is None else _skypilot(launch.skypilot),
        docker=None if launch.docker is None else _docker(spec, launch.docker),
        num_nodes=hardware.nodes,
        last_node_rank=hardware.nodes - 1,
        devices_per_node=hardware.accelerators_per_node,
        environment=_environment(spec),
        shares_cores=on_cpu and hardware.accelerators_per_node > 1,
        grace_seconds=_grace_seconds(spec),
        config_classes=(),
        files=tuple(_files(spec)),
    )


def _files(spec: Spec) -> Iterator[EmittedFile]:
    launch = spec.launch
    for name, file in _EXECUTABLES.items():
        if getattr(launch, name) is not None:
            yield EmittedFile(f"launch/{file}", f"{_TEMPLATES}/{file}.jinja", executable=True)
    if launch.deepspeed is not None and spec.hardware.nodes > 1:
        yield EmittedFile("launch/hostfile", f"{_TEMPLATES}/hostfile.jinja")
        if _environment(spec):
            yield EmittedFile("launch/deepspeed.env", f"{_TEMPLATES}/deepspeed.env.jinja")
    if launch.kubernetes is not None:
        yield EmittedFile("launch/kubernetes.yaml", f"{_TEMPLATES}/kubernetes_{launch.kubernetes.workload}.yaml.jinja")
        yield EmittedFile("launch/kubernetes_data.yaml", f"{_TEMPLATES}/kubernetes_data.yaml.jinja")
    if launch.skypilot is not None:
        yield EmittedFile("launch/skypilot.yaml", f"{_TEMPLATES}/skypilot.yaml.jinja")
    if launch.docker is not None:
        yield EmittedFile("Dockerfile", "project/Dockerfile.jinja")
        yield EmittedFile(".dockerignore", "project/dockerignore.jinja")


def _deepspeed(spec: Spec, launch: DeepspeedLaunch) -> DeepspeedLaunchPlan:
    """Each value goes to the other machines between double quotes, by way of pdsh, to which a percent sign means something too."""
    several = spec.hardware.nodes > 1
    escaped = [
        replace(variable, value=re.sub(r'([\\"$`])', r"\\\1", variable.value).replace("%", "%%"))
        for variable in _environment(spec)
        if several
    ]
    return DeepspeedLaunchPlan(
        port=launch.port, hosts=tuple(f"machine-{number}" for number in range(spec.hardware.nodes)), environment=tuple(escaped)
    )


def _environment(spec: Spec) -> tuple[Variable, ...]:
    """The spec's variables, and what runs on such a device are better off with."""
    accelerator = find_accelerator(spec.hardware.accelerator)
    variables = [Variable(name, value, gives_way=False) for name, value in spec.launch.environment.items()]
    if accelerator is not None and accelerator.vendor == "nvidia":
        # Segments that grow leave less memory unused between tensors of changing sizes.
        variables.append(Variable("PYTORCH_ALLOC_CONF", "expandable_segments:True", gives_way=True))
    elif accelerator is not None and accelerator.is_cpu:
        # Threads that wait for each other leave their cores to others, on a machine that has more to do.
        variables.append(Variable("OMP_WAIT_POLICY", "PASSIVE", gives_way=True))
    return tuple(variable for variable in variables if not (variable.gives_way and variable.name in spec.launch.environment))


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


def _kubernetes(spec: Spec, kubernetes: KubernetesLaunch) -> KubernetesPlan:
    hardware = spec.hardware
    accelerator = find_accelerator(hardware.accelerator)
    command = _kubernetes_command(spec, kubernetes)
    requests = {"cpu": kubernetes.cpus, "memory": kubernetes.memory}
    return KubernetesPlan(
        name=_label(spec.name),
        namespace=kubernetes.namespace,
        image=kubernetes.image,
        image_pull_secret=kubernetes.image_pull_secret,
        volume_claim=kubernetes.volume_claim,
        storage=kubernetes.storage,
        storage_class=kubernetes.storage_class,
        access_mode="ReadWriteMany" if hardware.nodes > 1 else "ReadWriteOnce",
        resources=tuple(Variable(name, value, gives_way=False) for name, value in requests.items() if value is not None),
        gpu_resource={"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}.get(accelerator.vendor) if accelerator is not None else None,
        shared_memory=kubernetes.shared_memory,
        node_selector=tuple(Variable(name, value, gives_way=False) for name, value in kubernetes.node_selector.items()),
        # Kubernetes reads $(NAME) in values, and $$ as $.
        environment=tuple(
            replace(variable, value=variable.value.replace("$", "$$"))
            for variable in _container_environment(spec, torchrun=command[0] == "torchrun", elastic="--rdzv-backend=c10d" in command)
        ),
        command=command,
        max_restarts=kubernetes.max_restarts,
        termination_seconds=_grace_seconds(spec) + _SECONDS_TO_END,
        train_job=kubernetes.workload == "train_job",
    )


def _kubernetes_command(spec: Spec, kubernetes: KubernetesLaunch) -> tuple[str, ...]:
    """What each pod runs. Kubeflow tells torchrun by environment variables who it is; in a plain job it learns that here."""
    nodes, devices, name = spec.hardware.nodes, spec.hardware.accelerators_per_node, _label(spec.name)
    train = ("train.py", "--resume")
    if kubernetes.workload == "train_job":
        return ("torchrun", *train)
    if nodes * devices == 1:
        return ("python", *train)
    if nodes == 1:
        return ("torchrun", "--standalone", f"--nproc-per-node={devices}", *train)
    meeting = ("--rdzv-backend=c10d", f"--rdzv-endpoint={name}-0.{name}:29500", f"--rdzv-id={name}")
    return ("torchrun", f"--nnodes={nodes}", f"--nproc-per-node={devices}", *meeting, f"--max-restarts={kubernetes.max_restarts}", *train)


def _label(name: str) -> str:
    """A name as Kubernetes takes it: small letters, digits and dashes, with room for a number behind it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-")


def _container_environment(spec: Spec, *, torchrun: bool, elastic: bool) -> tuple[Variable, ...]:
    """The run's variables, and how long torchrun waits for what it has told to stop, where no script says it."""
    if not torchrun:
        return _environment(spec)
    variables = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_grace_seconds(spec))}
    if elastic:
        # In the store that torchrun shares, processes wait apart when their machines have counted restarts differently.
        variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return (*_environment(spec), *(Variable(name, value, gives_way=False) for name, value in variables.items()))


def _skypilot(skypilot: SkyPilotLaunch) -> SkyPilotPlan:
    return SkyPilotPlan(
        accelerators=None if skypilot.accelerators == "none" else skypilot.accelerators,
        infra=skypilot.infra,
        use_spot=skypilot.use_spot,
        cpus=skypilot.cpus,
        memory=skypilot.memory,
        disk_size=skypilot.disk_size,
        bucket=skypilot.bucket,
        volume=skypilot.volume,
        setup=skypilot.setup,
        max_restarts=skypilot.max_restarts,
    )


def _docker(spec: Spec, docker: DockerLaunch) -> DockerPlan:
    accelerator = find_accelerator(spec.hardware.accelerator)
    devices = spec.hardware.accelerators_per_node
    options = {"nvidia": "--gpus all ", "amd": "--device /dev/kfd --device /dev/dri "}
    launcher = ("python",) if devices == 1 else ("torchrun", "--standalone", f"--nproc-per-node={devices}")
    escapes = str.maketrans({character: f"\\{character}" for character in '\\"$'})
    return DockerPlan(
        base=docker.base,
        tag=_label(spec.name),
        devices_option=options.get(accelerator.vendor, "") if accelerator is not None else "",
        compiler=spec.training.compile or spec.parallelism.engine == "deepspeed",
        command=(*launcher, "train.py", "--resume"),
        environment=tuple(
            replace(variable, value=variable.value.translate(escapes))
            for variable in _container_environment(spec, torchrun=devices > 1, elastic=False)
        ),
    )


def _slurm_time(seconds: float) -> str:
    """Days-hours:minutes:seconds, as sbatch reads it."""
    minutes, second = divmod(max(1, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day}-{hour:02}:{minute:02}:{second:02}" if day else f"{hour:02}:{minute:02}:{second:02}"
