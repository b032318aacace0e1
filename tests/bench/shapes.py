"""The models of the training benchmark, and the tokens that all contenders train on."""

import json
from pathlib import Path
from typing import TypedDict

import numpy as np


class Shape(TypedDict):
    """A model and the batch it is trained with."""

    family: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_hidden_size: int
    sequence_length: int
    global_batch_size: int
    interval: int  # steps between two readings of the clock
    intervals: int  # readings that count; one more goes before them


SHAPES: dict[str, Shape] = {
    "quickstart": {
        "family": "llama", "vocab_size": 4096, "hidden_size": 256, "num_layers": 6, "num_heads": 8, "num_kv_heads": 4,
        "ffn_hidden_size": 704, "sequence_length": 256, "global_batch_size": 8, "interval": 5, "intervals": 5,
    },
    "gpt2-124m": {
        "family": "gpt2", "vocab_size": 50257, "hidden_size": 768, "num_layers": 12, "num_heads": 12, "num_kv_heads": 12,
        "ffn_hidden_size": 3072, "sequence_length": 512, "global_batch_size": 2, "interval": 1, "intervals": 4,
    },
}  # fmt: skip


def num_steps(shape: Shape) -> int:
    """Optimizer steps of one run."""
    return shape["interval"] * (shape["intervals"] + 1)


def write_tokens(shape: Shape, data_dir: Path) -> Path:
    """Write random tokens as the emitted prepare_data.py would; returns the file, which is a bare array that others can map too."""
    num_tokens = num_steps(shape) * shape["global_batch_size"] * shape["sequence_length"] + 1
    tokens = np.random.default_rng(0).integers(0, shape["vocab_size"], num_tokens, dtype=np.uint16)
    directory = data_dir / "tokens" / "python"
    directory.mkdir(parents=True)
    tokens.tofile(directory / "00000.train.tokens")
    np.zeros(1, np.uint64).tofile(directory / "00000.train.documents")
    split = {"tokens": num_tokens, "documents": 1, "bytes": num_tokens, "shards": [num_tokens]}
    manifest = {"token_dtype": "uint16", "sources": {"python": {"train": split}}}
    (data_dir / "tokens" / "manifest.json").write_text(json.dumps(manifest))
    return directory / "00000.train.tokens"


def spec_text(name: str, engine: str, processes: int, precision: str, *, compile: bool) -> str:
    """A spec of the shape. YAML reads JSON."""
    shape = SHAPES[name]
    gpt2 = shape["family"] == "gpt2"
    heads = {"num_heads": shape["num_heads"]}
    architecture = {
        "hidden_size": shape["hidden_size"],
        "num_layers": shape["num_layers"],
        "tie_embeddings": True,
        "attention": {"kind": "mha", "qkv_bias": True, "output_bias": True, **heads}
        if gpt2
        else {"kind": "gqa", "num_kv_heads": shape["num_kv_heads"], **heads},
        "feed_forward": {"kind": "gelu", "approximate": "tanh", "bias": True, "ffn_hidden_size": shape["ffn_hidden_size"]}
        if gpt2
        else {"kind": "swiglu", "ffn_hidden_size": shape["ffn_hidden_size"]},
        "norm": {"kind": "layernorm"} if gpt2 else {"kind": "rmsnorm"},
        "position": {"kind": "learned", "num_positions": 1024} if gpt2 else {"kind": "rope"},
    }
    spec = {
        "llmspec": 1,
        "name": name,
        "architecture": architecture,
        "tokenizer": {"kind": "bpe", "vocab_size": shape["vocab_size"]},
        "data": {"sources": [{"name": "python", "kind": "python_stdlib"}], "packing": {"document_mask": False}, "validation_fraction": 0.0},
        "training": {
            "sequence_length": shape["sequence_length"],
            "global_batch_size": shape["global_batch_size"],
            "micro_batch_size": shape["global_batch_size"] // processes,
            "max_steps": num_steps(shape),
            "compile": compile,
        },
        "optimizer": {"learning_rate": 1e-4},
        "schedule": {"kind": "constant", "warmup_steps": 0},
        "precision": precision,
        "parallelism": {"engine": engine},
        "hardware": {"accelerator": "cpu" if precision == "fp32" else "cpu-avx512-bf16", "accelerators_per_node": processes},
        "checkpoint": {"every": num_steps(shape)},
        "logging": {"every": shape["interval"]},
    }
    return json.dumps(spec)
