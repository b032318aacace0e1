"""Weights go to Hugging Face transformers and come back unchanged."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import export
from config import ModelConfig
from model import Transformer

SMALL = dataclasses.replace(
    ModelConfig(),
    vocab_size=97,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_hidden_size=96,
)


@pytest.fixture
def model() -> Transformer:
    """A small model with weights that all matter: no norm is one and no bias is zero."""
    model = Transformer(SMALL)
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model.eval()


@pytest.fixture
def exported(model: Transformer, tmp_path: Path) -> Path:
    """A directory as export.py writes it."""
    export.write_model(model, SMALL, tmp_path)
    return tmp_path


def test_transformers_gives_the_same_logits(model: Transformer, exported: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        exported, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokens = torch.randint(SMALL.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens), rtol=0, atol=1e-5)


def test_weights_come_back(
    model: Transformer, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ModelConfig", lambda: SMALL)
    export.import_model(exported, tmp_path / "imported")
    weights = load_file(tmp_path / "imported" / "model.safetensors")
    assert weights.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(weights[name], parameter)


def test_another_network_is_refused(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ModelConfig", lambda: SMALL)
    described = json.loads((exported / "config.json").read_text())
    changed = described | {"vocab_size": 98}
    (exported / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="`vocab_size` is 98"):
        export.import_model(exported, exported / "imported")


def test_a_missing_weight_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ModelConfig", lambda: SMALL)
    tensors = load_file(exported / "model.safetensors")
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, exported / "model.safetensors")
    with pytest.raises(ValueError, match=f"no `{name}`"):
        export.import_model(exported, exported / "imported")
