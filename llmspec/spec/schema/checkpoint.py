"""`checkpoint:` when the run is saved."""

from typing import Annotated

from pydantic import Field

from llmspec.spec.schema.base import Count, Section, derived


class Checkpoint(Section):
    """When the run is saved."""

    every: Count = derived("a tenth of max_steps, at most 1000, and a fortieth of the time between failures")
    """Steps between checkpoints. The first step is saved too, so that a save that fails does so at once, and so is the last.
    Default: a tenth of the run, at most 1000, and at most a fortieth of the time between failures of so many devices."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many checkpoints stay on disk, the newest. Default: 3."""

    keep_every: Count | None = None
    """Checkpoints of each multiple of so many steps stay for ever. Default: null, none does."""

    asynchronous: bool = derived("true on accelerators, false on a CPU and with the DeepSpeed engine")
    """Whether training goes on while a checkpoint is written from a copy in host memory. Default: true, but false on a CPU, where
    writing takes the time of the processor that trains, and with the DeepSpeed engine, which waits."""
