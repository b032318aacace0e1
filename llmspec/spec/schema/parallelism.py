"""`parallelism:` how the run is laid over devices."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Seconds, Section, Text, derived

Degree = Annotated[int, Field(ge=1, le=2**20)]


class Offload(Section):
    """What DeepSpeed keeps outside the device's memory."""

    optimizer: Literal["none", "cpu", "nvme"] = "none"
    """Where the optimizer's state lives, and where its step is computed. Default: none, on the device."""

    parameters: Literal["none", "cpu", "nvme"] = "none"
    """Where parameters live while they are not in use; needs ZeRO stage 3. Default: none, on the device."""

    nvme_path: Text | None = None
    """Directory on a local NVMe disk, needed where something goes to `nvme`. Default: none."""


class Parallelism(Section):
    """How the run is laid over devices."""

    engine: Literal["torch", "deepspeed"] = "torch"
    """The library that drives the devices. Default: torch."""

    data: Literal["ddp", "fsdp", "hsdp", "zero"] = derived("ddp with the torch engine, zero with deepspeed")
    """How replicas keep in step. `ddp` averages the gradients of whole replicas (DistributedDataParallel); `fsdp` shards parameters,
    gradients and optimizer state over all of them (FSDP2); `hsdp` shards within groups of `shard_size` and replicates over the groups;
    `zero` is DeepSpeed's ZeRO at `zero_stage`. Default: ddp with the torch engine, zero with deepspeed."""

    shard_size: Degree = derived("accelerators_per_node with hsdp, the data-parallel size with fsdp and zero, 1 with ddp")
    """Devices that share one set of shards. Default: the devices of a node with hsdp, all replicas with fsdp and zero."""

    reshard_after_forward: bool = True
    """Whether fsdp and hsdp free a layer's gathered parameters after its forward pass and gather them again for the backward pass: less
    memory, more traffic. Default: true."""

    zero_stage: Literal[0, 1, 2, 3] = derived("1 with zero, 0 without")
    """What ZeRO shards (Rajbhandari et al. 2019): 1 the optimizer's state, 2 gradients too, 3 parameters too. Default: 1."""

    offload: Offload | None = None
    """What DeepSpeed keeps in host memory or on a disk. Default: none."""

    deepspeed_optimizer: bool = derived("true where the optimizer is offloaded")
    """Whether adam, adamw and lion are DeepSpeed's own (FusedAdam and FusedLion, or the CPU's, DeepSpeedCPUAdam and DeepSpeedCPULion,
    where the optimizer is offloaded), which it compiles when they are first used. Default: true where the optimizer is offloaded."""

    tensor: Degree = 1
    """Devices that share each matrix. Default: 1."""

    sequence_parallel: bool = derived("true where tensor is above 1")
    """Whether the devices of a tensor group also share norms and dropout along the sequence (Korthikanti et al. 2022). Default: true
    where tensor is above 1."""

    pipeline: Degree = 1
    """Groups of layers on devices of their own. Default: 1."""

    pipeline_schedule: Literal["gpipe", "1f1b", "interleaved_1f1b", "zero_bubble"] = "1f1b"
    """The order of the micro batches' forward and backward passes over the pipeline. Default: 1f1b."""

    stages_per_device: Degree = 1
    """Stages that each device of an interleaved pipeline holds. Default: 1."""

    context: Degree = 1
    """Devices that share each sequence. Default: 1."""

    expert: Degree = 1
    """Devices that share the experts. Default: 1."""

    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """What is recomputed in the backward pass to save memory: `selective` keeps the results of matrix products and attention
    of each layer, `full` keeps only each layer's input. Default: none."""

    collective_timeout: Seconds = 600.0
    """How long a process waits for another in an exchange before the run ends, naming the one that did not come. Default: 10m."""
