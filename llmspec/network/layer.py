"""One layer: attention and feed-forward, and the norms and residual additions around them."""

from llmspec.network.attention import attention_operations, attention_weights
from llmspec.network.feed_forward import feed_forward_operations, feed_forward_weights
from llmspec.network.network import Component, Elementwise, Layer, Operation, Weight
from llmspec.network.norm import norm_pass, norm_weights
from llmspec.spec.schema.architecture import DecoderArchitecture

# The modules of a layer in the order in which they stand in it and are run, by placement of the norms.
_SEQUENTIAL = {
    "pre": ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp"),
    "post": ("self_attn", "post_attention_layernorm", "mlp", "post_feedforward_layernorm"),
    "reordered": ("self_attn", "post_attention_layernorm", "mlp", "post_feedforward_layernorm"),
    "sandwich": (
        "input_layernorm",
        "self_attn",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "mlp",
        "post_feedforward_layernorm",
    ),
}
# With parallel residuals one norm over the sum is all that `post` can mean.
_PARALLEL = _SEQUENTIAL | {"post": ("self_attn", "mlp", "post_feedforward_layernorm")}


def layer(architecture: DecoderArchitecture, index: int, window: int | None) -> Layer:
    """The weights and operations of one layer."""
    weights: list[Weight] = []
    operations: list[Operation] = []
    for module in (_PARALLEL if architecture.parallel_residual else _SEQUENTIAL)[architecture.norm.placement]:
        match module:
            case "self_attn":
                weights += attention_weights(architecture, index)
                operations += [*attention_operations(architecture, window), *_residual("self_attn", architecture)]
            case "mlp":
                weights += feed_forward_weights(architecture, index)
                operations += [*feed_forward_operations(architecture), *_residual("mlp", architecture)]
            case norm:
                weights += norm_weights(architecture.norm, f"layers.{index}.{norm}", architecture.hidden_size, index)
                operations.append(norm_pass(norm, architecture.hidden_size))
    return Layer(index, tuple(weights), tuple(operations))


def _residual(sublayer: str, architecture: DecoderArchitecture) -> tuple[Operation, ...]:
    hidden_size = architecture.hidden_size
    addition = Elementwise(f"{sublayer}.residual", Component.NORM, elements_read=2 * hidden_size, elements_written=hidden_size)
    if not architecture.dropout:
        return (addition,)
    return Elementwise(f"{sublayer}.dropout", Component.NORM, hidden_size, hidden_size), addition
