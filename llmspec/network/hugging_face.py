"""Which Hugging Face class computes the same network, and what its weights are called there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmspec.network.network import Layer, Weight
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema.architecture import DecoderArchitecture, GeluFeedForward, LayerNorm, LearnedPosition, NtkScaling, RmsNorm, Rope


@dataclass(frozen=True, slots=True)
class Match:
    """The class that fits, or, where none does, the first thing that stands in the way."""

    hugging_face_class: str | None
    mismatch: str | None


def match(resolved: Resolved) -> Match:
    """Find the Hugging Face class for a spec's network."""
    architecture = resolved.spec.architecture
    if isinstance(architecture.position, LearnedPosition):
        obstacle = next(_obstacles_to_gpt2(architecture), None)
        return Match("GPT2LMHeadModel", None) if obstacle is None else Match(None, obstacle)
    obstacle = next(_obstacles_to_llama(resolved), None)
    if obstacle is not None:
        return Match(None, obstacle)
    return _relative_of_llama(architecture)


def _obstacles_to_gpt2(architecture: DecoderArchitecture) -> Iterator[str]:
    attention, feed_forward, norm = architecture.attention, architecture.feed_forward, architecture.norm
    if attention.kind != "mha":
        yield "learned positions go with multi-head attention there"
    if attention.head_dim * attention.num_heads != architecture.hidden_size:
        yield "with learned positions, head_dim is hidden_size / num_heads there"
    if not (isinstance(feed_forward, GeluFeedForward) and feed_forward.approximate == "tanh"):
        yield "learned positions go with a tanh-approximated GELU feed-forward there"
    if not (isinstance(norm, LayerNorm) and norm.bias and norm.placement == "pre"):
        yield "learned positions go with layer norms with bias, before each sublayer, there"
    if not (attention.qkv_bias and attention.output_bias and feed_forward.bias):
        yield "learned positions go with biases in all projections there"
    yield from _obstacles_to_any(architecture)
    if attention.qk_norm:
        yield "learned positions go without qk_norm there"
    if attention.window is not None:
        yield "learned positions go without a sliding window there"


def _obstacles_to_any(architecture: DecoderArchitecture) -> Iterator[str]:
    if architecture.parallel_residual:
        yield "no class has this network with parallel residuals"
    if architecture.attention.logit_softcap is not None or architecture.logit_softcap is not None:
        yield "no class has this network with soft-capped logits"


def _obstacles_to_llama(resolved: Resolved) -> Iterator[str]:
    architecture = resolved.spec.architecture
    attention, position = architecture.attention, architecture.position
    if not isinstance(position, Rope):
        without = "without" if position.kind == "none" else f"with {position.kind}"
        yield f"no class has this network {without} positions"
    elif isinstance(position.scaling, NtkScaling):
        yield "transformers has no static NTK scaling of rotary positions"
    if architecture.feed_forward.kind != "swiglu":
        yield f"rotary positions go with a swiglu feed-forward there, not {architecture.feed_forward.kind}"
    if not isinstance(architecture.norm, RmsNorm):
        yield "rotary positions go with RMS norms there"
    yield from _obstacles_to_any(architecture)
    if isinstance(attention.window, tuple) and len({resolved.layer_window(i) for i in range(architecture.num_layers)}) > 1:
        yield "no class has this network with windows that differ between layers"


def _relative_of_llama(architecture: DecoderArchitecture) -> Match:
    """The classes differ in norm placement, biases, qk_norm and window; each fits one combination."""
    attention, feed_forward, placement = architecture.attention, architecture.feed_forward, architecture.norm.placement
    windowed = attention.window is not None and set(_entries(attention.window)) != {"full"}
    biases = (attention.qkv_bias, attention.output_bias, feed_forward.bias)
    match (placement, attention.qk_norm or None, windowed, biases):
        case ("pre", None, False, (qkv, output, _)) if qkv == output:
            return Match("LlamaForCausalLM", None)
        case ("pre", None, True, (False, False, False)):
            return Match("MistralForCausalLM", None)
        case ("pre", None, _, (True, False, False)):
            return Match("Qwen2ForCausalLM", None)
        case ("pre", "per_head" | True, _, (qkv, output, False)) if qkv == output:
            return Match("Qwen3ForCausalLM", None)
        case ("reordered", "all_heads", False, (qkv, output, False)) if qkv == output:
            return Match("Olmo2ForCausalLM", None)
    return Match(None, "no class has this combination of norm placement, qk_norm, window and biases")


def _entries(window: object) -> tuple[object, ...]:
    return window if isinstance(window, tuple) else (window,)


def named(part: Layer, hugging_face_class: str) -> Layer:
    """The same part of the network, with Hugging Face's names on its weights."""
    rename = _gpt2_name if hugging_face_class == "GPT2LMHeadModel" else _llama_name
    return replace(part, weights=tuple(rename(w) for w in part.weights))


def _llama_name(weight: Weight) -> Weight:
    name = weight.name if weight.name == "lm_head.weight" else f"model.{weight.name}"
    # Written out: `replace` takes three times as long, and a large model has a thousand weights.
    return Weight(weight.name, weight.shape, weight.kind, weight.component, weight.layer, weight.tensor_split, name)


_GPT2_MODULES = {
    "embed_tokens": "wte",
    "embed_positions": "wpe",
    "norm": "ln_f",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "self_attn.q_proj": "attn.c_attn",
    "self_attn.k_proj": "attn.c_attn",
    "self_attn.v_proj": "attn.c_attn",
    "self_attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}


def _gpt2_name(weight: Weight) -> Weight:
    module, _, tensor = weight.name.rpartition(".")
    if module == "lm_head":
        return replace(weight, hugging_face_name=weight.name)
    prefix = "transformer."
    if weight.layer is not None:
        prefix, module = f"transformer.h.{weight.layer}.", module.removeprefix(f"layers.{weight.layer}.")
    # GPT-2's Conv1D stores (in, out) where nn.Linear stores (out, in).
    transposed = tensor == "weight" and module.startswith(("self_attn.", "mlp."))
    return replace(weight, hugging_face_name=f"{prefix}{_GPT2_MODULES[module]}.{tensor}", hugging_face_transposed=transposed)
