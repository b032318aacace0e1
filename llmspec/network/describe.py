"""Resolved spec to network: the pass itself."""

from llmspec.network.embedding import embeddings, head
from llmspec.network.hugging_face import match, named
from llmspec.network.layer import layer
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved


def describe(resolved: Resolved) -> Network:
    """Describe every weight and every operation of the model that a spec asks for."""
    architecture = resolved.spec.architecture
    parts = [
        embeddings(architecture),
        *(layer(architecture, index, resolved.layer_window(index)) for index in range(architecture.num_layers)),
        head(architecture),
    ]
    found = match(resolved)
    if found.hugging_face_class is not None:
        parts = [named(part, found.hugging_face_class) for part in parts]
    return Network(parts[0], tuple(parts[1:-1]), parts[-1], found.hugging_face_class, found.mismatch)
