"""The network's part of the plan: which components make up model.py, and what generate.py and export.py need to know."""

from dataclasses import dataclass

from llmspec.catalog.accelerators import find_accelerator
from llmspec.lower.pieces import ConfigClass, ConfigField, EmittedFile
from llmspec.lower.training import AUTOCAST
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec
from llmspec.spec.schema.architecture import (
    Alibi,
    Attention,
    DecoderArchitecture,
    FeedForward,
    GegluFeedForward,
    GeluFeedForward,
    LayerNorm,
    LearnedPosition,
    LinearScaling,
    Llama3Scaling,
    NtkScaling,
    Rope,
    SinusoidalPosition,
    YarnScaling,
)

_ATTENTION_DOCS = {
    "mha": "Multi-head attention (Vaswani et al. 2017).",
    "gqa": "Attention in which groups of query heads share keys and values (Ainslie et al. 2023).",
    "mqa": "Attention in which all query heads share keys and values (Shazeer 2019).",
}
_FEED_FORWARD_DOCS = {
    "gelu": "Two matrices with a GELU between (Hendrycks and Gimpel 2016).",
    "relu": "Two matrices with a ReLU between.",
    "relu_squared": "Two matrices with a squared ReLU between (So et al. 2021).",
    "swiglu": "A hidden layer gated by a SiLU (Shazeer 2020).",
    "geglu": "A hidden layer gated by a GELU (Shazeer 2020).",
}
_HUGGING_FACE_TYPES = {
    "GPT2LMHeadModel": "gpt2",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Olmo2ForCausalLM": "olmo2",
}


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What the templates of model.py, generate.py, export.py and their tests need to know.

    Each `*_component` is the path of a template to include. `window` says whether any layer has a sliding window, `window_pattern`
    that layers differ in it. `mask_always` is true where attention needs a mask in every forward pass, `flex` where masks are
    FlexAttention's on the accelerator. `num_positions` says that there are only so many positions, `uses_lengths` that the forward
    pass asks how many tokens there are, `mup` that scales depend on the width, `query_scale` that those of queries do.
    """

    attention_doc: str
    grouped_heads: bool
    qkv_bias: bool
    output_bias: bool
    qk_norm: str | None
    attention_softcap: bool
    attention_dropout: bool
    attend_component: str
    mask_component: str | None
    mask_always: bool
    flex: bool
    split_documents: bool
    score_functions: bool
    window: bool
    window_pattern: bool
    document_mask: bool
    feed_forward_component: str
    feed_forward_doc: str
    feed_forward_kind: str
    feed_forward_bias: bool
    gelu_tanh: bool
    rmsnorm: bool
    norm_bias: bool
    layer_component: str
    final_norm: bool
    rope: bool
    rope_frequencies_component: str | None
    rope_scaling: str | None
    learned: bool
    sinusoidal: bool
    alibi: bool
    num_positions: bool
    uses_positions: bool
    uses_lengths: bool
    uses_math: bool
    dropout: bool
    tied: bool
    logit_softcap: bool
    depth_scaled: bool
    mup: bool
    query_scale: bool
    truncated_normal: bool
    num_parameters: int
    test_num_layers: int
    test_num_heads: int
    test_num_kv_heads: int
    test_windows: tuple[int | None, ...]
    autocast: str | None
    add_bos: bool
    add_eos: bool
    hugging_face_class: str | None
    hugging_face_type: str | None
    export_component: str
    hugging_face_mismatch: str | None
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_model(resolved: Resolved, network: Network) -> ModelPlan:
    """Choose the components of the model and the numbers of ModelConfig and GenerationConfig."""
    spec = resolved.spec
    architecture, attention, position = spec.architecture, spec.architecture.attention, spec.architecture.position
    windows = {resolved.layer_window(layer) for layer in range(architecture.num_layers)}
    softcap, alibi = attention.logit_softcap is not None, isinstance(position, Alibi)
    masked = softcap or alibi or windows != {None} or spec.data.packing.document_mask
    accelerator = find_accelerator(spec.hardware.accelerator)
    # FlexAttention has no dropout, no heads narrower than 16 and, on a CPU, no backward pass.
    flex = masked and not attention.dropout and attention.head_dim >= 16
    flex = flex and accelerator is not None and accelerator.device_type == "cuda"
    # A CPU is fastest with one call for each document, as long as nothing is traced: their lengths differ from batch to batch.
    split_documents = masked and not (flex or softcap or alibi or windows != {None} or spec.training.compile)
    split_documents = split_documents and (accelerator is None or accelerator.device_type == "cpu")
    mask = "flex" if flex else "documents" if split_documents else "dense"
    attend = "softcap" if softcap else "documents" if split_documents else "masked" if masked else "causal"
    rope = position if isinstance(position, Rope) else None
    scaling = rope.scaling.kind if rope is not None and rope.scaling is not None else None
    feed_forward, norm, mup = architecture.feed_forward, architecture.norm, architecture.mup
    query_scale = mup is not None and mup.base_head_dim != attention.head_dim
    return ModelPlan(
        attention_doc=_ATTENTION_DOCS[attention.kind],
        grouped_heads=attention.key_value_heads < attention.num_heads,
        qkv_bias=attention.qkv_bias,
        output_bias=attention.output_bias,
        qk_norm="per_head" if attention.qk_norm is True else attention.qk_norm or None,
        attention_softcap=softcap,
        attention_dropout=attention.dropout > 0,
        attend_component=f"components/attention/attend_{attend}.py.jinja",
        mask_component=f"components/attention/mask_{mask}.py.jinja" if masked else None,
        mask_always=softcap or alibi,
        flex=flex,
        split_documents=split_documents,
        score_functions=flex and (softcap or alibi),
        window=windows != {None},
        window_pattern=len(windows) > 1,
        document_mask=spec.data.packing.document_mask,
        feed_forward_component=f"components/feed_forward/{'gated' if feed_forward.gated else 'plain'}.py.jinja",
        feed_forward_doc=_FEED_FORWARD_DOCS[_kind(feed_forward)],
        feed_forward_kind=_kind(feed_forward),
        feed_forward_bias=feed_forward.bias,
        gelu_tanh=isinstance(feed_forward, GeluFeedForward | GegluFeedForward) and feed_forward.approximate == "tanh",
        rmsnorm=not isinstance(norm, LayerNorm),
        norm_bias=isinstance(norm, LayerNorm) and norm.bias,
        layer_component=f"components/model/layer_{norm.placement}{'_parallel' if architecture.parallel_residual else ''}.py.jinja",
        final_norm=norm.placement != "post",
        rope=rope is not None,
        rope_frequencies_component=f"components/position/rope_{scaling or 'default'}.py.jinja" if rope is not None else None,
        rope_scaling=scaling,
        learned=isinstance(position, LearnedPosition),
        sinusoidal=isinstance(position, SinusoidalPosition),
        alibi=alibi,
        num_positions=isinstance(position, LearnedPosition | SinusoidalPosition),
        uses_positions=isinstance(position, Rope | LearnedPosition | SinusoidalPosition),
        uses_lengths=isinstance(position, Rope | LearnedPosition | SinusoidalPosition) or (masked and not split_documents),
        uses_math=softcap or alibi or scaling in {"yarn", "llama3"} or architecture.initialization.depth_scaled or mup is not None,
        dropout=architecture.dropout > 0,
        tied=architecture.tie_embeddings,
        logit_softcap=architecture.logit_softcap is not None,
        depth_scaled=architecture.initialization.depth_scaled,
        mup=mup is not None,
        query_scale=query_scale,
        truncated_normal=architecture.initialization.kind == "truncated_normal",
        num_parameters=network.num_parameters,
        test_num_layers=max(2, len(attention.window)) if isinstance(attention.window, tuple) else 2,
        test_num_heads=4,
        test_num_kv_heads={"mha": 4, "gqa": 2, "mqa": 1}[attention.kind],
        test_windows=_small_windows(attention),
        autocast=AUTOCAST[spec.precision],
        add_bos=spec.tokenizer.add_bos,
        add_eos=spec.tokenizer.add_eos,
        hugging_face_class=network.hugging_face_class,
        hugging_face_type=_HUGGING_FACE_TYPES.get(network.hugging_face_class or ""),
        export_component=f"components/export/{'gpt2' if network.hugging_face_class == 'GPT2LMHeadModel' else 'llama'}.py.jinja",
        hugging_face_mismatch=network.hugging_face_mismatch,
        config_classes=(
            ConfigClass("ModelConfig", "The network.", tuple(_model_fields(resolved))),
            ConfigClass("GenerationConfig", "What generate.py writes when asked for nothing else.", tuple(_generation_fields(spec))),
        ),
        files=_files(network, mup=mup is not None),
    )


def _small_windows(attention: Attention) -> tuple[int | None, ...]:
    """The pattern of windows, with windows that matter to a few tokens."""
    entries = attention.window if isinstance(attention.window, tuple) else ()
    sizes = sorted({entry for entry in entries if entry != "full"})
    return tuple(None if entry == "full" else 4 * (sizes.index(entry) + 1) for entry in entries)


def _kind(feed_forward: FeedForward) -> str:
    return str(feed_forward.kind)  # type: ignore[attr-defined]


def _files(network: Network, *, mup: bool) -> tuple[EmittedFile, ...]:
    paths = ["model.py", "generate.py", "tests/test_model.py", *(["tests/test_mup.py"] if mup else [])]
    if network.hugging_face_class is not None:
        paths += ["export.py", "tests/test_export.py"]
    return tuple(EmittedFile(path, f"project/{path}.jinja") for path in paths)


def _model_fields(resolved: Resolved) -> list[ConfigField]:
    architecture = resolved.spec.architecture
    return [
        ConfigField("vocab_size", "int", architecture.vocab_size, "rows of the embedding table"),
        ConfigField("hidden_size", "int", architecture.hidden_size, "width of the residual stream"),
        ConfigField("num_layers", "int", architecture.num_layers, "transformer layers"),
        *_attention_fields(architecture.attention, [resolved.layer_window(i) for i in range(architecture.num_layers)]),
        ConfigField("ffn_hidden_size", "int", architecture.feed_forward.ffn_hidden_size, "width of the feed-forward's hidden layer"),
        ConfigField("norm_eps", "float", architecture.norm.eps, "added to the variance before its root"),
        *_position_fields(architecture),
        *_other_fields(architecture),
    ]


def _attention_fields(attention: Attention, windows: list[int | None]) -> list[ConfigField]:
    fields = [
        ConfigField("num_heads", "int", attention.num_heads, "query heads"),
        ConfigField("num_kv_heads", "int", attention.key_value_heads, "key and value heads"),
        ConfigField("head_dim", "int", attention.head_dim, "width of one head"),
    ]
    if len(set(windows)) > 1:
        assert isinstance(attention.window, tuple)
        pattern = tuple(None if entry == "full" else entry for entry in attention.window)
        comment = "tokens that layers see back, own included, in turn; None: all"
        fields.append(ConfigField("windows", "tuple[int | None, ...]", pattern, comment))
    elif windows[0] is not None:
        fields.append(ConfigField("window", "int", windows[0], "how many tokens back a token sees, itself included"))
    if attention.logit_softcap is not None:
        fields.append(ConfigField("attention_logit_softcap", "float", attention.logit_softcap, "bound of the attention logits"))
    if attention.dropout:
        fields.append(ConfigField("attention_dropout", "float", attention.dropout, "share of attention weights dropped in training"))
    return fields


def _position_fields(architecture: DecoderArchitecture) -> list[ConfigField]:
    position = architecture.position
    if isinstance(position, LearnedPosition | SinusoidalPosition):
        return [ConfigField("num_positions", "int", position.num_positions, "longest text, in tokens")]
    if not isinstance(position, Rope):
        return []
    fields = [ConfigField("rope_theta", "float", position.theta, "base of the rotary frequencies")]
    scaling = position.scaling
    if isinstance(scaling, LinearScaling | NtkScaling | YarnScaling | Llama3Scaling):
        fields.append(ConfigField("rope_factor", "float", scaling.factor, "how many times longer the context became"))
    if isinstance(scaling, YarnScaling | Llama3Scaling):
        length = scaling.original_sequence_length
        fields.append(ConfigField("rope_original_sequence_length", "int", length, "context before it became longer, in tokens"))
    if isinstance(scaling, YarnScaling):
        fields += [
            ConfigField("rope_beta_fast", "float", scaling.beta_fast, "pairs that turn more often in that context are kept"),
            ConfigField("rope_beta_slow", "float", scaling.beta_slow, "pairs that turn less often in it are slowed down"),
        ]
    if isinstance(scaling, Llama3Scaling):
        fields += [
            ConfigField("rope_low_frequency_factor", "float", scaling.low_frequency_factor, "pairs that turn less often are slowed down"),
            ConfigField("rope_high_frequency_factor", "float", scaling.high_frequency_factor, "pairs that turn more often are kept"),
        ]
    return fields


def _other_fields(architecture: DecoderArchitecture) -> list[ConfigField]:
    fields = []
    if architecture.dropout:
        comment = "share of embedding and sublayer outputs dropped in training"
        fields.append(ConfigField("dropout", "float", architecture.dropout, comment))
    if architecture.logit_softcap is not None:
        fields.append(ConfigField("logit_softcap", "float", architecture.logit_softcap, "bound of the output logits"))
    if architecture.mup is not None:
        fields.append(ConfigField("base_hidden_size", "int", architecture.mup.base_hidden_size, "width at which muP scales nothing"))
        if architecture.mup.base_head_dim != architecture.attention.head_dim:
            fields.append(ConfigField("base_head_dim", "int", architecture.mup.base_head_dim, "width of one head there"))
    fields.append(ConfigField("init_std", "float", architecture.initialization.std, "standard deviation of new matrices and embeddings"))
    return fields


def _generation_fields(spec: Spec) -> list[ConfigField]:
    generation = spec.generation
    return [
        ConfigField("prompts", "tuple[str, ...]", generation.prompts, "texts to continue"),
        ConfigField("max_new_tokens", "int", generation.max_new_tokens, "tokens to write after each prompt"),
        ConfigField("temperature", "float", generation.temperature, "divides the logits; 0 takes the likeliest token"),
        ConfigField("top_k", "int", generation.top_k, "draw from this many likeliest tokens; 0 from all"),
        ConfigField("top_p", "float", generation.top_p, "draw from the likeliest tokens with this much probability together"),
        ConfigField("seed", "int", spec.seed, "seed of the draws"),
    ]
