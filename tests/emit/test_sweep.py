"""Every pair of choices, compiled and linted in memory: what a template gets wrong shows up as an undefined or unused name."""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.emit.conftest import SMALL, Compiler, changed

P = "architecture.position"


def rope(scaling: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {P: {"kind": "rope", "scaling": scaling}}


# Each knob with its choices; a choice is a set of changes.
KNOBS: dict[str, list[Mapping[str, Any]]] = {
    "attention": [
        {"architecture.attention": {"kind": "mha", "num_heads": 4}},
        {"architecture.attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2}},
        {"architecture.attention": {"kind": "mqa", "num_heads": 4}},
    ],
    "biases": [{}, {"architecture.attention.qkv_bias": True}, {"architecture.attention.output_bias": True}],
    "qk_norm": [{}, {"architecture.attention.qk_norm": "per_head"}, {"architecture.attention.qk_norm": "all_heads"}],
    "window": [{}, {"architecture.attention.window": 32}, {"architecture.attention.window": [32, "full"]}],
    "softcap": [{}, {"architecture.attention.logit_softcap": 50.0}, {"architecture.logit_softcap": 30.0}],
    "position": [
        rope(),
        rope({"kind": "linear", "factor": 2.0}),
        rope({"kind": "ntk", "factor": 2.0}),
        rope({"kind": "yarn", "factor": 2.0, "original_sequence_length": 32}),
        rope({"kind": "llama3", "factor": 2.0, "original_sequence_length": 32}),
        {P: {"kind": "learned"}},
        {P: {"kind": "sinusoidal"}},
        {P: {"kind": "alibi"}},
        {P: {"kind": "none"}},
    ],
    "feed_forward": [{"architecture.feed_forward": {"kind": kind}} for kind in ("gelu", "relu", "relu_squared", "swiglu", "geglu")],
    "feed_forward_bias": [{}, {"architecture.feed_forward.bias": True}],
    "norm": [{"architecture.norm": {"kind": "rmsnorm"}}, {"architecture.norm": {"kind": "layernorm"}}],
    "placement": [{"architecture.norm.placement": placement} for placement in ("pre", "post", "sandwich", "reordered")],
    "parallel_residual": [{}, {"architecture.parallel_residual": True}],
    "tie_embeddings": [{}, {"architecture.tie_embeddings": True}],
    "dropout": [{}, {"architecture.dropout": 0.1}, {"architecture.attention.dropout": 0.1}],
    "initialization": [{}, {"architecture.initialization": {"kind": "truncated_normal", "depth_scaled": False}}],
    "tokenizer": [
        {},
        {"tokenizer": {"kind": "unigram", "vocab_size": 512, "add_bos": True}},
        {"tokenizer": {"kind": "byte"}},
        {"tokenizer": {"kind": "char", "vocab_size": 200}},
        {"tokenizer": {"kind": "pretrained", "path": "tokenizer.model", "vocab_size": 500}, "architecture.vocab_size": 512},
        {
            "tokenizer": {"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 500, "eos_token": "</s>"},
            "architecture.vocab_size": 512,
        },
    ],
    "sources": [
        {},
        {"data.sources": [{"name": "a", "kind": "text", "path": "a.txt", "document": "paragraph"}]},
        {"data.sources": [{"name": "a", "kind": "jsonl", "path": ["a.jsonl", "a/*.jsonl.gz"]}]},
        {
            "data.sources": [
                {"name": "a", "kind": "parquet", "path": "a.parquet", "weight": 1.0},
                {"name": "b", "kind": "text", "path": "b/*.txt.zst", "weight": 2.0},
                {"name": "c", "kind": "text", "path": "c.txt", "document": "line", "weight": 2.0},
            ]
        },
    ],
    "validation": [{}, {"data.validation_fraction": 0.0}],
    "document_mask": [{}, {"data.packing": {"document_mask": False}}],
    "objective": [{}, {"objectives": [{"kind": "causal_lm", "z_loss": 1e-4}]}],
    "ema": [{}, {"training.ema": {}}],
    "batch_size_warmup": [
        {},
        {"training.global_batch_size": 16, "training.batch_size_warmup": [{"until_tokens": 2048, "global_batch_size": 8}]},
    ],
    "batch": [{}, {"training.micro_batch_size": 2}],
    "clipping": [{}, {"training.max_grad_norm": "none"}],
    "compile": [{}, {"training.compile": True}],
    "duration": [{}, {"training.max_duration": "1h"}],
    "optimizer": [
        {},
        *(
            {"optimizer.kind": kind}
            for kind in ("adam", "sgd", "rmsprop", "adafactor", "lamb", "lion", "muon", "soap", "schedule_free_adamw", "adamw_8bit")
        ),
        {"architecture.mup": {"base_hidden_size": 32}},
        {"architecture.mup": {"base_hidden_size": 32, "base_head_dim": 8}, "optimizer.kind": "adamw_8bit"},
        {"optimizer.kind": "sgd", "optimizer.nesterov": True},
        {"optimizer.kind": "rmsprop", "optimizer.momentum": 0.9},
        {"optimizer.kind": "muon", "optimizer.scaling": "spectral", "optimizer.adamw_learning_rate_scale": 0.1},
        {"optimizer.kind": "adamw_8bit", "optimizer.quantize_embeddings": True},
    ],
    "groups": [
        {},
        {"optimizer.groups": [{"pattern": "embed_*", "weight_decay": 0.0}]},
        {"optimizer.groups": [{"pattern": "embed_*", "learning_rate_scale": 0.5}, {"pattern": "layers.0.*"}]},
    ],
    "layer_decay": [{}, {"optimizer.layer_decay": 0.9}],
    "decay": [{}, {"optimizer.weight_decay": 0.0}, {"optimizer.decay_embeddings": False}],
    "schedule": [
        {"schedule": {"kind": "constant"}},
        {"schedule": {"kind": "linear", "warmup_steps": 0}},
        {"schedule": {"kind": "cosine"}},
        {"schedule": {"kind": "wsd"}},
        {"schedule": {"kind": "wsd", "decay_shape": "cosine"}},
        {"schedule": {"kind": "wsd", "decay_shape": "one_minus_sqrt"}},
        *({"schedule": {"kind": kind}} for kind in ("step", "multi_step", "exponential", "polynomial", "inverse_sqrt")),
        {"schedule": {"kind": "cosine_restarts"}},
        {"schedule": {"kind": "cosine_restarts", "cycle_growth": 2}},
        {"schedule": {"kind": "cyclical"}},
        {"schedule": {"kind": "cyclical", "cycle_shape": "triangular2"}},
        {"schedule": {"kind": "one_cycle"}},
        {"schedule": {"kind": "one_cycle", "anneal_shape": "linear"}},
        {"schedule": {"kind": "one_cycle", "momentum_at_peak": 0.8}},
        {"schedule": {"kind": "one_cycle", "anneal_shape": "linear", "momentum_at_peak": 0.8}},
        {"schedule": {"kind": "cyclical", "momentum_at_peak": 0.8}},
        {"schedule": {"kind": "cyclical", "cycle_shape": "triangular2", "momentum_at_peak": 0.8}},
    ],
    "precision": [{}, {"precision": "fp32"}],
    "checkpointing": [{}, *({"parallelism.activation_checkpointing": kind} for kind in ("selective", "full"))],
    "replicas": [
        {"parallelism.data": "ddp"},
        {"parallelism.data": "fsdp"},
        {"parallelism.data": "fsdp", "parallelism.reshard_after_forward": False},
        {"parallelism.data": "hsdp"},
        {"parallelism.engine": "deepspeed", "parallelism.zero_stage": 0, "precision": "fp32"},
        {"parallelism.engine": "deepspeed"},
        {"parallelism.engine": "deepspeed", "parallelism.zero_stage": 3, "launch.deepspeed": {}},
        {"parallelism.engine": "deepspeed", "parallelism.zero_stage": 2, "parallelism.offload": {"optimizer": "cpu"}},
        {"parallelism.engine": "deepspeed", "parallelism.zero_stage": 3, "parallelism.offload": {"parameters": "cpu"}},
    ],
    "guard": [{}, {"training.guard": {"spike_sigma": 6.0}}],
    "checkpoint": [{"checkpoint": more} for more in ({"asynchronous": True}, {"asynchronous": False, "keep_every": 10})],
    "hardware": [
        {},
        {"hardware": {"accelerator": "cpu", "accelerators_per_node": 2}},
        {"hardware": {"accelerator": "h100-sxm"}},
        {"hardware": {"accelerator": "h100-sxm", "nodes": 2, "accelerators_per_node": 2}},
        {"hardware": {"accelerator": "v100-sxm-32"}, "precision": "fp16"},
        {"hardware": {"accelerator": "v100-sxm-32", "accelerators_per_node": 4}, "precision": "fp16"},
        {"hardware": {"accelerator": "h100-sxm"}, "precision": "fp8"},
        {"hardware": {"accelerator": "h100-sxm", "accelerators_per_node": 4}, "precision": "fp8"},
    ],
    "metrics": [{}, {"evaluation": {"metrics": ["perplexity"]}}, {"evaluation": {"metrics": ["bits_per_byte"]}}],
    "logging": [
        {},
        {"logging": {"tensorboard": True, "memory_history": True}},
        {"logging": {"wandb": {"project": "a"}, "profiler": {}}},
        {"logging": {"mlflow": {"experiment": "a"}}},
        {"logging": {"wandb": {"project": "a"}, "mlflow": {"experiment": "a"}, "profiler": {"start": 1}}},
    ],
    "launch": [
        {},
        {"launch": {"local": {}, "torchrun": {}}},
        {"launch": {"torchrun": {"rendezvous": "elastic"}}},
        {"launch": {"slurm": {"time": "1h"}}},
        {"launch": {"slurm": {"requeue": False, "container": {"kind": "pyxis", "image": "a b", "mounts": ["c"]}, "modules": ["m"]}}},
        {"launch": {"kubernetes": {"image": "a", "volume_claim": "b"}, "skypilot": {"volume": "a"}, "docker": {}}},
        {"launch": {"kubernetes": {"workload": "train_job", "image": "a", "volume_claim": "b", "storage": "1Gi"}}},
        {"launch": {"slurm": {"cpus_per_task": 2, "container": {"kind": "apptainer", "image": "a"}}, "environment": {"A": "it's"}}},
    ],
}


def pair(a: int, i: int, b: int, j: int) -> tuple[int, int, int, int]:
    return (a, i, b, j) if a < b else (b, j, a, i)


def pairwise_rows(seed: int = 0) -> list[tuple[int, ...]]:
    """Rows of choices in which every pair of choices of every two knobs occurs, built greedily from random candidates."""
    generator = random.Random(seed)
    sizes = [len(choices) for choices in KNOBS.values()]
    knobs = range(len(sizes))
    missing = {(a, i, b, j) for a, b in itertools.combinations(knobs, 2) for i in range(sizes[a]) for j in range(sizes[b])}
    rows = []
    while missing:
        a, i, b, j = min(missing)
        row: dict[int, int] = {a: i, b: j}
        for knob in generator.sample(knobs, len(sizes)):
            if knob not in row:
                gains = [sum(pair(knob, value, other, row[other]) in missing for other in row) for value in range(sizes[knob])]
                row[knob] = max(range(sizes[knob]), key=lambda value: (gains[value], generator.random()))
        complete = tuple(row[knob] for knob in knobs)
        rows.append(complete)
        missing -= {(a, complete[a], b, complete[b]) for a, b in itertools.combinations(knobs, 2)}
    return rows


# What LS378 and LS379 refuse there.
NOT_WITH_DEEPSPEED = (
    "optimizer.kind",
    "optimizer.nesterov",
    "optimizer.momentum",
    "optimizer.scaling",
    "optimizer.adamw",
    "optimizer.quantize",
    "checkpoint",
    "training.ema",
)


def combined(row: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    changes = [change for choices, index in zip(KNOBS.values(), row, strict=True) for change in choices[index].items()]
    if ("parallelism.engine", "deepspeed") in changes:
        refused = ("fp8", "fp16") if ("parallelism.zero_stage", 0) in changes else ("fp8",)  # LS376, LS370
        if ("parallelism.zero_stage", 3) in changes:
            changes.append(("training.compile", False))  # LS379
        if ("precision", "fp16") in changes:
            refused = (*refused, {"spike_sigma": 6.0})  # LS379
        changes = [(path, value) for path, value in changes if not path.startswith(NOT_WITH_DEEPSPEED) and value not in refused]
    yield from changes


@pytest.mark.parametrize("row", pairwise_rows(), ids=lambda row: "".join(map(str, row)))
def test_pairs(row: tuple[int, ...], compiler: Compiler) -> None:
    spec: dict[str, Any] = SMALL
    for path, value in combined(row):
        spec = changed(spec, {path: value})
    kind = spec["optimizer"].get("kind", "adamw")
    if kind not in ("adam", "adamw", "sgd") and "momentum" not in spec["optimizer"]:  # LS348
        spec = changed(spec, {"schedule": {name: value for name, value in spec["schedule"].items() if name != "momentum_at_peak"}})
    if kind in ("adafactor", "lamb", "soap", "adamw_8bit"):
        spec = changed(spec, {"parallelism.data": "ddp"})  # they need whole tensors
    project = compiler.render(spec)  # formats, compiles and looks for undefined and unused names
    for path, file in project.items():
        if path.endswith(".py"):
            too_long = [line for line in file.text.splitlines() if len(line) > 100]
            assert not too_long, f"{path}: {too_long}"
