"""Every pair of choices: the emitted model is the one that the network describes, and does what a decoder does."""

import itertools
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.model.emitted import Emitted, emit, spec

Choice = dict[str, Any]
KNOBS: dict[str, list[Choice]] = {
    "heads": [
        {"attention": {"kind": "mha", "num_heads": 4}},
        {"attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}},
        {"attention": {"kind": "mqa", "num_heads": 3, "head_dim": 8}},
    ],
    "biases": [{}, {"attention": {"qkv_bias": True}}, {"attention": {"qkv_bias": True, "output_bias": True}}],
    "qk_norm": [{}, {"attention": {"qk_norm": "per_head"}}, {"attention": {"qk_norm": "all_heads"}}],
    "window": [{}, {"attention": {"window": 5}}, {"attention": {"window": [4, "full"]}}],
    "softcap": [{}, {"attention": {"logit_softcap": 2.0}}],
    "attention_dropout": [{}, {"attention": {"dropout": 0.2}}],
    "feed_forward": [
        {"feed_forward": {"kind": "gelu"}},
        {"feed_forward": {"kind": "gelu", "approximate": "tanh"}},
        {"feed_forward": {"kind": "relu"}},
        {"feed_forward": {"kind": "relu_squared"}},
        {"feed_forward": {"kind": "swiglu"}},
        {"feed_forward": {"kind": "geglu"}},
        {"feed_forward": {"kind": "geglu", "approximate": "tanh"}},
    ],
    "feed_forward_bias": [{}, {"feed_forward": {"bias": True}}],
    "norm": [{"norm": {"kind": "rmsnorm"}}, {"norm": {"kind": "layernorm"}}, {"norm": {"kind": "layernorm", "bias": False}}],
    "placement": [{"norm": {"placement": placement}} for placement in ("pre", "post", "sandwich", "reordered")],
    "position": [
        {"position": {"kind": "rope"}},
        {"position": {"kind": "rope", "scaling": {"kind": "linear", "factor": 2.0}}},
        {"position": {"kind": "rope", "scaling": {"kind": "ntk", "factor": 2.0}}},
        {"position": {"kind": "rope", "scaling": {"kind": "yarn", "factor": 4.0, "original_sequence_length": 16}}},
        {"position": {"kind": "rope", "scaling": {"kind": "llama3", "factor": 8.0, "original_sequence_length": 16}}},
        {"position": {"kind": "learned"}},
        {"position": {"kind": "sinusoidal"}},
        {"position": {"kind": "alibi"}},
        {"position": {"kind": "none"}},
    ],
    "parallel_residual": [{}, {"parallel_residual": True}],
    "tie_embeddings": [{}, {"tie_embeddings": True}],
    "dropout": [{}, {"dropout": 0.2}],
    "logit_softcap": [{}, {"logit_softcap": 3.0}],
    "initialization": [{}, {"initialization": {"kind": "truncated_normal", "depth_scaled": False}}],
    "document_mask": [{}, {"document_mask": True}],
    "accelerator": [{}, {"accelerator": "h100-sxm"}],
}


def pairwise() -> list[tuple[int, ...]]:
    """Rows of choices, one a knob, such that every two choices of different knobs meet in a row."""
    draw = random.Random(0)
    sizes = [len(choices) for choices in KNOBS.values()]
    missing = {(i, a, j, b) for i, j in itertools.combinations(range(len(sizes)), 2) for a in range(sizes[i]) for b in range(sizes[j])}

    def meets(row: list[int]) -> set[tuple[int, int, int, int]]:
        return {(i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(row)), 2)} & missing

    rows = []
    while missing:
        i, a, j, b = min(missing)
        candidates = [[draw.randrange(size) for size in sizes] for _ in range(60)]
        for row in candidates:
            row[i], row[j] = a, b
        best = max(candidates, key=lambda row: len(meets(row)))
        missing -= meets(best)
        rows.append(tuple(best))
    return rows


def merged(choices: tuple[int, ...]) -> Mapping[str, Any]:
    """The arguments of `spec` that a row of choices means."""
    result: dict[str, Any] = {}
    for options, index in zip(KNOBS.values(), choices, strict=True):
        for name, value in options[index].items():
            result[name] = {**result.get(name, {}), **value} if isinstance(value, dict) else value
    return result


ROWS = pairwise()


@pytest.fixture(params=ROWS, ids=lambda row: "".join(map(str, row)))
def emitted(request: pytest.FixtureRequest, tmp_path: Path) -> Emitted:
    choices = dict(merged(request.param))
    outside = {name: choices.pop(name) for name in ("document_mask", "accelerator") if name in choices}
    return emit(spec(choices, **outside), tmp_path)


def test_the_model(emitted: Emitted) -> None:
    """One test and not several, since rendering and importing is most of the work."""
    same_weights(emitted)
    same_flops(emitted)
    model = emitted.new_model()
    with torch.no_grad():
        sees_the_past_only(emitted, model)
        caches(emitted, model)
        if emitted.resolved.spec.data.packing.document_mask:
            separates_documents(emitted, model)
    starts_as_told(emitted)
    learns(emitted)


def same_weights(emitted: Emitted) -> None:
    with torch.device("meta"):
        model = emitted.model.Transformer(emitted.config.ModelConfig())
    described = [(weight.name, weight.shape) for weight in emitted.network.weights]
    assert [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()] == described
    assert [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()] == described
    assert sum(parameter.numel() for parameter in model.parameters()) == emitted.network.num_parameters


def same_flops(emitted: Emitted) -> None:
    B, T = 2, 24
    with torch.device("meta"):
        model = emitted.model.Transformer(emitted.config.ModelConfig())
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(B, T, dtype=torch.int64)).sum().backward()
    forward = sum(
        operation.flops_per_token(T) if hasattr(operation, "num_heads") else operation.flops_per_token()
        for operation in emitted.network.operations
        if hasattr(operation, "flops_per_token")
    )
    assert counter.get_total_flops() == 3 * B * T * forward


def sees_the_past_only(emitted: Emitted, model: Any) -> None:
    tokens = emitted.tokens(2, 24)
    changed = tokens.clone()
    changed[:, 15] = (changed[:, 15] + 1) % 97
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :15], before[:, :15])
    assert not torch.allclose(after[:, 16], before[:, 16], atol=1e-5)


def caches(emitted: Emitted, model: Any) -> None:
    tokens = emitted.tokens(2, 24)
    cache = model.empty_cache(2, 24)
    parts = [model(tokens[:, :9], cache=cache)] + [model(tokens[:, i : i + 1], cache=cache) for i in range(9, 24)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=1e-4, atol=1e-4)


def separates_documents(emitted: Emitted, model: Any) -> None:
    tokens, lengths = emitted.tokens(2, 24), ((7, 17), (24, 0))
    positions = torch.stack([torch.cat([torch.arange(length) for length in row]) for row in lengths])
    document_ids = torch.stack([torch.arange(2, dtype=torch.int32).repeat_interleave(torch.tensor(row)) for row in lengths])
    packed = model(tokens, positions, document_ids)
    expected = torch.cat([model(tokens[:1, :7]), model(tokens[:1, 7:])], dim=1), model(tokens[1:])
    torch.testing.assert_close(packed, torch.cat(expected), rtol=1e-4, atol=1e-4)


def starts_as_told(emitted: Emitted) -> None:
    initialization, layers = emitted.resolved.spec.architecture.initialization, 2
    model = emitted.model.Transformer(emitted.config.ModelConfig())
    model.init_weights(torch.Generator().manual_seed(0))
    drawn: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert torch.all(parameter == (0 if name.endswith("bias") else 1)), name
        else:
            drawn[name.endswith(("o_proj.weight", "down_proj.weight"))].append(parameter.detach().flatten())
    for output, tensors in drawn.items():
        values = torch.cat(tensors)
        std = initialization.std / (math.sqrt(2 * layers) if output and initialization.depth_scaled else 1)
        truncated = initialization.kind == "truncated_normal"
        # Cutting a normal distribution at three deviations leaves 0.9866 of its deviation.
        assert values.std().item() == pytest.approx(std * (0.9866 if truncated else 1), rel=0.05)
        assert values.mean().abs().item() < 0.1 * std
        assert not truncated or values.abs().max().item() <= 3 * std


def learns(emitted: Emitted) -> None:
    model = emitted.model.Transformer(emitted.config.ModelConfig())
    model.init_weights(torch.Generator().manual_seed(0))
    tokens = emitted.tokens(4, 24)
    torch.manual_seed(0)
    torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
