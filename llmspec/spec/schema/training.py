"""`training:` batch, length and numerics of the run."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Count, Positive, Seconds, Section, derived, section
from llmspec.spec.schema.laws import BatchSize


class Guard(Section):
    """Which steps are skipped instead of being taken.

    A step whose loss or gradient norm is not finite always is: its data counts as seen, weights and optimizer state stay.
    """

    spike_sigma: Annotated[Positive, Field(ge=1)] | None = None
    """Skip a step too whose loss or gradient norm is so many standard deviations above the mean of the last `window` steps; 6 is
    usual. Default: null, spikes are taken."""

    window: Annotated[int, Field(ge=4, le=100_000)] = 128
    """Steps that are looked at. Default: 128."""

    max_skipped_steps: Annotated[int, Field(ge=0, le=100_000)] = 10
    """How many of the last `window` steps may be skipped before the run stops. Default: 10."""


class BatchStage(Section):
    """A smaller batch in the beginning of a run."""

    until_tokens: Count
    """Tokens of the run up to which this batch is used. Required."""

    global_batch_size: Annotated[Count, Field(le=2**24)]
    """Sequences in one optimizer step, over all devices, until then. Required."""


class Ema(Section):
    """A running mean of the weights, which is evaluated and can be exported in their place (Polyak and Juditsky 1992)."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the mean that stays at an update; in the first updates less, (1 + n) / (10 + n) after n of them, so that the first weights
    are soon forgotten. Default: 0.999, which remembers some thousand updates."""

    every: Count = 1
    """Steps between updates. Default: 1."""


class Training(Section):
    """Batch, length and numerics of the run."""

    sequence_length: Annotated[Count, Field(le=2**24)]
    """Tokens in one training sequence. Required."""

    global_batch_size: BatchSize
    """Sequences in one optimizer step, over all devices, or the law that chooses it from max_tokens: `step_law`, `deepseek_llm`,
    `olmo_ladder`, or `auto` for the one that suits the run's size. Required."""

    batch_size_warmup: Annotated[tuple[BatchStage, ...], Field(max_length=100)] = ()
    """Smaller batches for the beginning of the run, in order; `global_batch_size` is what follows them. While the loss falls fast, small
    batches teach as much a token (McCandlish et al. 2018), so GPT-3, DeepSeek-V3 and Llama 3 grew theirs. The learning rate stays a
    function of the step. Default: none."""

    micro_batch_size: Annotated[Count, Field(le=2**24)] = derived(
        "the largest divisor of global_batch_size / data_parallel_size with at most 16384 tokens"
    )
    """Sequences in one forward pass on one device. Default: the largest that divides the device's share of the batch and has
    at most 16,384 tokens."""

    max_steps: Count = derived("max_tokens / (global_batch_size * sequence_length), rounded up")
    """Optimizer steps of the run. Give this or max_tokens."""

    max_tokens: Count = derived("max_steps * global_batch_size * sequence_length")
    """Training tokens of the run. Give this or max_steps."""

    max_duration: Seconds | None = None
    """Save and stop after this much wall-clock time, such as 36h. Default: null, no limit."""

    max_grad_norm: Positive | Literal["none"] = 1.0
    """Global gradient norm above which gradients are scaled down. Default: 1.0; `none` for no clipping."""

    guard: Guard = section()
    """Which steps are skipped because they would ruin the weights."""

    ema: Ema | None = None
    """Keep a running mean of the weights. Costs four bytes a parameter. Default: null, none."""

    compile: bool = derived("true on accelerators, false on a CPU and with ZeRO stage 3")
    """Whether the model is compiled with torch.compile. Default: true, but false on a CPU, where short runs lose by it, and with ZeRO
    stage 3, which it does not go with."""

    fp8_recipe: Literal["tensorwise", "rowwise"] = "tensorwise"
    """How `precision: fp8` scales values: one scale for each tensor, which is the fastest, or one for each row, which outliers harm less
    (Micikevicius et al. 2022). Default: tensorwise."""
