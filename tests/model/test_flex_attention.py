"""What runs on accelerators equals what runs on a CPU. FlexAttention's forward pass also works there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tests.model.emitted import Emitted, emit, spec

GQA = {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "documents": ({}, True),
    "window": ({"window": 40}, False),
    "window and documents": ({"window": 40}, True),
    "softcap": ({"logit_softcap": 1.5}, False),
    "softcap and documents": ({"logit_softcap": 1.5}, True),
    "alibi": ({}, False),
    "alibi, window and documents": ({"window": 40}, True),
    "alibi and softcap": ({"logit_softcap": 1.5}, True),
}


def project(case: str, directory: Path) -> Emitted:
    attention, documents = CASES[case]
    position = {"kind": "alibi" if "alibi" in case else "rope"}
    emitted = emit(
        spec({"attention": {**GQA, **attention}, "position": position}, document_mask=documents, accelerator="h100-sxm"), directory
    )
    assert emitted.model.BlockMask is BlockMask
    return emitted


def both_ways(case: str, emitted: Emitted) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with blocks, and with a dense mask."""
    attention, documents = CASES[case]
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 300, 16, generator=generator) for n in (4, 2, 2))
    ids = torch.zeros(2, 300, dtype=torch.int32)
    ids[0, 50:], ids[0, 190:] = 1, 2
    arguments: list[Any] = [attention["window"]] if "window" in attention else []
    arguments += [ids] if documents else []
    device = torch.device("cpu")
    blocks = emitted.model.attention_mask(300, 300, *arguments, device, True)
    dense = emitted.model.attention_mask(300, 300, *arguments, device, False)
    assert isinstance(blocks, BlockMask)
    if "alibi" in case:
        dense = emitted.model.alibi_bias(dense, 4)
    capped = [1.5] if "logit_softcap" in attention else []
    return emitted.model.attend(q, k, v, blocks, *capped), emitted.model.attend(q, k, v, dense, *capped)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_uncompiled(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = project(case, tmp_path)
    monkeypatch.setattr(emitted.model, "compiled_flex_attention", flex_attention)
    monkeypatch.setattr(emitted.model, "compiled_create_block_mask", create_block_mask)
    blocks, dense = both_ways(case, emitted)
    torch.testing.assert_close(blocks, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled(tmp_path: Path) -> None:
    case = "alibi and softcap"
    blocks, dense = both_ways(case, project(case, tmp_path))
    torch.testing.assert_close(blocks, dense, rtol=1e-4, atol=1e-5)


def test_a_cpu_is_not_given_blocks(tmp_path: Path) -> None:
    emitted = project("documents", tmp_path)
    model, masks = emitted.new_model(), []
    model.layers[0].register_forward_hook(lambda _, arguments, output: masks.append(arguments[2]))
    tokens = emitted.tokens(1, 8)
    model(tokens)
    model(tokens, torch.arange(8)[None], torch.zeros(1, 8, dtype=torch.int32))
    assert masks[0] is None
    assert isinstance(masks[1], torch.Tensor)
