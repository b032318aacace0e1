"""Presets are valid spec fragments and have exactly the published numbers of parameters."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmspec.catalog import preset_names, preset_path, preset_title
from llmspec.spec.schema import Spec

PUBLISHED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "published_counts.yaml").read_text(encoding="utf-8"))


def architecture(name: str) -> dict[str, Any]:
    path = preset_path(name)
    assert path is not None
    fragment = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(fragment) == {"architecture"}
    return dict(fragment["architecture"])


def count(a: dict[str, Any]) -> int:
    """Parameters by textbook formulae, independent of llmspec's own description of the network."""
    width, attention, feed_forward = a["hidden_size"], a["attention"], a["feed_forward"]
    heads, head = attention["num_heads"], attention["head_dim"]
    kv_heads = attention.get("num_kv_heads", heads)
    queries, keys = heads * head, kv_heads * head
    hidden = feed_forward["ffn_hidden_size"]
    norm = width * (2 if a["norm"].get("bias", a["norm"]["kind"] == "layernorm") else 1)

    layer = width * (queries + 2 * keys) + queries * width
    layer += (queries + 2 * keys) * attention.get("qkv_bias", False) + width * attention.get("output_bias", False)
    layer += {None: 0, "per_head": 2 * head, "all_heads": queries + keys}[attention.get("qk_norm")]
    layer += (3 if feed_forward["kind"] == "swiglu" else 2) * width * hidden + (hidden + width) * feed_forward.get("bias", False)
    layer += 2 * norm
    embedding = a["vocab_size"] * width * (1 if a["tie_embeddings"] else 2) + a["position"].get("num_positions", 0) * width
    return embedding + a["num_layers"] * layer + (0 if a["norm"]["placement"] == "post" else norm)


def test_every_preset_has_a_published_count() -> None:
    assert set(preset_names()) == set(PUBLISHED)


def test_presets_are_listed_by_family_then_size() -> None:
    names = preset_names()
    for order in (
        ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"],
        ["smollm2-135m", "smollm2-360m", "smollm2-1.7b"],
        ["llama-7b", "llama-2-7b"],
    ):
        assert [name for name in names if name in order] == order


@pytest.mark.parametrize("name", preset_names())
def test_count_is_the_published_one(name: str) -> None:
    assert count(architecture(name)) == PUBLISHED[name]["parameters"]
    assert f"{PUBLISHED[name]['parameters']:,} parameters" in preset_title(name)


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_valid_in_a_spec(name: str) -> None:
    spec = {
        "llmspec": 1,
        "name": name,
        "architecture": architecture(name),
        "tokenizer": {"kind": "byte"},
        "data": {"sources": [{"kind": "python_stdlib", "name": "python"}]},
        "training": {"sequence_length": 512, "global_batch_size": 8, "max_steps": 10},
        "optimizer": {"learning_rate": 1e-3},
        "hardware": {"accelerator": "cpu"},
    }
    validated = Spec.model_validate_json(json.dumps(spec)).architecture
    # Nothing is left to be derived: a published model's dimensions do not depend on the rest of the spec.
    assert validated.attention.head_dim is not None
    assert validated.feed_forward.ffn_hidden_size is not None
    assert validated.vocab_size is not None
    assert validated.attention.num_heads % validated.attention.key_value_heads == 0


@pytest.mark.parametrize("name", ["", "nothing", "../accelerators", "gpt2.yaml", "a/b", "."])
def test_what_is_no_preset(name: str) -> None:
    assert preset_path(name) is None
    assert preset_title(name) == ""


@pytest.mark.parametrize("name", preset_names())
def test_count_is_that_of_transformers(name: str) -> None:
    import torch
    import transformers

    keywords = dict(PUBLISHED[name]["hugging_face"])
    config = transformers.AutoConfig.for_model(keywords.pop("model_type"), **keywords)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]["parameters"]
