"""`evaluation:` when and how the validation documents are scored."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Count, Section, derived


class Evaluation(Section):
    """When and how the validation documents are scored."""

    every: Count = derived("a tenth of max_steps, at most 1000")
    """Steps between evaluations; the last step is always evaluated. Default: a tenth of the run, at most 1000."""

    metrics: Annotated[tuple[Literal["perplexity", "bits_per_byte"], ...], Field(min_length=1)] = ("perplexity", "bits_per_byte")
    """What is reported beside the loss. Default: [perplexity, bits_per_byte]."""

    max_tokens: Count = 1_000_000
    """Validation tokens scored at each evaluation during training; evaluate.py scores all. Default: 1M."""
