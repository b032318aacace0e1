"""`parallelism:` how the run is laid over devices."""

from typing import Literal

from llmspec.spec.schema.base import One, Section


class Parallelism(Section):
    """How the run is laid over devices."""

    engine: Literal["torch"] = "torch"
    """The library that drives the devices. Default: torch."""

    data: Literal["ddp"] = "ddp"
    """How replicas keep in step: `ddp` averages gradients (DistributedDataParallel). Default: ddp."""

    tensor: One = 1
    """Devices that share each matrix. Default: 1."""

    pipeline: One = 1
    """Groups of layers on devices of their own. Default: 1."""

    context: One = 1
    """Devices that share each sequence. Default: 1."""

    expert: One = 1
    """Devices that share the experts. Default: 1."""

    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """What is recomputed in the backward pass to save memory: `selective` keeps the results of matrix products and attention
    of each layer, `full` keeps only each layer's input. Default: none."""
