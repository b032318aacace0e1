"""`architecture:` the network. A decoder is what can be built today; each knob is a component of the emitted model."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import ByKind, Count, Positive, Probability, Section, Width, derived, section


class Attention(Section):
    """Fields that every kind of self-attention shares."""

    num_heads: Annotated[int, Field(ge=1, le=1024)]
    """Number of query heads. Required."""

    head_dim: Width = derived("hidden_size / num_heads")
    """Width of one head, in elements. Default: hidden_size / num_heads."""

    qkv_bias: bool = False
    """Whether the query, key and value projections have a bias. Default: false."""

    output_bias: bool = False
    """Whether the output projection has a bias. Default: false."""

    qk_norm: bool | Literal["per_head", "all_heads"] = False
    """Normalise queries and keys before their product: `per_head` (true) over each head as Qwen 3 does, `all_heads` over the
    whole projection as OLMo 2 does. Default: false."""

    window: Count | Annotated[tuple[Count | Literal["full"], ...], Field(min_length=1)] | None = None
    """Sliding window: how many tokens back, itself included, a token may look. A list is a pattern that repeats over the
    layers, with `full` for layers that see everything, such as [1024, 1024, full]. Default: null, every layer sees everything."""

    logit_softcap: Positive | None = None
    """Soft cap of the attention logits: c * tanh(logits / c). Default: null, no cap."""

    dropout: Probability = 0.0
    """Dropout probability of the attention weights. Default: 0."""

    @property
    def key_value_heads(self) -> int:
        """Number of key and value heads, whatever the kind."""
        return self.num_heads


class MultiHeadAttention(Attention):
    """Multi-head attention (Vaswani et al. 2017): each query head has its own keys and values."""

    kind: Literal["mha"]
    """Multi-head attention."""


class GroupedQueryAttention(Attention):
    """Grouped-query attention (Ainslie et al. 2023): groups of query heads share keys and values."""

    kind: Literal["gqa"]
    """Grouped-query attention."""

    num_kv_heads: Annotated[int, Field(ge=1, le=1024)]
    """Number of key and value heads; divides num_heads. Required."""

    @property
    def key_value_heads(self) -> int:
        """Number of key and value heads, whatever the kind."""
        return self.num_kv_heads


class MultiQueryAttention(Attention):
    """Multi-query attention (Shazeer 2019): all query heads share one key and value head."""

    kind: Literal["mqa"]
    """Multi-query attention."""

    @property
    def key_value_heads(self) -> int:
        """Number of key and value heads, whatever the kind."""
        return 1


class FeedForward(Section):
    """Fields that every feed-forward kind shares."""

    ffn_hidden_size: Width = derived("4 * hidden_size, or 8/3 * hidden_size rounded up to a multiple of 64 when gated")
    """Width of the hidden layer, in elements. Default: 4 * hidden_size; gated kinds: 8/3 * hidden_size rounded up to a
    multiple of 64."""

    bias: bool = False
    """Whether the projections have a bias. Default: false."""

    @property
    def gated(self) -> bool:
        """Whether the hidden layer is the product of a gate and a value (two input matrices, not one)."""
        return False


class GeluFeedForward(FeedForward):
    """Two matrices with a GELU between (Hendrycks and Gimpel 2016)."""

    kind: Literal["gelu"]
    """GELU between two matrices."""

    approximate: Literal["none", "tanh"] = "none"
    """`tanh` for the approximation that GPT-2 uses. Default: none, the exact GELU."""


class ReluFeedForward(FeedForward):
    """Two matrices with a ReLU between."""

    kind: Literal["relu"]
    """ReLU between two matrices."""


class SquaredReluFeedForward(FeedForward):
    """Two matrices with a squared ReLU between (So et al. 2021)."""

    kind: Literal["relu_squared"]
    """Squared ReLU between two matrices."""


class SwigluFeedForward(FeedForward):
    """SiLU-gated linear unit (Shazeer 2020)."""

    kind: Literal["swiglu"]
    """SiLU-gated linear unit."""

    @property
    def gated(self) -> bool:
        """Whether the hidden layer is the product of a gate and a value (two input matrices, not one)."""
        return True


class GegluFeedForward(FeedForward):
    """GELU-gated linear unit (Shazeer 2020)."""

    kind: Literal["geglu"]
    """GELU-gated linear unit."""

    approximate: Literal["none", "tanh"] = "none"
    """`tanh` for the approximate GELU. Default: none, the exact GELU."""

    @property
    def gated(self) -> bool:
        """Whether the hidden layer is the product of a gate and a value (two input matrices, not one)."""
        return True


class Norm(Section):
    """Fields that every norm shares."""

    placement: Literal["pre", "post", "sandwich", "reordered"] = "pre"
    """Where the norms sit around a sublayer f: pre x + f(norm(x)); post norm(x + f(x)); sandwich x + norm(f(norm(x)));
    reordered x + norm(f(x)), as OLMo 2 has it. All but post add a final norm before the head. Default: pre."""

    eps: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    """Added to the variance before its root. Default: 1e-5."""


class LayerNorm(Norm):
    """Layer normalisation (Ba et al. 2016)."""

    kind: Literal["layernorm"]
    """Layer normalisation."""

    bias: bool = True
    """Whether the norm has a bias beside its weight. Default: true."""


class RmsNorm(Norm):
    """Root-mean-square normalisation (Zhang and Sennrich 2019)."""

    kind: Literal["rmsnorm"]
    """Root-mean-square normalisation."""


class LinearScaling(Section):
    """Position interpolation (Chen et al. 2023): every position is divided by the factor."""

    kind: Literal["linear"]
    """Divide all positions by the factor."""

    factor: Annotated[float, Field(ge=1, le=10_000)]
    """How many times longer the context becomes. Required."""


class NtkScaling(Section):
    """NTK-aware scaling: the base grows so that the slowest frequency is interpolated by the factor and the fastest is kept."""

    kind: Literal["ntk"]
    """Enlarge the rotary base: theta * factor ** (head_dim / (head_dim - 2))."""

    factor: Annotated[float, Field(ge=1, le=10_000)]
    """How many times longer the context becomes. Required."""


class YarnScaling(Section):
    """YaRN (Peng et al. 2023): interpolate slow frequencies, keep fast ones, ramp between, and scale the logits."""

    kind: Literal["yarn"]
    """Frequency-wise interpolation with a scaled attention temperature."""

    factor: Annotated[float, Field(ge=1, le=10_000)]
    """How many times longer the context becomes. Required."""

    original_sequence_length: Count
    """Context, in tokens, that the frequencies were first trained with. Required."""

    beta_fast: Positive = 32.0
    """Frequencies that turn more often than this within the original context are kept. Default: 32."""

    beta_slow: Positive = 1.0
    """Frequencies that turn less often than this within the original context are interpolated. Default: 1."""


class Llama3Scaling(Section):
    """The scaling of Llama 3.1: interpolate long wavelengths, keep short ones, blend between."""

    kind: Literal["llama3"]
    """Wavelength-wise interpolation."""

    factor: Annotated[float, Field(ge=1, le=10_000)]
    """How many times longer the context becomes. Required."""

    original_sequence_length: Count
    """Context, in tokens, that the frequencies were first trained with. Required."""

    low_frequency_factor: Positive = 1.0
    """Wavelengths above original_sequence_length / this are divided by the factor. Default: 1."""

    high_frequency_factor: Positive = 4.0
    """Wavelengths below original_sequence_length / this are kept. Default: 4."""


class Rope(Section):
    """Rotary position embedding (Su et al. 2021), in the half-split layout of Llama checkpoints."""

    kind: Literal["rope"]
    """Rotary position embedding."""

    theta: Annotated[float, Field(gt=1, le=1e12)] = 10_000.0
    """Base of the rotary frequencies. Default: 10000."""

    scaling: Annotated[LinearScaling | NtkScaling | YarnScaling | Llama3Scaling, ByKind()] | None = None
    """How the frequencies are stretched for a longer context. Default: null, not at all."""


class LearnedPosition(Section):
    """One learned vector a position, added to the token embedding."""

    kind: Literal["learned"]
    """One learned vector a position."""

    num_positions: Count = derived("training.sequence_length")
    """Rows of the position table, in tokens. Default: training.sequence_length."""


class SinusoidalPosition(Section):
    """Fixed sines and cosines added to the token embedding (Vaswani et al. 2017)."""

    kind: Literal["sinusoidal"]
    """Fixed sines and cosines."""

    num_positions: Count = derived("training.sequence_length")
    """Rows of the position table, in tokens. Default: training.sequence_length."""


class Alibi(Section):
    """Attention with linear biases (Press et al. 2021): logits fall with distance, with one slope a head."""

    kind: Literal["alibi"]
    """Linear biases on the attention logits."""


class NoPosition(Section):
    """No position signal but the causal mask (NoPE, Kazemnejad et al. 2023)."""

    kind: Literal["none"]
    """No position signal but the causal mask."""


class Initialization(Section):
    """How weights start. Norm weights start at one, biases at zero, whatever is said here."""

    kind: Literal["normal", "truncated_normal"] = "normal"
    """`truncated_normal` cuts at three standard deviations. Default: normal."""

    std: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Standard deviation of matrices and embeddings. Default: 0.02, as GPT-2."""

    depth_scaled: bool = True
    """Divide the deviation of each sublayer's output projection by sqrt(2 * num_layers), as GPT-2. Default: true."""


class MaximalUpdate(Section):
    """muP, the maximal update parametrization (Yang et al. 2022): the best learning rate of a narrow model is that of a wide one.

    Rates, initialisation and logits are scaled so that a step changes activations as much at any width; at the base width nothing is
    scaled. Tune at the base width, then widen. Matrices of the layers start with a deviation of `std` divided by the root of the width's
    multiple and move with the learning rate divided by that multiple; the logits are divided by it too (table 8 of the paper, for Adam).
    """

    base_hidden_size: Width
    """The `hidden_size` at which nothing is scaled: that of the model whose learning rate was tuned. Required."""

    base_head_dim: Annotated[int, Field(ge=1, le=2**16)] = derived("head_dim")
    """The `head_dim` at which attention divides its products by its root; it divides them by `head_dim` itself otherwise. Default:
    `head_dim`, for models that are widened by more heads."""


class DecoderArchitecture(Section):
    """A decoder-only transformer."""

    kind: Literal["decoder"] = "decoder"
    """Kind of network. Default: decoder."""

    preset: str | None = None
    """Name of a published model whose `architecture` these fields override; `llmspec presets` lists them. Default: none."""

    vocab_size: Annotated[Count, Field(le=2**24)] = derived("tokenizer.vocab_size")
    """Rows of the embedding table; may exceed the tokenizer's for padding. Default: the tokenizer's vocab_size."""

    hidden_size: Width
    """Width of the residual stream, in elements. Required."""

    num_layers: Annotated[int, Field(ge=1, le=10_000)]
    """Number of transformer layers. Required."""

    attention: Annotated[MultiHeadAttention | GroupedQueryAttention | MultiQueryAttention, ByKind()]
    """Self-attention. Required."""

    feed_forward: Annotated[
        GeluFeedForward | ReluFeedForward | SquaredReluFeedForward | SwigluFeedForward | GegluFeedForward,
        ByKind(),
    ] = section(kind="swiglu")
    """Feed-forward sublayer. Default: swiglu."""

    norm: Annotated[LayerNorm | RmsNorm, ByKind()] = section(kind="rmsnorm")
    """Normalisation and its placement. Default: rmsnorm before each sublayer."""

    position: Annotated[Rope | LearnedPosition | SinusoidalPosition | Alibi | NoPosition, ByKind()] = section(kind="rope")
    """How the model knows the order of tokens. Default: rope with theta 10000."""

    parallel_residual: bool = False
    """Attention and feed-forward read the same input and are added together, x + a(norm(x)) + f(norm(x)), each with its own
    norm, as GPT-NeoX. Default: false, one after the other."""

    tie_embeddings: bool = False
    """Whether the output head shares the token embedding's matrix. Default: false."""

    dropout: Probability = 0.0
    """Dropout probability of the embeddings and of each sublayer's output. Default: 0."""

    logit_softcap: Positive | None = None
    """Soft cap of the output logits: c * tanh(logits / c). Default: null, no cap."""

    initialization: Initialization = section()
    """How weights start. Default: normal, std 0.02, depth-scaled outputs."""

    mup: MaximalUpdate | None = None
    """Scale initialisation, learning rates and logits with the width, so that hyperparameters carry over. With the optimizers adam and
    adamw. Default: null, nothing is scaled."""
