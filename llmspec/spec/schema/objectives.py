"""`objectives:` what the model learns to do."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Section


class CausalLm(Section):
    """Predict each token from those before it."""

    kind: Literal["causal_lm"]
    """Predict each token from those before it."""

    z_loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the squared log of the softmax normaliser, which keeps logits from drifting (PaLM 1e-4, OLMo 2 1e-5).
    Default: 0, none."""
