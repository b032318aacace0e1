"""The description of the network: its numbers, and which Hugging Face class it fits. Its weights and FLOPs are held against the
emitted model in tests/model."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from llmspec.diagnostics import Bag
from llmspec.network import Network, describe
from llmspec.network.network import AttentionProduct, Component, Weight, WeightKind
from llmspec.resolve import Resolved, resolve
from llmspec.spec import compose, load
from tests.model.emitted import GPT2, spec

GQA = {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2}


def resolved(directory: Path, architecture: dict[str, Any], **sections: Any) -> Resolved:
    path = directory / "spec.json"
    path.write_text(json.dumps(spec(architecture, **sections)))
    bag = Bag()
    composed = compose(path, (), bag)
    bag.raise_if_errors()
    return resolve(composed, load(composed, bag), bag)


def network(directory: Path, architecture: dict[str, Any]) -> Network:
    return describe(resolved(directory, architecture))


@pytest.mark.parametrize("window", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_causal_pairs(window: int | None, length: int) -> None:
    product = AttentionProduct("attend", Component.ATTENTION, num_heads=3, num_kv_heads=1, head_dim=5, window=window)
    pairs = sum(1 for query in range(length) for key in range(query + 1) if window is None or query - key < window)
    assert product.causal_flops_per_token(length) == pytest.approx(4 * 3 * 5 * pairs / length)
    assert product.flops_per_token(length) == 4 * 3 * 5 * length


def test_windows_are_those_of_the_layers(tmp_path: Path) -> None:
    described = network(tmp_path, {"num_layers": 5, "attention": {**GQA, "window": [8, "full"]}})
    windows = [op.window for layer in described.layers for op in layer.operations if isinstance(op, AttentionProduct)]
    assert windows == [8, None, 8, None, 8]


def test_kinds_and_components(tmp_path: Path) -> None:
    described = network(tmp_path, {**GPT2, "attention": {**GPT2["attention"], "qk_norm": "per_head"}})
    weights = {weight.name: weight for weight in described.weights}
    expected = {
        "embed_tokens.weight": (WeightKind.EMBEDDING, Component.EMBEDDING, None, 0),
        "embed_positions.weight": (WeightKind.POSITION, Component.EMBEDDING, None, None),
        "layers.1.input_layernorm.weight": (WeightKind.NORM, Component.NORM, 1, None),
        "layers.1.input_layernorm.bias": (WeightKind.BIAS, Component.NORM, 1, None),
        "layers.1.self_attn.q_proj.weight": (WeightKind.MATRIX, Component.ATTENTION, 1, 0),
        "layers.1.self_attn.q_proj.bias": (WeightKind.BIAS, Component.ATTENTION, 1, 0),
        "layers.1.self_attn.o_proj.weight": (WeightKind.OUTPUT_MATRIX, Component.ATTENTION, 1, 1),
        "layers.1.self_attn.o_proj.bias": (WeightKind.BIAS, Component.ATTENTION, 1, None),
        "layers.1.self_attn.q_norm.weight": (WeightKind.NORM, Component.ATTENTION, 1, None),
        "layers.1.mlp.up_proj.weight": (WeightKind.MATRIX, Component.FEED_FORWARD, 1, 0),
        "layers.1.mlp.down_proj.weight": (WeightKind.OUTPUT_MATRIX, Component.FEED_FORWARD, 1, 1),
        "norm.weight": (WeightKind.NORM, Component.NORM, None, None),
    }

    def summary(weight: Weight) -> tuple[object, ...]:
        return weight.kind, weight.component, weight.layer, weight.tensor_split

    assert {name: summary(weights[name]) for name in expected} == expected
    assert "lm_head.weight" not in weights


def test_an_untied_head_is_a_matrix(tmp_path: Path) -> None:
    head = network(tmp_path, {}).after.weights[-1]
    assert (head.name, head.shape, head.kind) == ("lm_head.weight", (97, 32), WeightKind.MATRIX)


@pytest.mark.parametrize(
    ("architecture", "mismatch"),
    [
        ({"position": {"kind": "alibi"}}, "alibi positions"),
        ({"position": {"kind": "none"}}, "without positions"),
        ({"position": {"kind": "sinusoidal"}}, "sinusoidal positions"),
        ({"position": {"kind": "rope", "scaling": {"kind": "ntk", "factor": 2.0}}}, "NTK"),
        ({"feed_forward": {"kind": "geglu"}}, "not geglu"),
        ({"norm": {"kind": "layernorm"}}, "RMS norms"),
        ({"norm": {"kind": "rmsnorm", "placement": "sandwich"}}, "combination of norm placement"),
        ({"attention": {**GQA, "window": [4, "full"]}}, "windows that differ"),
        ({"attention": {**GQA, "output_bias": True}}, "combination"),
        ({"attention": {**GQA, "logit_softcap": 5.0}}, "soft-capped"),
        ({"logit_softcap": 5.0}, "soft-capped"),
        ({"parallel_residual": True}, "parallel"),
        ({**GPT2, "attention": {"kind": "mha", "num_heads": 4}}, "biases in all projections"),
        ({**GPT2, "feed_forward": {"kind": "gelu", "bias": True}}, "tanh"),
        ({**GPT2, "norm": {"kind": "layernorm", "bias": False}}, "layer norms with bias"),
        ({**GPT2, "attention": {**GQA, "qkv_bias": True, "output_bias": True}}, "multi-head"),
        ({**GPT2, "attention": {**GPT2["attention"], "head_dim": 16}}, "hidden_size / num_heads"),
        ({**GPT2, "attention": {**GPT2["attention"], "window": 4}}, "sliding window"),
        ({**GPT2, "attention": {**GPT2["attention"], "qk_norm": "per_head"}}, "qk_norm"),
    ],
)
def test_what_hugging_face_has_not(architecture: dict[str, Any], mismatch: str, tmp_path: Path) -> None:
    described = network(tmp_path, architecture)
    assert described.hugging_face_class is None
    assert described.hugging_face_mismatch is not None
    assert mismatch in described.hugging_face_mismatch
    assert all(weight.hugging_face_name is None for weight in described.weights)


def test_dropout_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """It changes training, not the network that is exported."""
    described = network(tmp_path, {"dropout": 0.1, "attention": {**GQA, "dropout": 0.1}})
    assert described.hugging_face_class == "LlamaForCausalLM"


def test_a_pattern_of_one_window_is_no_pattern(tmp_path: Path) -> None:
    assert network(tmp_path, {"attention": {**GQA, "window": ["full", "full"]}}).hugging_face_class == "LlamaForCausalLM"
    assert network(tmp_path, {"attention": {**GQA, "window": [4, 4]}}).hugging_face_class == "MistralForCausalLM"


def test_describing_changes_with_nothing_but_the_architecture(tmp_path: Path) -> None:
    plain, other = resolved(tmp_path, {}), resolved(tmp_path, {}, seed=7)
    assert describe(plain) == describe(other)
    assert dataclasses.is_dataclass(describe(plain))
