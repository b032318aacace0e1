"""The feed-forward sublayer: two matrices with an activation between, or three with a gate."""

from llmspec.network.network import Component, Elementwise, MatrixProduct, Operation, Weight
from llmspec.network.projection import projection_weights
from llmspec.spec.schema.architecture import DecoderArchitecture


def feed_forward_weights(architecture: DecoderArchitecture, layer: int) -> tuple[Weight, ...]:
    """The weights of one layer's feed-forward, in the order of the emitted module."""
    feed_forward, hidden_size = architecture.feed_forward, architecture.hidden_size
    width, bias = feed_forward.ffn_hidden_size, feed_forward.bias
    weights: list[Weight] = []
    for projection in ("gate_proj", "up_proj") if feed_forward.gated else ("up_proj",):
        weights += projection_weights(
            f"layers.{layer}.mlp.{projection}", hidden_size, width, bias=bias, component=Component.FEED_FORWARD, layer=layer
        )
    weights += projection_weights(
        f"layers.{layer}.mlp.down_proj",
        width,
        hidden_size,
        bias=bias,
        component=Component.FEED_FORWARD,
        layer=layer,
        reads_split=True,
        writes_residual=True,
    )
    return tuple(weights)


def feed_forward_operations(architecture: DecoderArchitecture) -> tuple[Operation, ...]:
    """The operations of one layer's feed-forward for one token, in the order of execution."""
    hidden_size, width = architecture.hidden_size, architecture.feed_forward.ffn_hidden_size
    inputs = ("gate_proj", "up_proj") if architecture.feed_forward.gated else ("up_proj",)
    return (
        *(MatrixProduct(f"mlp.{name}", Component.FEED_FORWARD, hidden_size, width) for name in inputs),
        Elementwise("mlp.activation", Component.FEED_FORWARD, elements_read=len(inputs) * width, elements_written=width),
        MatrixProduct("mlp.down_proj", Component.FEED_FORWARD, width, hidden_size),
    )
