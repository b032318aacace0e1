"""`logging:` what the run reports while it trains."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Count, Section, Text


class Wandb(Section):
    """Metrics and configuration go to Weights & Biases too; a resumed run goes on in the same place."""

    project: Text
    """Project there. Required."""

    entity: Text | None = None
    """User or team. Default: null, the one of whoever is logged in."""

    name: Text | None = None
    """Name of the run there. Default: null, the name of this spec."""

    mode: Literal["online", "offline"] = "online"
    """`offline` keeps everything in the output directory until `wandb sync` sends it. Default: online."""


class Mlflow(Section):
    """Metrics and configuration go to MLflow too; a resumed run goes on in the same place."""

    experiment: Text
    """Experiment there. Required."""

    tracking_uri: Text | None = None
    """Address of the server. Default: null, files in the output directory."""


class Profiler(Section):
    """A few steps are traced with torch.profiler: a file for each process, and a table of what took the most time."""

    start: Count = 10
    """First step that is traced, counted from where the process starts. Default: 10."""

    steps: Annotated[int, Field(ge=1, le=100)] = 3
    """Steps that are traced. Default: 3."""


class Logging(Section):
    """What the run reports while it trains."""

    every: Count = 10
    """Steps between lines on the console and in metrics.jsonl. Default: 10."""

    tensorboard: bool = False
    """Whether TensorBoard event files are written too. Default: false."""

    wandb: Wandb | None = None
    """Weights & Biases. Default: null, not used."""

    mlflow: Mlflow | None = None
    """MLflow. Default: null, not used."""

    profiler: Profiler | None = None
    """Tracing of a few steps. Default: null, none."""

    memory_history: bool = False
    """Whether a GPU's allocations are recorded with where they were made, for the snapshot that is written when its memory runs out.
    Default: false."""
