"""Activations: the tensors that autograd keeps between the forward and the backward pass of the emitted model.

The residual stream is fp32, as weights are. Under bf16 autocast each matrix product keeps its own bf16 copy of its input; in fp32 the
products that read the same tensor keep it once. What is said here of PyTorch was seen with saved-tensor hooks on PyTorch 2.13, and the
tests see it again.
"""

from typing import NamedTuple

from llmspec.network.network import Component
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec

FLOAT = 4
INTEGER = 8
FUSED = ("fused attention output", "softmax normalisers")


class Kept(NamedTuple):
    """A tensor that is kept, in bytes for one token of a micro batch.

    `result` says that it is the result of a matrix product or of attention, which selective checkpointing keeps anyway.
    """

    name: str
    component: Component
    bytes_per_token: float
    result: bool = False


def compute_bytes(spec: Spec) -> int:
    """Bytes of an element of a matrix product's operands."""
    return FLOAT if spec.precision == "fp32" else 2


def layer_kept(resolved: Resolved, layer: int, *, processor: bool) -> tuple[Kept, ...]:
    """What one layer keeps when nothing is checkpointed."""
    spec = resolved.spec
    attention = _attention(resolved, layer, processor=processor)
    if spec.training.compile:
        kept = [*_compiled(spec), *attention]
    else:
        kept = [*_norms(spec, processor=processor), *_inputs(spec), *attention, *_hidden_layers(spec), *_dropout(spec, processor=processor)]
    return tuple(tensor for tensor in kept if tensor.bytes_per_token)


def layer_results(resolved: Resolved, layer: int, *, processor: bool) -> tuple[Kept, ...]:
    """What one layer keeps under selective checkpointing: its input, and the results of matrix products and of fused attention."""
    spec = resolved.spec
    architecture, size = spec.architecture, compute_bytes(spec)
    heads = architecture.attention
    queries, keys = heads.num_heads * heads.head_dim, heads.key_value_heads * heads.head_dim
    width = architecture.feed_forward.ffn_hidden_size * (2 if architecture.feed_forward.gated else 1)
    attention = _attention(resolved, layer, processor=processor)
    return (
        layer_input(spec),
        Kept("projected queries, keys, values", Component.ATTENTION, (queries + 2 * keys) * size),
        Kept("attention results", Component.ATTENTION, sum(t.bytes_per_token for t in attention if t.name in FUSED)),
        Kept("attention projection", Component.ATTENTION, architecture.hidden_size * size),
        Kept("feed-forward results", Component.FEED_FORWARD, (width + architecture.hidden_size) * size),
    )


def layer_input(spec: Spec) -> Kept:
    """The residual stream where it enters a layer: all that full checkpointing keeps of one."""
    return Kept("layer input", Component.NORM, spec.architecture.hidden_size * FLOAT)


def outer_kept(resolved: Resolved, *, processor: bool) -> tuple[Kept, ...]:
    """What is kept outside the layers, but for the loss: token ids, rotary tables, the final norm, the head's input."""
    spec = resolved.spec
    architecture, size = spec.architecture, compute_bytes(spec)
    hidden = architecture.hidden_size
    kept = [Kept("token ids and targets", Component.EMBEDDING, 2 * INTEGER)]
    if architecture.dropout:
        kept.append(Kept("embedding dropout", Component.EMBEDDING, hidden * (FLOAT if processor else 1)))
    if architecture.position.kind == "rope":
        # The tables are the batch's where each document starts its own positions, else one sequence's.
        sequences = 1 if spec.data.packing.document_mask else spec.training.micro_batch_size
        kept.append(Kept("rotary tables", Component.EMBEDDING, 2 * architecture.attention.head_dim * FLOAT / sequences))
    if architecture.norm.placement != "post":
        kept.append(Kept("final norm", Component.NORM, _norm_bytes(spec, hidden, rows=1, fused=not processor)))
    kept.append(Kept("head input", Component.HEAD, hidden * size))
    if architecture.logit_softcap is not None:
        kept.append(Kept("capped logits", Component.HEAD, architecture.vocab_size * size))
    return tuple(kept)


def split_documents(spec: Spec, *, processor: bool) -> bool:
    """Whether attention runs once for each document, as it does on a processor where a document mask is all the mask there is."""
    attention = spec.architecture.attention
    only = attention.logit_softcap is None and attention.window is None and spec.architecture.position.kind != "alibi"
    return processor and only and spec.data.packing.document_mask and not spec.training.compile


def dense_attention(resolved: Resolved, layer: int, *, processor: bool) -> bool:
    """Whether a layer's attention is given a mask of all pairs, and not the kernel's own causal one or a block mask."""
    spec = resolved.spec
    window = resolved.layer_window(layer)
    wanted = (
        spec.data.packing.document_mask
        or (window is not None and window < spec.training.sequence_length)
        or spec.architecture.position.kind == "alibi"
        or spec.architecture.attention.logit_softcap is not None
    )
    return wanted and (processor or spec.architecture.attention.dropout > 0) and not split_documents(spec, processor=processor)


def shared_mask_bytes(resolved: Resolved, *, processor: bool) -> int:
    """Masks of all pairs that are kept once for all layers with the same window: fp32 slopes, or the truths that a cap masks with.

    Other masks are turned into numbers by each call, which are counted with the layer.
    """
    spec = resolved.spec
    layers = range(spec.architecture.num_layers)
    windows = {resolved.layer_window(layer) for layer in layers if dense_attention(resolved, layer, processor=processor)}
    alibi, capped = spec.architecture.position.kind == "alibi", spec.architecture.attention.logit_softcap is not None
    if alibi == capped:
        return 0
    entry = FLOAT * spec.architecture.attention.num_heads if alibi else 1
    sequences = spec.training.micro_batch_size if spec.data.packing.document_mask else 1
    return len(windows) * spec.training.sequence_length**2 * entry * sequences


def _norm_bytes(spec: Spec, width: int, rows: int, *, fused: bool) -> float:
    """What one norm of fp32 numbers keeps.

    PyTorch composes the RMS norm of elementwise passes where it has no kernel, and then keeps the normalised numbers beside the input.
    """
    if spec.architecture.norm.kind == "layernorm":
        return width * FLOAT + rows * 2 * FLOAT
    return width * FLOAT * (1 if fused else 2) + rows * FLOAT


def _norms(spec: Spec, *, processor: bool) -> list[Kept]:
    architecture = spec.architecture
    hidden = architecture.hidden_size
    outer = _norm_bytes(spec, hidden, 1, fused=not processor)
    # Norms of a sublayer's result read bf16 under autocast; the kernel wants one format for numbers and weights.
    inner = _norm_bytes(spec, hidden, 1, fused=not processor and spec.precision == "fp32")
    total = {"pre": 2 * outer, "post": 2 * outer, "sandwich": 2 * outer + 2 * inner, "reordered": 2 * inner}[architecture.norm.placement]
    if architecture.parallel_residual and architecture.norm.placement in ("pre", "sandwich"):
        total -= hidden * FLOAT  # both norms read the same input
    elif architecture.parallel_residual and architecture.norm.placement == "post":
        total -= outer  # one norm of the sum
    return [Kept("norms", Component.NORM, total)]


def _inputs(spec: Spec) -> list[Kept]:
    hidden, size = spec.architecture.hidden_size, compute_bytes(spec)
    gated = spec.architecture.feed_forward.gated
    if size < FLOAT:
        readers = 3, 2 if gated else 1
    else:
        # Where both sublayers read the residual stream itself, they keep the same tensor.
        same = spec.architecture.parallel_residual and spec.architecture.norm.placement in ("post", "reordered")
        readers = 1, 0 if same else 1
    return [
        Kept("attention input", Component.ATTENTION, readers[0] * hidden * size),
        Kept("feed-forward input", Component.FEED_FORWARD, readers[1] * hidden * size),
    ]


def _attention(resolved: Resolved, layer: int, *, processor: bool) -> list[Kept]:
    spec = resolved.spec
    attention, size = spec.architecture.attention, compute_bytes(spec)
    heads, queries, keys = attention.num_heads, attention.num_heads * attention.head_dim, attention.key_value_heads * attention.head_dim
    length, sequences = spec.training.sequence_length, spec.training.micro_batch_size
    masked = dense_attention(resolved, layer, processor=processor)
    by_document = spec.data.packing.document_mask
    alibi = spec.architecture.position.kind == "alibi"
    kept = []
    if attention.qk_norm:
        rows = heads + attention.key_value_heads if attention.qk_norm != "all_heads" else 2
        fused = not processor and spec.precision == "fp32"
        kept.append(Kept("query and key norms", Component.ATTENTION, _norm_bytes(spec, queries + keys, rows, fused=fused)))
    if attention.logit_softcap is not None and (processor or attention.dropout):
        # Written out: expanded keys and values, capped logits, weights in fp32 and again in the product's format.
        pairs = heads * length
        kept += [
            Kept("queries, keys, values", Component.ATTENTION, 3 * queries * size),
            Kept("attention output", Component.ATTENTION, queries * size),
            Kept("capped logits", Component.ATTENTION, pairs * size),
            Kept("attention weights", Component.ATTENTION, pairs * (FLOAT + (size if size < FLOAT else 0))),
        ]
        if attention.dropout:
            kept.append(Kept("attention dropout", Component.ATTENTION, pairs * FLOAT * (2 if size == FLOAT else 1)))
        return kept
    if attention.dropout and processor:
        # The processor's fused kernel knows no dropout; the composed one computes in fp32. Documents shorter than the sequence keep less.
        kept += [
            Kept("queries, keys, values", Component.ATTENTION, 3 * queries * FLOAT),
            Kept("attention output", Component.ATTENTION, queries * size),
            Kept("attention weights and dropout", Component.ATTENTION, 3 * heads * length * FLOAT),
        ]
        return kept
    turned = spec.architecture.position.kind == "rope" or bool(attention.qk_norm)
    kept += [
        Kept("queries and keys", Component.ATTENTION, (queries + keys) * size, result=not turned),
        Kept("values", Component.ATTENTION, keys * size, result=True),
        Kept(FUSED[0], Component.ATTENTION, queries * size, result=True),
        Kept(FUSED[1], Component.ATTENTION, heads * FLOAT, result=True),
    ]
    if split_documents(spec, processor=processor):
        kept.append(Kept("outputs by document", Component.ATTENTION, queries * size))
    if masked and not alibi:
        # Each call turns the truths of its mask into numbers of its own format and keeps those.
        kept.append(Kept("attention mask", Component.ATTENTION, length * size / (1 if by_document else sequences)))
    return kept


def _hidden_layers(spec: Spec) -> list[Kept]:
    feed_forward = spec.architecture.feed_forward
    width = feed_forward.ffn_hidden_size * compute_bytes(spec)
    results, activations = {"swiglu": (2, 2), "geglu": (2, 2), "gelu": (1, 1), "relu_squared": (0, 2), "relu": (0, 1)}[feed_forward.kind]
    if spec.training.compile:
        results, activations = {"swiglu": (2, 1), "geglu": (2, 1), "gelu": (1, 1), "relu_squared": (1, 1), "relu": (0, 1)}[
            feed_forward.kind
        ]
    return [
        Kept("feed-forward hidden layers", Component.FEED_FORWARD, results * width, result=True),
        Kept("feed-forward activations", Component.FEED_FORWARD, activations * width),
    ]


def working_bytes_per_token(spec: Spec) -> float:
    """What the backward pass of one layer holds at its widest beside what was kept.

    Gradients of the feed-forward's hidden layers, of which one takes the place of the activation, and of the residual stream, which takes
    the place of the layer's own result where that was made again.
    """
    feed_forward = spec.architecture.feed_forward
    tensors = 2 if feed_forward.gated else 1
    stream = spec.architecture.hidden_size * FLOAT if spec.parallelism.activation_checkpointing == "none" else 0
    return tensors * feed_forward.ffn_hidden_size * compute_bytes(spec) + stream


def _dropout(spec: Spec, *, processor: bool) -> list[Kept]:
    if not spec.architecture.dropout:
        return []
    # A mask for each sublayer: numbers on a processor, bytes on an accelerator.
    return [Kept("dropout masks", Component.NORM, 2 * spec.architecture.hidden_size * (compute_bytes(spec) if processor else 1))]


def _compiled(spec: Spec) -> list[Kept]:
    """What a compiled layer keeps beside its attention.

    The compiler's partitioner keeps what matrix products read, once, and computes elementwise passes again; the residual stream after the
    attention it makes again from the layer's input and the attention's projection.
    """
    architecture, size = spec.architecture, compute_bytes(spec)
    hidden = architecture.hidden_size
    statistics = 2 * FLOAT * (1 if architecture.norm.kind == "rmsnorm" else 2)
    return [
        Kept("residual stream", Component.NORM, hidden * (FLOAT + size) + statistics),
        Kept("attention input", Component.ATTENTION, hidden * size),
        Kept("feed-forward input", Component.FEED_FORWARD, hidden * size),
        *_hidden_layers(spec),
        Kept("dropout masks", Component.NORM, 2 * hidden if architecture.dropout else 0),
    ]
