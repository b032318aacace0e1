"""torch.compile takes the emitted models as they are, forward and backward, in one graph."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model.emitted import GPT2, emit, spec

CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": GPT2,
    "window, softcap": {"attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2, "window": [4, "full"], "logit_softcap": 2.0}},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_compiled_equals_eager(case: str, tmp_path: Path) -> None:
    training = {"sequence_length": 64, "global_batch_size": 8, "max_steps": 10, "compile": True}
    emitted = emit(spec(CASES[case], document_mask=True, training=training), tmp_path)
    model = emitted.new_model()
    tokens = emitted.tokens(2, 24)
    positions = torch.cat([torch.arange(9), torch.arange(15)]).expand(2, -1)
    document_ids = torch.arange(2, dtype=torch.int32).repeat_interleave(torch.tensor([9, 15])).expand(2, -1)
    compiled = torch.compile(model, fullgraph=True)
    results = []
    for forward in (model, compiled):
        model.zero_grad()
        logits = forward(tokens, positions, document_ids)
        logits.logsumexp(-1).sum().backward()
        results.append((logits.detach(), [parameter.grad.clone() for parameter in model.parameters()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)
