"""`optimizer:` how weights move."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Section


class AdamW(Section):
    """AdamW (Loshchilov and Hutter 2017)."""

    kind: Literal["adamw"] = "adamw"
    """The optimizer. Default: adamw."""

    learning_rate: Annotated[float, Field(gt=0, le=10)]
    """Peak learning rate. Required."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment. Default: 0.9."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the second moment. Default: 0.95."""

    adam_eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""

    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Decoupled weight decay of matrices; norms and biases never decay. Default: 0.1."""

    decay_embeddings: bool = True
    """Whether token and position embeddings decay too. Default: true."""
