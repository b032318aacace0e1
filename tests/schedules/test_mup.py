"""muP: activations move as far at any width, and at the base width nothing is changed.

The coordinate check of Yang et al. 2022, figure 5: slopes of log size over log width, with the emitted model and optimizer.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.model import emitted

WIDTHS = (64, 128, 256, 512)
RATE, STEPS = 2**-7, 8


def model_and_optimizer(directory: Path, width: int, mup: dict[str, int] | None, heads: int | None = None) -> tuple[Any, Any]:
    heads = heads or width // 16
    architecture = {
        "hidden_size": width,
        "attention": {"kind": "gqa", "num_heads": heads, "num_kv_heads": heads // 2},
        "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 2 * width},
        "initialization": {"std": 0.08, "depth_scaled": False},
        "mup": mup,
    }
    project = emitted.emit(emitted.spec(architecture), directory / f"{width}-{bool(mup)}-{heads}")
    model = project.model.Transformer(project.config.ModelConfig())
    model.init_weights(torch.Generator().manual_seed(0))
    return model, project.optim.build_optimizer(model, project.config.OptimizerConfig())


def train(model: Any, optimizer: Any) -> tuple[dict[str, float], float]:
    """Root mean squares of how far some steps move the layers' outputs and the logits, and the last loss."""
    outputs: dict[str, Tensor] = {}
    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda _, __, output, index=index: outputs.update({f"layer {index}": output}))
    generator = torch.Generator().manual_seed(1)
    probe = torch.randint(97, (4, 64), generator=generator)

    def look() -> dict[str, Tensor]:
        with torch.no_grad():
            logits = model(probe)
        return {**outputs, "logits": logits}

    before = look()
    for _ in range(STEPS):
        tokens = (torch.randint(97, (8, 1), generator=generator) + 3 * torch.arange(65)) % 97
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = RATE * group.get("rate_scale", 1.0)
        optimizer.step()
        optimizer.zero_grad()
    after = look()
    return {name: (after[name] - before[name]).square().mean().sqrt().item() for name in after}, loss.item()


def slopes(directory: Path, mup: dict[str, int] | None) -> dict[str, float]:
    sizes = [train(*model_and_optimizer(directory, width, mup))[0] for width in WIDTHS]
    return {name: math.log(sizes[-1][name] / sizes[0][name]) / math.log(WIDTHS[-1] / WIDTHS[0]) for name in sizes[0]}


def test_coordinates(tmp_path: Path) -> None:
    standard, mup = slopes(tmp_path, None), slopes(tmp_path, {"base_hidden_size": 64})
    for name in ("layer 0", "layer 1"):
        assert standard[name] > 1.0, standard
        assert abs(mup[name]) < 0.2, mup
    assert standard["logits"] > 0.4, standard
    assert -0.5 < mup["logits"] < 0.2, mup


def test_nothing_is_scaled_at_the_base_width(tmp_path: Path) -> None:
    standard = train(*model_and_optimizer(tmp_path, 64, None))
    assert train(*model_and_optimizer(tmp_path, 64, {"base_hidden_size": 64})) == standard
    # Nor is attention at the base's head_dim, whatever the width.
    assert train(*model_and_optimizer(tmp_path, 64, {"base_hidden_size": 64, "base_head_dim": 16})) == standard


@pytest.mark.parametrize("heads", [4, 2])
def test_attention_divides_by_the_head_dim(tmp_path: Path, heads: int) -> None:
    """Where heads are wider than the base's, queries are scaled so that products are divided by head_dim * (root of the base's / it)."""
    model, _ = model_and_optimizer(tmp_path, 64, {"base_hidden_size": 64, "base_head_dim": 8}, heads)
    plain, _ = model_and_optimizer(tmp_path, 64, None, heads)
    with torch.no_grad():
        for layer in plain.layers:
            layer.self_attn.q_proj.weight.mul_(math.sqrt(8 / (64 // heads)))
    tokens = torch.arange(32)[None]
    torch.testing.assert_close(model.eval()(tokens), plain.eval()(tokens))
