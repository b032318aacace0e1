"""What stands before and after the layers: embeddings, the final norm and the output head."""

from llmspec.network.network import Component, Elementwise, Layer, MatrixProduct, Operation, Weight, WeightKind
from llmspec.network.norm import norm_pass, norm_weights
from llmspec.spec.schema.architecture import DecoderArchitecture, LearnedPosition, SinusoidalPosition


def embeddings(architecture: DecoderArchitecture) -> Layer:
    """The token embedding, and what is added to it for positions."""
    hidden_size, position = architecture.hidden_size, architecture.position
    weights = [
        Weight("embed_tokens.weight", (architecture.vocab_size, hidden_size), WeightKind.EMBEDDING, Component.EMBEDDING, None, 0, None)
    ]
    operations: list[Operation] = [Elementwise("embed_tokens", Component.EMBEDDING, hidden_size, hidden_size)]
    if isinstance(position, LearnedPosition):
        weights.append(
            Weight(
                "embed_positions.weight", (position.num_positions, hidden_size), WeightKind.POSITION, Component.EMBEDDING, None, None, None
            )
        )
    if isinstance(position, LearnedPosition | SinusoidalPosition):
        operations.append(Elementwise("embed_positions", Component.EMBEDDING, 2 * hidden_size, hidden_size))
    return Layer(-1, tuple(weights), tuple(operations))


def head(architecture: DecoderArchitecture) -> Layer:
    """The final norm, which all placements but `post` have, and the product that gives the logits."""
    hidden_size, vocab_size = architecture.hidden_size, architecture.vocab_size
    weights: list[Weight] = []
    operations: list[Operation] = []
    if architecture.norm.placement != "post":
        weights += norm_weights(architecture.norm, "norm", hidden_size, None)
        operations.append(norm_pass("norm", hidden_size))
    if not architecture.tie_embeddings:
        weights.append(Weight("lm_head.weight", (vocab_size, hidden_size), WeightKind.MATRIX, Component.HEAD, None, 0, None))
    operations.append(MatrixProduct("lm_head", Component.HEAD, hidden_size, vocab_size))
    if architecture.logit_softcap is not None:
        operations.append(Elementwise("logit_softcap", Component.HEAD, vocab_size, vocab_size))
    return Layer(architecture.num_layers, tuple(weights), tuple(operations))
