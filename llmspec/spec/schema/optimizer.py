"""`optimizer:` how weights move."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Beta, ByKind, Count, Section, Text
from llmspec.spec.schema.laws import LearningRate

Epsilon = Annotated[float, Field(gt=0, le=1)]
WeightDecay = Annotated[float, Field(ge=0, le=10)]
RateScale = Annotated[float, Field(gt=0, le=1000)]


class ParameterGroup(Section):
    """Parameters with a rate or a weight decay of their own."""

    pattern: Text
    """Names of parameters of the emitted model, with `*`, `?` and `[...]` as in file names; `*` matches dots too, so `layers.0.*` is all
    of the first layer and `*.bias` every bias. Required."""

    learning_rate_scale: RateScale = 1.0
    """Their learning rate, as a multiple of the run's. Default: 1."""

    weight_decay: WeightDecay | None = None
    """Their weight decay. Default: null, that of the optimizer."""


class Optimizer(Section):
    """Fields that every optimizer shares."""

    learning_rate: LearningRate
    """Peak learning rate, or the law that chooses it: `step_law`, `deepseek_llm`, `olmo_ladder`, or `auto` for the one that suits the
    run's size (StepLaw up to 1e21 FLOPs, DeepSeek LLM beyond). Required."""

    weight_decay: WeightDecay = 0.1
    """Decoupled weight decay of matrices; norms and biases never decay. Default: 0.1."""

    decay_embeddings: bool = True
    """Whether token and position embeddings decay too. Default: true."""

    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Layer-wise rate decay: with d, the learning rate of layer l of L is multiplied by d^(L - l), that of the embeddings by d^(L + 1);
    the final norm and the head keep theirs. Default: null, every layer has the same rate."""

    groups: Annotated[tuple[ParameterGroup, ...], Field(min_length=1)] | None = None
    """Parameters with a rate or a weight decay of their own, by pattern; the first pattern that matches a name counts. Default: none."""


class L2Optimizer(Optimizer):
    """Fields that optimizers share whose weight decay is a penalty added to the gradient."""

    weight_decay: WeightDecay = 0.0
    """L2 penalty: the weights, times this, are added to their gradients; norms and biases have none. Default: 0."""


class Adam(L2Optimizer):
    """Adam (Kingma and Ba 2014)."""

    kind: Literal["adam"]
    """Adam: moments of the gradient and of its square."""

    beta1: Beta = 0.9
    """Decay of the first moment. Default: 0.9."""

    beta2: Beta = 0.95
    """Decay of the second moment. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""


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


class Sgd(L2Optimizer):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    """Stochastic gradient descent."""

    momentum: Beta = 0.9
    """Share of the last step that the next one keeps; 0 for none. Default: 0.9."""

    nesterov: bool = False
    """Whether the gradient is taken where the momentum leads to (Nesterov 1983). Default: false."""


class RmsProp(L2Optimizer):
    """RMSprop (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"]
    """RMSprop: the gradient over the root of its mean square."""

    beta2: Beta = 0.99
    """Decay of the mean square of the gradient. Default: 0.99."""

    momentum: Beta = 0.0
    """Share of the last step that the next one keeps; 0 for none. Default: 0."""

    rms_eps: Epsilon = 1e-8
    """Added to the root of the mean square. Default: 1e-8."""


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern 2018): the second moment of a matrix is kept as a row and a column."""

    kind: Literal["adafactor"]
    """Adafactor: second moments as rows and columns; the rate is relative to the size of the weights, 1e-2 is usual."""

    weight_decay: WeightDecay = 0.0
    """Decoupled weight decay of matrices; norms and biases never decay. Default: 0."""

    decay_exponent: Annotated[float, Field(ge=0, le=1)] = 0.8
    """The second moment's decay at step t is 1 - t^-decay_exponent. Default: 0.8."""

    clip_threshold: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Largest root mean square of a tensor's step before it is scaled by the rate. Default: 1."""

    rms_eps: Epsilon = 1e-15
    """Smallest root of a second moment. Default: 1e-15, whose square is the paper's 1e-30."""

    min_scale: Epsilon = 1e-3
    """Smallest root mean square that a tensor counts with, so that weights of zero can move. Default: 1e-3."""


class Lamb(Optimizer):
    """LAMB (You et al. 2019): each tensor's Adam step is as long as the tensor's norm, times the rate."""

    kind: Literal["lamb"]
    """LAMB: Adam with a step as long as the tensor it moves, for very large batches."""

    weight_decay: WeightDecay = 0.01
    """Weight decay of matrices, a part of the step that is scaled; norms and biases never decay. Default: 0.01."""

    beta1: Beta = 0.9
    """Decay of the first moment. Default: 0.9."""

    beta2: Beta = 0.999
    """Decay of the second moment. Default: 0.999."""

    adam_eps: Epsilon = 1e-6
    """Added to the root of the second moment. Default: 1e-6."""


class Lion(Optimizer):
    """Lion (Chen et al. 2023): the sign of an interpolated momentum."""

    kind: Literal["lion"]
    """Lion: a step is the sign of the momentum, and the momentum all its state."""

    beta1: Beta = 0.9
    """Share of the momentum in the step. Default: 0.9."""

    beta2: Beta = 0.99
    """Decay of the momentum. Default: 0.99."""


class Muon(Optimizer):
    """Muon (Jordan et al. 2024): the momentum of a matrix is made orthogonal. Embeddings, head, norms and biases move by AdamW."""

    kind: Literal["muon"]
    """Muon for the matrices of the layers, AdamW for everything else."""

    momentum: Beta = 0.95
    """Decay of the momentum. Default: 0.95."""

    nesterov: bool = True
    """Whether the gradient is added to the momentum once more. Default: true."""

    newton_schulz_steps: Annotated[int, Field(ge=1, le=20)] = 5
    """Iterations that make the momentum orthogonal. Default: 5."""

    scaling: Literal["match_rms_adamw", "spectral"] = "match_rms_adamw"
    """What a matrix's step is multiplied by: `match_rms_adamw` 0.2 * sqrt(max(rows, columns)), so that AdamW's learning rates fit (Liu et
    al. 2025); `spectral` sqrt(max(1, rows / columns)), as it was first written, with rates near 0.02. Default: match_rms_adamw."""

    adamw_learning_rate_scale: RateScale = 1.0
    """Learning rate of what moves by AdamW, as a multiple of the run's. Default: 1."""

    beta1: Beta = 0.9
    """Decay of AdamW's first moment. Default: 0.9."""

    beta2: Beta = 0.95
    """Decay of AdamW's second moment. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of AdamW's second moment. Default: 1e-8."""


class Soap(Optimizer):
    """SOAP (Vyas et al. 2024): Adam in the eigenbasis of Shampoo's preconditioner."""

    kind: Literal["soap"]
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

    beta1: Beta = 0.95
    """Decay of the first moment. Default: 0.95."""

    beta2: Beta = 0.95
    """Decay of the second moment and of the preconditioner. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""

    precondition_every: Count = 10
    """Steps between two updates of the eigenbasis. Default: 10."""

    max_precondition_size: Count = 10_000
    """Dimensions above this size, such as the vocabulary, are not preconditioned. Default: 10000."""


class ScheduleFreeAdamW(Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024): the weights that are scored and saved are an average over the run."""

    kind: Literal["schedule_free_adamw"]
    """AdamW with an average of the weights in the place of a decaying rate; wants `schedule: {kind: constant}`."""

    beta1: Beta = 0.9
    """Where gradients are taken between the average (1) and the newest weights (0). Default: 0.9."""

    beta2: Beta = 0.95
    """Decay of the second moment. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""

    average_power: Annotated[float, Field(ge=0, le=100)] = 0.0
    """The weights after step t count t^average_power times in the average. Default: 0."""


class AdamW8bit(Optimizer):
    """AdamW with moments of 8 bits a value, quantised in blocks (Dettmers et al. 2021)."""

    kind: Literal["adamw_8bit"]
    """AdamW with 8-bit moments. Tensors below 4096 values, or of a size that blocks do not divide, keep 32 bits."""

    beta1: Beta = 0.9
    """Decay of the first moment. Default: 0.9."""

    beta2: Beta = 0.95
    """Decay of the second moment. Default: 0.95."""

    adam_eps: Epsilon = 1e-8
    """Added to the root of the second moment. Default: 1e-8."""

    block_size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 256
    """Values that share one scale. Default: 256."""

    quantize_embeddings: bool = False
    """Whether the moments of embeddings and of an untied head have 8 bits too. Default: false; rare tokens suffer by it."""


AnyOptimizer = Annotated[
    AdamW | Adam | Sgd | RmsProp | Adafactor | Lamb | Lion | Muon | Soap | ScheduleFreeAdamW | AdamW8bit, ByKind(default="adamw")
]
