"""Self-attention: four projections, perhaps norms of queries and keys, and the attention product."""

from llmspec.network.network import AttentionProduct, Component, Elementwise, MatrixProduct, Operation, Weight
from llmspec.network.norm import norm_pass, norm_weights
from llmspec.network.projection import projection_weights
from llmspec.spec.schema.architecture import DecoderArchitecture, Rope


def attention_weights(architecture: DecoderArchitecture, layer: int) -> tuple[Weight, ...]:
    """The weights of one layer's attention, in the order of the emitted module."""
    attention, hidden_size = architecture.attention, architecture.hidden_size
    queries = attention.num_heads * attention.head_dim
    keys = attention.key_value_heads * attention.head_dim
    name = f"layers.{layer}.self_attn"
    weights: list[Weight] = []
    for projection, size in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
        weights += projection_weights(
            f"{name}.{projection}", hidden_size, size, bias=attention.qkv_bias, component=Component.ATTENTION, layer=layer
        )
    weights += projection_weights(
        f"{name}.o_proj",
        queries,
        hidden_size,
        bias=attention.output_bias,
        component=Component.ATTENTION,
        layer=layer,
        reads_split=True,
        writes_residual=True,
    )
    for projection, size in (("q_norm", queries), ("k_norm", keys)):
        if attention.qk_norm:
            normalised = size if attention.qk_norm == "all_heads" else attention.head_dim
            weights += norm_weights(architecture.norm, f"{name}.{projection}", normalised, layer, Component.ATTENTION)
    return tuple(weights)


def attention_operations(architecture: DecoderArchitecture, window: int | None) -> tuple[Operation, ...]:
    """The operations of one layer's attention for one token, in the order of execution."""
    attention, hidden_size = architecture.attention, architecture.hidden_size
    queries = attention.num_heads * attention.head_dim
    keys = attention.key_value_heads * attention.head_dim
    operations: list[Operation] = [
        MatrixProduct("self_attn.q_proj", Component.ATTENTION, hidden_size, queries),
        MatrixProduct("self_attn.k_proj", Component.ATTENTION, hidden_size, keys),
        MatrixProduct("self_attn.v_proj", Component.ATTENTION, hidden_size, keys),
    ]
    if attention.qk_norm:
        operations += [
            norm_pass("self_attn.q_norm", queries, Component.ATTENTION),
            norm_pass("self_attn.k_norm", keys, Component.ATTENTION),
        ]
    if isinstance(architecture.position, Rope):
        operations.append(Elementwise("self_attn.rotate", Component.ATTENTION, queries + keys, queries + keys))
    operations.append(
        AttentionProduct(
            "self_attn.attend", Component.ATTENTION, attention.num_heads, attention.key_value_heads, attention.head_dim, window
        )
    )
    operations.append(MatrixProduct("self_attn.o_proj", Component.ATTENTION, queries, hidden_size))
    return tuple(operations)
