"""Resolved specs for the tests, built without the passes before: every derived field is written out."""

from pathlib import Path
from typing import Any

from llmspec.diagnostics import Span
from llmspec.network import Network, describe
from llmspec.resolve.resolved import Origin, OriginKind, Resolved
from llmspec.spec.schema import Spec

ROOT = Span("spec.yaml", 1, 1, 1, 1)

LLAMA_2_7B: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "num_layers": 32,
    "attention": {"kind": "mha", "num_heads": 32, "head_dim": 128},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 11_008},
    "norm": {"kind": "rmsnorm"},
    "position": {"kind": "rope"},
}
LLAMA_31_8B: dict[str, Any] = LLAMA_2_7B | {
    "vocab_size": 128_256,
    "attention": {"kind": "gqa", "num_heads": 32, "num_kv_heads": 8, "head_dim": 128},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 14_336},
}
LLAMA_31_405B: dict[str, Any] = LLAMA_31_8B | {
    "hidden_size": 16_384,
    "num_layers": 126,
    "attention": {"kind": "gqa", "num_heads": 128, "num_kv_heads": 8, "head_dim": 128},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 53_248},
}
GPT2: dict[str, Any] = {
    "vocab_size": 50_257,
    "hidden_size": 768,
    "num_layers": 12,
    "attention": {"kind": "mha", "num_heads": 12, "head_dim": 64, "qkv_bias": True, "output_bias": True},
    "feed_forward": {"kind": "gelu", "ffn_hidden_size": 3072, "bias": True, "approximate": "tanh"},
    "norm": {"kind": "layernorm"},
    "position": {"kind": "learned", "num_positions": 1024},
    "tie_embeddings": True,
}
TINY: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_layers": 2,
    "attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16},
    "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 160},
    "norm": {"kind": "rmsnorm"},
    "position": {"kind": "rope"},
}


def _layout(hardware: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """A layout with its derived fields, by the same rules as the resolver's."""
    per_node = hardware.get("accelerators_per_node", 1)
    shared = wanted.get("tensor", 1) * wanted.get("pipeline", 1) * wanted.get("context", 1)
    replicas = max(1, hardware.get("nodes", 1) * per_node // shared)
    data = wanted.get("data", "ddp")
    derived = {
        "data": data,
        "shard_size": {"ddp": 1, "hsdp": min(per_node, replicas)}.get(data, replicas),
        "zero_stage": int(data == "zero"),
        "sequence_parallel": wanted.get("tensor", 1) > 1,
    }
    return derived | wanted


def make(
    architecture: dict[str, Any] = TINY,
    *,
    training: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
    document_mask: bool = False,
    **sections: Any,
) -> tuple[Resolved, Network]:
    """A resolved spec and its network."""
    wanted = training or {}
    length = wanted.get("sequence_length", 64)
    batch = wanted.get("global_batch_size", 4)
    steps = wanted.get("max_steps", 100)
    values: dict[str, Any] = {
        "llmspec": 1,
        "name": "test",
        "architecture": architecture,
        "tokenizer": {"kind": "bpe", "vocab_size": architecture["vocab_size"]},
        "data": {"sources": ({"name": "python", "kind": "python_stdlib"},), "packing": {"document_mask": document_mask}},
        "training": {
            "sequence_length": length,
            "global_batch_size": batch,
            "micro_batch_size": batch,
            "max_steps": steps,
            "max_tokens": steps * batch * length,
            "compile": False,
        }
        | wanted,
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"kind": "constant", "warmup_steps": 10},
        "precision": "fp32",
        "hardware": {"accelerator": "cpu"} | (hardware or {}),
        "parallelism": _layout(hardware or {}, sections.pop("parallelism", {})),
        "checkpoint": {
            "every": max(1, min(1000, steps // 10)),
            "asynchronous": "cpu" not in (hardware or {"accelerator": "cpu"})["accelerator"],
        }
        | sections.pop("checkpoint", {}),
    }
    resolved = Resolved(Spec.model_validate(values | sections), {"training": Origin(OriginKind.SPEC, "spec.yaml:9")}, ROOT, Path())
    return resolved, describe(resolved)
