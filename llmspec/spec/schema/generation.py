"""`generation:` what generate.py writes when asked for nothing else."""

from typing import Annotated

from pydantic import Field

from llmspec.spec.schema.base import Count, CountOrZero, NonNegative, Section, Text


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
