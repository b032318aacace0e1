"""`optimizer:` how weights move."""

from typing import Annotated, Literal

from pydantic import Field

from pydantic import Field

from llmspec.spec.schema.base import ByKind, Section
from llmspec.spec.schema.laws import LearningRate

Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]
WeightDecay = Annotated[float, Field(ge=0, le=10)]


class Optimizer(Section):
    """Fields that every optimizer shares."""

    learning_rate: LearningRate
    """Peak learning rate, or the law that chooses it: `step_law`, `deepseek_llm`, `olmo_ladder`, or `auto` for the one that suits the
    run's size (StepLaw up to 1e21 FLOPs, DeepSeek LLM beyond). Required."""

    weight_decay: WeightDecay = 0.1
    """Decoupled weight decay of matrices; norms and biases never decay. Default: 0.1."""

    decay_embeddings: bool = True
    """Whether token and position embeddings decay too. Default: true."""


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2017)."""

    kind: Literal["adamw"]
    """AdamW: Adam with decoupled weight decay. Default: adamw, where no kind is named."""

    beta1: Beta = 0.9
    """Decay of the first moment. Default: 0.9."""

    beta2: Beta = 0.95
    """Decay of the second moment. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""


AnyOptimizer = Annotated[AdamW, ByKind(default="adamw")]
