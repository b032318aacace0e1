"""Memory of sharded layouts, against torch's memory tracker on the emitted project itself with fake tensors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmspec.compile import analyze, compile_spec
from llmspec.diagnostics import Bag

ROOT = Path(__file__).parents[2]
PROCESSES = 8

NARROW: dict[str, Any] = {
    "hidden_size": 256,
    "num_layers": 4,
    "attention": {"kind": "gqa", "num_heads": 8, "num_kv_heads": 4},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 768},
}
WIDE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_layers": 4,
    "attention": {"kind": "mha", "num_heads": 8},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 2816},
}
GELU: dict[str, Any] = {**NARROW, "feed_forward": {"kind": "gelu", "ffn_hidden_size": 1024}, "norm": {"kind": "layernorm"}}
KEPT = {"reshard_after_forward": False}
FULL = {"activation_checkpointing": "full"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "layout", "precision", "micro_batch", "length"),
    [
        (NARROW, {}, "fp32", 2, 256),
        (NARROW, KEPT, "fp32", 2, 256),
        (NARROW, FULL, "fp32", 2, 256),
        (GELU, {}, "fp32", 2, 256),
        (GELU, FULL, "fp32", 4, 128),
        (WIDE, {}, "fp32", 1, 64),
        (WIDE, KEPT, "fp32", 1, 64),
        (WIDE, FULL, "fp32", 1, 128),
        (NARROW, {}, "bf16", 2, 256),
        (WIDE, {}, "bf16", 1, 64),
    ],
)
def test_the_peak_of_fsdp_is_what_torch_tracks(architecture, layout, precision, micro_batch, length, tmp_path):
    spec = {
        "llmspec": 1,
        "name": "traced",
        "architecture": architecture,
        "tokenizer": {"kind": "byte"},
        "data": {"sources": [{"name": "stdlib", "kind": "python_stdlib"}], "packing": {"document_mask": False}},
        "training": {
            "sequence_length": length,
            "global_batch_size": micro_batch * PROCESSES,
            "micro_batch_size": micro_batch,
            "max_steps": 10,
        },
        "optimizer": {"learning_rate": 1e-3},
        "precision": precision,
        "hardware": {"accelerator": "cpu-avx512-bf16", "accelerators_per_node": PROCESSES},
        "parallelism": {"data": "fsdp", **layout},
    }
    path, project = tmp_path / "spec.json", tmp_path / "project"
    path.write_text(json.dumps(spec), encoding="utf-8")
    for name, file in compile_spec(path, [], project, Bag()).items():
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")
    memory = analyze(path, [], Bag()).estimate.memory
    command = [sys.executable, "-m", "tests.estimate.traced", str(project), str(PROCESSES), str(micro_batch), str(length), precision]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    traced = json.loads(result.stdout.splitlines()[-1])
    # The backward pass of a recomputed layer norm holds a little more than is counted.
    tolerance = 0.04 if architecture is GELU and layout is FULL else 0.03
    assert memory.allocated_bytes == pytest.approx(traced["Total"], rel=tolerance), (memory.by_component, traced, memory.moment)
