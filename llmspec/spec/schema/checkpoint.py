"""`checkpoint:` when the run is saved."""

from typing import Annotated

from pydantic import Field

from llmspec.spec.schema.base import Count, No, Section, derived


class Checkpoint(Section):
    """When the run is saved."""

    every: Count = derived("a tenth of max_steps, at most 1000")
    """Steps between checkpoints; the last step is always saved. Default: a tenth of the run, at most 1000."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many checkpoints stay on disk, the newest. Default: 3."""

    asynchronous: No = False
    """Whether training goes on while a checkpoint is written. Default: false."""
