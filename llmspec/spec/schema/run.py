"""`checkpoint:`, `evaluation:`, `logging:`, `generation:`, `launch:` what happens around the training loop."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Count, CountOrZero, No, NonNegative, Section, Text, derived


class Checkpoint(Section):
    """When the run is saved."""

    every: Count = derived("a tenth of max_steps, at most 1000")
    """Steps between checkpoints; the last step is always saved. Default: a tenth of the run, at most 1000."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many checkpoints stay on disk, the newest. Default: 3."""

    asynchronous: No = False
    """Whether training goes on while a checkpoint is written. Default: false."""


class Evaluation(Section):
    """When and how the validation documents are scored."""

    every: Count = derived("a tenth of max_steps, at most 1000")
    """Steps between evaluations; the last step is always evaluated. Default: a tenth of the run, at most 1000."""

    metrics: Annotated[tuple[Literal["perplexity", "bits_per_byte"], ...], Field(min_length=1)] = ("perplexity", "bits_per_byte")
    """What is reported beside the loss. Default: [perplexity, bits_per_byte]."""

    max_tokens: Count = 1_000_000
    """Validation tokens scored at each evaluation during training; evaluate.py scores all. Default: 1M."""


class Logging(Section):
    """What the run reports while it trains."""

    every: Count = 10
    """Steps between lines on the console and in metrics.jsonl. Default: 10."""

    tensorboard: bool = False
    """Whether TensorBoard event files are written too. Default: false."""


class Generation(Section):
    """What generate.py writes when asked for nothing else."""

    prompts: Annotated[tuple[Text, ...], Field(min_length=1, max_length=100)] = ("Once upon a time",)
    """Texts to continue. Default: one."""

    max_new_tokens: Count = 100
    """Tokens to write after each prompt. Default: 100."""

    temperature: NonNegative = 0.8
    """Divides the logits; 0 takes the likeliest token. Default: 0.8."""

    top_k: CountOrZero = 0
    """Draw from this many likeliest tokens; 0 from all. Default: 0."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the smallest set of tokens with this much probability. Default: 1.0, from all."""


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
