"""The one description of the model: every weight and every operation. All counts, plans and conversions read it."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod


class Component(StrEnum):
    """Part of the model that a weight or an operation belongs to."""

    EMBEDDING = "embedding"
    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"
    NORM = "norm"
    HEAD = "head"


class WeightKind(StrEnum):
    """What a weight is, which decides how it starts and whether it decays."""

    EMBEDDING = "embedding"
    POSITION = "position"
    MATRIX = "matrix"
    OUTPUT_MATRIX = "output_matrix"
    BIAS = "bias"
    NORM = "norm"


@dataclass(frozen=True, slots=True)
class Weight:
    """One parameter tensor of the emitted model.

    `name` is its name in the emitted `state_dict()`, `shape` its shape there. `tensor_split` is the dimension that tensor
    parallelism would split, None for replicated. `hugging_face_name` is its name in the matching Hugging Face model, None where
    there is none; `hugging_face_transposed` says that it is stored transposed there (GPT-2's Conv1D).
    """

    name: str
    shape: tuple[int, ...]
    kind: WeightKind
    component: Component
    layer: int | None
    tensor_split: int | None
    hugging_face_name: str | None
    hugging_face_transposed: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """(tokens, in_features) x (in_features, out_features), once for every token."""

    name: str
    component: Component
    in_features: int
    out_features: int

    def flops_per_token(self) -> int:
        """Forward FLOPs for one token: a multiplication and an addition an entry."""
        return 2 * self.in_features * self.out_features


@dataclass(frozen=True, slots=True)
class AttentionProduct:
    """Queries with keys, weights with values, over one sequence. `window` is None for full attention."""

    name: str
    component: Component
    num_heads: int
    num_kv_heads: int
    head_dim: int
    window: int | None

    def flops_per_token(self, sequence_length: int) -> int:
        """Forward FLOPs for one token with all pairs counted, as torch's FlopCounterMode does."""
        return 4 * self.num_heads * self.head_dim * sequence_length

    def causal_flops_per_token(self, sequence_length: int) -> float:
        """Forward FLOPs for one token with only the pairs that the causal mask and the window leave."""
        window = min(self.window or sequence_length, sequence_length)
        pairs = window * (window + 1) / 2 + (sequence_length - window) * window
        return 4 * self.num_heads * self.head_dim * pairs / sequence_length


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A memory-bound pass: elements read and written for one token (norms, activations, residual additions, rotations)."""

    name: str
    component: Component
    elements_read: int
    elements_written: int


Operation = MatrixProduct | AttentionProduct | Elementwise


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer: its weights and its operations, in the order of execution."""

    index: int
    weights: tuple[Weight, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """The model. `before` is what precedes the layers (embeddings), `after` what follows them (final norm and head).

    `hugging_face_mismatch` says why there is no `hugging_face_class`, in a few words for people.
    """

    before: Layer
    layers: tuple[Layer, ...]
    after: Layer
    hugging_face_class: str | None
    hugging_face_mismatch: str | None = None

    @property
    def weights(self) -> tuple[Weight, ...]:
        """All weights in the order of the emitted model's `parameters()`; a tied head is not listed twice."""
        return tuple(w for part in (self.before, *self.layers, self.after) for w in part.weights)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations in the order of execution."""
        return tuple(o for part in (self.before, *self.layers, self.after) for o in part.operations)

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters, tied ones once."""
        return sum(w.size for w in self.weights)
