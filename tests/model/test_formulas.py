"""Components against their formulas, or against others' implementations of them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.model.emitted import Emitted, emit, spec

GQA = {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2}
ALIBI = {"position": {"kind": "alibi"}}


def heads(emitted: Emitted, batch_size: int = 2, length: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries, keys and values."""
    config = emitted.config.ModelConfig()
    generator = torch.Generator().manual_seed(0)
    sizes = (config.num_heads, config.num_kv_heads, config.num_kv_heads)
    q, k, v = (torch.randn(batch_size, n, length, config.head_dim, generator=generator) for n in sizes)
    return q, k, v


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


@pytest.mark.parametrize("num_heads", [1, 2, 4, 6, 8, 12, 20, 32, 40, 112])
def test_alibi_slopes_are_blooms(num_heads: int, tmp_path: Path) -> None:
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    emitted = emit(spec(ALIBI), tmp_path)
    # Its row of keys 0, 1, 2 ... is slope * key for each head.
    theirs = build_alibi_tensor(torch.ones(1, 2), num_heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(emitted.model.alibi_slopes(num_heads, torch.device("cpu")), theirs)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_alibi_falls_with_distance(softcap: float | None, tmp_path: Path) -> None:
    emitted = emit(spec({**ALIBI, "attention": {**GQA, "logit_softcap": softcap}}), tmp_path)
    q, k, v = heads(emitted)
    k_all, v_all = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
    logits = torch.einsum("bnth,bnsh->bnts", q, k_all) / math.sqrt(q.size(-1))
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    for head in range(4):
        for query in range(24):
            for key in range(24):
                logits[:, head, query, key] -= 2.0 ** (-2 * (head + 1)) * (query - key)
    expected = logits.masked_fill(~causal(24), -math.inf).softmax(-1) @ v_all
    mask = emitted.model.alibi_bias(emitted.model.attention_mask(24, 24, torch.device("cpu")), 4)
    arguments = () if softcap is None else (softcap,)
    torch.testing.assert_close(emitted.model.attend(q, k, v, mask, *arguments), expected, rtol=1e-5, atol=1e-5)


def test_soft_capped_attention_is_gemma_2s(tmp_path: Path) -> None:
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    emitted = emit(spec({"attention": {**GQA, "logit_softcap": 1.5}}), tmp_path)
    q, k, v = heads(emitted)

    class Module:
        num_key_value_groups = 2
        head_dim = q.size(-1)
        training = False

    additive = torch.zeros(24, 24).masked_fill(~causal(24), -math.inf)[None, None]
    theirs, _ = eager_attention_forward(Module(), q, k, v, additive, scaling=q.size(-1) ** -0.5, softcap=1.5)
    ours = emitted.model.attend(q, k, v, emitted.model.attention_mask(24, 24, torch.device("cpu")), 1.5)
    torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_output_logits_are_capped(tmp_path: Path) -> None:
    capped, plain = emit(spec({"logit_softcap": 0.5}), tmp_path / "a"), emit(spec({}), tmp_path / "b")
    tokens = plain.tokens(2, 8)
    with torch.no_grad():
        torch.testing.assert_close(capped.new_model()(tokens), 0.5 * torch.tanh(plain.new_model()(tokens) / 0.5))


@pytest.mark.parametrize("window", [1, 4, 24, 100])
def test_a_window_counts_the_token_itself(window: int, tmp_path: Path) -> None:
    emitted = emit(spec({"attention": {**GQA, "window": window}}), tmp_path)
    q, k, v = heads(emitted)
    mask = emitted.model.attention_mask(24, 24, window, torch.device("cpu"))
    visible = torch.tensor([[0 <= query - key < window for key in range(24)] for query in range(24)])
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
    torch.testing.assert_close(emitted.model.attend(q, k, v, mask), expected)


def test_a_pattern_of_windows_repeats_over_the_layers(tmp_path: Path) -> None:
    architecture = {"attention": {**GQA, "window": [2, 6, "full"]}, "num_layers": 7, "position": {"kind": "none"}}
    emitted = emit(spec(architecture), tmp_path)
    model = emitted.new_model()
    tokens, seen = emitted.tokens(1, 12), []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, arguments, output: seen.append(arguments[1]))
    with torch.no_grad():
        model(tokens)
    widths = [12 if mask is None else int(mask[-1].sum()) for mask in seen]
    assert widths == [2, 6, 12, 2, 6, 12, 2]
    assert [emitted.resolved.layer_window(layer) for layer in range(7)] == [2, 6, None, 2, 6, None, 2]


def test_sinusoids(tmp_path: Path) -> None:
    emitted = emit(spec({"position": {"kind": "sinusoidal"}, "hidden_size": 36}), tmp_path)
    table = emitted.model.sinusoidal_table(torch.arange(10)[None], 36)[0]
    for position in range(10):
        for pair in range(18):
            angle = position / 10_000 ** (2 * pair / 36)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_ntk_scaling_slows_the_slowest_pair_by_the_factor(tmp_path: Path) -> None:
    plain = emit(spec({}), tmp_path / "plain")
    scaled = emit(spec({"position": {"kind": "rope", "scaling": {"kind": "ntk", "factor": 8.0}}}), tmp_path / "scaled")
    ratio = [project.model.rotary_frequencies(project.config.ModelConfig(), torch.device("cpu")) for project in (plain, scaled)]
    quotient = (ratio[0] / ratio[1]).tolist()
    assert quotient[0] == pytest.approx(1)
    assert quotient[-1] == pytest.approx(8, rel=1e-5)
    assert quotient == sorted(quotient)


@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh", "relu", "relu_squared", "swiglu", "geglu", "geglu_tanh"])
def test_feed_forwards(kind: str, tmp_path: Path) -> None:
    name, _, approximate = kind.partition("_tanh") if kind.endswith("_tanh") else (kind, "", None)
    choice = {"kind": name} if approximate is None else {"kind": name, "approximate": "tanh"}
    emitted = emit(spec({"feed_forward": {**choice, "bias": True}}), tmp_path)
    mlp = emitted.new_model().layers[0].mlp
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))

    def gelu(z: Tensor) -> Tensor:
        if approximate is None:
            return z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        return 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    def linear(projection: Any) -> Tensor:
        return x @ projection.weight.T + projection.bias

    up = linear(mlp.up_proj)
    hidden = {
        "gelu": lambda: gelu(up),
        "relu": lambda: up.clamp(min=0),
        "relu_squared": lambda: up.clamp(min=0) ** 2,
        "swiglu": lambda: linear(mlp.gate_proj) * torch.sigmoid(linear(mlp.gate_proj)) * up,
        "geglu": lambda: gelu(linear(mlp.gate_proj)) * up,
    }[name]()
    torch.testing.assert_close(mlp(x), hidden @ mlp.down_proj.weight.T + mlp.down_proj.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("placement", ["pre", "post", "sandwich", "reordered"])
def test_placements(placement: str, parallel: bool, tmp_path: Path) -> None:
    architecture = {"norm": {"kind": "layernorm", "placement": placement}, "parallel_residual": parallel, "position": {"kind": "none"}}
    emitted = emit(spec(architecture), tmp_path)
    model = emitted.new_model()
    layer: Any = model.layers[0]
    x = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    attention, mlp = layer.self_attn, layer.mlp
    norms = [module for name, module in layer.named_children() if "norm" in name]

    match placement, parallel:
        case "pre", False:
            y = x + attention(norms[0](x))
            y = y + mlp(norms[1](y))
        case "pre", True:
            y = x + attention(norms[0](x)) + mlp(norms[1](x))
        case "post", False:
            y = norms[0](x + attention(x))
            y = norms[1](y + mlp(y))
        case "post", True:
            y = norms[0](x + attention(x) + mlp(x))
        case "sandwich", False:
            y = x + norms[1](attention(norms[0](x)))
            y = y + norms[3](mlp(norms[2](y)))
        case "sandwich", True:
            y = x + norms[1](attention(norms[0](x))) + norms[3](mlp(norms[2](x)))
        case "reordered", False:
            y = x + norms[0](attention(x))
            y = y + norms[1](mlp(y))
        case _:
            y = x + norms[0](attention(x)) + norms[1](mlp(x))
    torch.testing.assert_close(layer(x), y)
    assert hasattr(model, "norm") == (placement != "post")


def test_dropout_drops_in_training_only(tmp_path: Path) -> None:
    emitted = emit(spec({"dropout": 0.5, "attention": {**GQA, "dropout": 0.5}}), tmp_path)
    model, tokens = emitted.new_model(), emitted.tokens(2, 8)
    with torch.no_grad():
        assert torch.equal(model(tokens), model(tokens))
        model.train()
        assert not torch.equal(model(tokens), model(tokens))


def test_positions_end(tmp_path: Path) -> None:
    for kind in ("learned", "sinusoidal"):
        emitted = emit(spec({"position": {"kind": kind, "num_positions": 16}}), tmp_path / kind)
        model = emitted.new_model()
        model(emitted.tokens(1, 16))
        with pytest.raises(ValueError, match="17 tokens are more than the 16 positions"):
            model(emitted.tokens(1, 17))
