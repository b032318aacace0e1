"""`launch:` the launch scripts to emit."""

from typing import Annotated

from pydantic import Field

from llmspec.spec.schema.base import Section, derived


class LocalLaunch(Section):
    """launch/local.sh: everything in order on this machine: tokenizer, data, training, evaluation, a sample."""


class TorchrunLaunch(Section):
    """launch/torchrun.sh: training on one or several machines, one call a machine."""

    port: Annotated[int, Field(ge=1024, le=65_535)] = 29_500
    """Port on the first machine where the processes meet. Default: 29500."""


class Launch(Section):
    """The launch scripts to emit: a key each, with its settings."""

    local: LocalLaunch | None = derived("emitted unless only other launchers are named")
    """launch/local.sh. Default: emitted when no launcher is named."""

    torchrun: TorchrunLaunch | None = derived("emitted when there are several machines and no launcher is named")
    """launch/torchrun.sh. Default: emitted when there are several machines and no launcher is named."""
