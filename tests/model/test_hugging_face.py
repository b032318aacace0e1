"""Logits equal those of Hugging Face transformers, an implementation that shares nothing with ours but the papers."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.emitted import GPT2, Emitted, emit, spec

os.environ["HF_HUB_OFFLINE"] = "1"

GQA = {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2}


def rope(**scaling: Any) -> dict[str, Any]:
    return {"position": {"kind": "rope", "theta": 5e5, "scaling": scaling or None}}


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"norm": {"kind": "rmsnorm", "eps": 1e-3}, **rope()}),
    "llama tied, wide heads": ("LlamaForCausalLM", {"attention": {**GQA, "head_dim": 16}, "tie_embeddings": True}),
    "llama with biases": (
        "LlamaForCausalLM",
        {"attention": {**GQA, "qkv_bias": True, "output_bias": True}, "feed_forward": {"kind": "swiglu", "bias": True}},
    ),
    "llama multi-query": ("LlamaForCausalLM", {"attention": {"kind": "mqa", "num_heads": 4}}),
    "llama linear": ("LlamaForCausalLM", rope(kind="linear", factor=2.0)),
    "llama yarn": ("LlamaForCausalLM", rope(kind="yarn", factor=4.0, original_sequence_length=16)),
    "llama yarn, other betas": (
        "LlamaForCausalLM",
        rope(kind="yarn", factor=8.0, original_sequence_length=32, beta_fast=4.0, beta_slow=2.0),
    ),
    "llama llama3": ("LlamaForCausalLM", rope(kind="llama3", factor=8.0, original_sequence_length=16)),
    "mistral": ("MistralForCausalLM", {"attention": {**GQA, "window": 5}}),
    "qwen2": ("Qwen2ForCausalLM", {"attention": {**GQA, "qkv_bias": True}, "tie_embeddings": True}),
    "qwen2 with a window": ("Qwen2ForCausalLM", {"attention": {**GQA, "qkv_bias": True, "window": 5}}),
    "qwen3": ("Qwen3ForCausalLM", {"attention": {**GQA, "head_dim": 16, "qk_norm": "per_head"}}),
    "qwen3 with a window": ("Qwen3ForCausalLM", {"attention": {**GQA, "qk_norm": True, "window": 5}}),
    "olmo2": ("Olmo2ForCausalLM", {"attention": {**GQA, "qk_norm": "all_heads"}, "norm": {"kind": "rmsnorm", "placement": "reordered"}}),
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "llama muP": ("LlamaForCausalLM", {"mup": {"base_hidden_size": 8, "base_head_dim": 4}}),
    "qwen3 muP": (
        "Qwen3ForCausalLM",
        {"attention": {**GQA, "qk_norm": "per_head"}, "mup": {"base_hidden_size": 64, "base_head_dim": 32}, "tie_embeddings": True},
    ),
    "olmo2 muP": (
        "Olmo2ForCausalLM",
        {
            "attention": {**GQA, "qk_norm": "all_heads"},
            "norm": {"kind": "rmsnorm", "placement": "reordered"},
            "mup": {"base_hidden_size": 16, "base_head_dim": 2},
        },
    ),
    "gpt2 muP": ("GPT2LMHeadModel", {**GPT2, "mup": {"base_hidden_size": 16, "base_head_dim": 4}}),
    "gpt2 untied": ("GPT2LMHeadModel", {**GPT2, "tie_embeddings": False, "dropout": 0.1}),
}


@pytest.fixture(params=CASES)
def emitted(request: pytest.FixtureRequest, tmp_path: Path) -> Emitted:
    name, architecture = CASES[request.param]
    project = emit(spec(architecture), tmp_path)
    assert project.network.hugging_face_class == name, project.network.hugging_face_mismatch
    return project


def exported(emitted: Emitted, model: Any) -> Path:
    directory = emitted.directory / "exported"
    emitted.export.write_model(model, emitted.config.ModelConfig(), directory)
    return directory


def assert_equal(emitted: Emitted, weights: Mapping[str, torch.Tensor], parameters: Mapping[str, torch.Tensor]) -> None:
    """Bit for bit, but for muP's factors, which are multiplied in and divided out again."""
    scaled = hasattr(emitted.config.ModelConfig(), "base_hidden_size")
    for name, parameter in parameters.items():
        torch.testing.assert_close(weights[name], parameter, rtol=1e-6 if scaled else 0, atol=0)


def test_logits(emitted: Emitted) -> None:
    from transformers import AutoModelForCausalLM

    model = emitted.new_model()
    theirs, report = AutoModelForCausalLM.from_pretrained(exported(emitted, model), output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(theirs).__name__ == emitted.network.hugging_face_class
    tokens = emitted.tokens(2, 48)
    with torch.no_grad():
        ours, reference = model(tokens), theirs.eval()(tokens).logits
    assert ours.std() > 0.05
    assert (ours - reference).abs().max().item() <= 1e-5


def test_names(emitted: Emitted) -> None:
    """The network's Hugging Face names and shapes are those of the class, each weight once."""
    from transformers import AutoConfig, AutoModelForCausalLM

    directory = exported(emitted, emitted.new_model())
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    shapes: dict[str, tuple[int, ...]] = {}
    for weight in emitted.network.weights:
        assert weight.hugging_face_name is not None
        shape = weight.shape[::-1] if weight.hugging_face_transposed else weight.shape
        before = shapes.get(weight.hugging_face_name)
        # GPT-2's queries, keys and values stand side by side in the last dimension of one tensor.
        shapes[weight.hugging_face_name] = shape if before is None else (*shape[:-1], before[-1] + shape[-1])
    assert shapes == {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}


def test_export_and_import_are_inverse(emitted: Emitted) -> None:
    model = emitted.new_model()
    emitted.export.import_model(exported(emitted, model), emitted.directory / "imported")
    weights = load_file(emitted.directory / "imported" / "model.safetensors")
    parameters = dict(model.named_parameters())
    assert weights.keys() == parameters.keys()
    assert_equal(emitted, weights, parameters)


def test_what_transformers_saves_is_imported(emitted: Emitted) -> None:
    """Also in several files, as large models come, and with transformers' own config.json."""
    from transformers import AutoModelForCausalLM

    model = emitted.new_model()
    theirs = AutoModelForCausalLM.from_pretrained(exported(emitted, model))
    saved = emitted.directory / "saved"
    theirs.save_pretrained(saved, max_shard_size="30KB")
    assert (saved / "model.safetensors.index.json").exists()
    emitted.export.import_model(saved, emitted.directory / "imported")
    weights = load_file(emitted.directory / "imported" / "model.safetensors")
    assert_equal(emitted, weights, dict(model.named_parameters()))


@pytest.mark.parametrize("case", ["llama", "gpt2"])
class TestRefusals:
    def damaged(self, case: str, tmp_path: Path) -> tuple[Emitted, Path, dict[str, torch.Tensor]]:
        emitted = emit(spec(CASES[case][1]), tmp_path)
        directory = exported(emitted, emitted.new_model())
        return emitted, directory, load_file(directory / "model.safetensors")

    def refused(self, emitted: Emitted, directory: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
        save_file(tensors, directory / "model.safetensors")
        with pytest.raises(ValueError, match=re.escape(message)):
            emitted.export.import_model(directory, emitted.directory / "imported")
        assert not (emitted.directory / "imported").exists()

    def test_a_missing_weight(self, case: str, tmp_path: Path) -> None:
        emitted, directory, tensors = self.damaged(case, tmp_path)
        name = min(tensors)
        del tensors[name]
        self.refused(emitted, directory, tensors, f"the model to import has no `{name}`")

    def test_an_unknown_weight(self, case: str, tmp_path: Path) -> None:
        emitted, directory, tensors = self.damaged(case, tmp_path)
        name = "transformer.extra.weight" if case == "gpt2" else "model.extra.weight"
        self.refused(emitted, directory, tensors | {name: torch.zeros(2)}, f"has `{name}`, which this model has not")

    def test_another_shape(self, case: str, tmp_path: Path) -> None:
        emitted, directory, tensors = self.damaged(case, tmp_path)
        name = "transformer.ln_f.weight" if case == "gpt2" else "model.norm.weight"
        message = "`norm.weight` is (31,) in the model to import and (32,) here"
        self.refused(emitted, directory, tensors | {name: torch.zeros(31)}, message)

    def test_another_network(self, case: str, tmp_path: Path) -> None:
        emitted, directory, tensors = self.damaged(case, tmp_path)
        described = json.loads((directory / "config.json").read_text())
        heads = "n_head" if case == "gpt2" else "num_attention_heads"
        (directory / "config.json").write_text(json.dumps(described | {heads: 8}))
        self.refused(emitted, directory, tensors, f"another network: `{heads}` is 8 there and 4 here")

    def test_no_weights(self, case: str, tmp_path: Path) -> None:
        emitted, directory, _ = self.damaged(case, tmp_path)
        (directory / "model.safetensors").unlink()
        with pytest.raises(ValueError, match="neither"):
            emitted.export.import_model(directory, tmp_path / "imported")


def test_the_first_gpt2_checkpoints_are_imported(tmp_path: Path) -> None:
    """They have no prefix, and carry their masks."""
    emitted = emit(spec(GPT2), tmp_path)
    model = emitted.new_model()
    directory = exported(emitted, model)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(directory / "model.safetensors").items()}
    tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 4, 4) for layer in range(2)}
    save_file(tensors, directory / "model.safetensors")
    emitted.export.import_model(directory, tmp_path / "imported")
    weights = load_file(tmp_path / "imported" / "model.safetensors")
    assert_equal(emitted, weights, dict(model.named_parameters()))


def test_old_llama_configurations_are_read(tmp_path: Path) -> None:
    """transformers 4 wrote `rope_theta` and `rope_scaling`, and weights carried the rotary frequencies."""
    emitted = emit(spec(CASES["llama llama3"][1]), tmp_path)
    directory = exported(emitted, emitted.new_model())
    described = json.loads((directory / "config.json").read_text())
    del described["rope_parameters"]
    (directory / "config.json").write_text(json.dumps(described))
    tensors = load_file(directory / "model.safetensors") | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    save_file(tensors, directory / "model.safetensors")
    emitted.export.import_model(directory, tmp_path / "imported")
    (directory / "config.json").write_text(json.dumps(described | {"rope_theta": 1e4}))
    with pytest.raises(ValueError, match="rope_parameters"):
        emitted.export.import_model(directory, tmp_path / "again")
