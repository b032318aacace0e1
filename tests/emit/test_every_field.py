"""No field is accepted that nothing reads: each one, changed, changes the emitted files or the estimate."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmspec.cli.fields import all_fields
from llmspec.emit.render import render
from llmspec.lower import lower
from llmspec.spec.standalone import standalone_text
from tests.emit.conftest import SMALL, Compiler, changed

# Fields with one legal value today; they keep the place of what later versions build.
SINGLE_VALUE = {
    "llmspec",
    "architecture.kind",
    "objectives",
    "objectives.kind",
    # Read by the estimate and built step by step.
    "parallelism.tensor",
    "parallelism.sequence_parallel",
    "parallelism.pipeline",
    "parallelism.pipeline_schedule",
    "parallelism.stages_per_device",
    "parallelism.context",
    "parallelism.expert",
}
# Sections: their fields are what is read.
SECTIONS = {
    "architecture",
    "tokenizer",
    "data",
    "data.sources",
    "data.packing",
    "training.batch_size_warmup",
    "training.ema",
    "architecture.mup",
    "training",
    "training.guard",
    "optimizer",
    "schedule",
    "parallelism",
    "hardware",
    "checkpoint",
    "evaluation",
    "logging",
    "logging.wandb",
    "logging.mlflow",
    "logging.profiler",
    "generation",
    "launch",
    "architecture.attention",
    "architecture.feed_forward",
    "architecture.norm",
    "architecture.position",
    "architecture.position.scaling",
    "architecture.initialization",
}
A, P = "architecture.", "architecture.position"
JSONL = {"data.sources": [{"name": "a", "kind": "jsonl", "path": "a.jsonl"}, {"name": "b", "kind": "jsonl", "path": "b.jsonl"}]}
BOTH_WEIGHTS = {f"data.sources.{index}.weight": 1.0 for index in range(2)}
PRETRAINED = {
    "architecture.vocab_size": 1024,
    "tokenizer": {"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 1000, "add_eos": False},
}
YARN = {P: {"kind": "rope", "scaling": {"kind": "yarn", "factor": 2.0, "original_sequence_length": 32}}}
LLAMA3 = {P: {"kind": "rope", "scaling": {"kind": "llama3", "factor": 2.0, "original_sequence_length": 32}}}
WARMED_UP = ("constant", "step", "multi_step", "exponential", "linear", "polynomial", "inverse_sqrt", "cosine", "cosine_restarts", "wsd")
FOUR = {"hardware.accelerators_per_node": 4}
KUBERNETES = {"image": "run:1", "volume_claim": "run"}
PYXIS = {"kind": "pyxis", "image": "pytorch.sqsh"}
TOKENS = {"training.max_steps": None, "training.max_tokens": 102_400}
GROWING = {"training.batch_size_warmup": [{"until_tokens": 1024, "global_batch_size": 4}]}
ZERO3 = {"parallelism": {"engine": "deepspeed", "zero_stage": 3}}
WSD = {"schedule": {"kind": "wsd", "min_learning_rate": 1e-5}}
GROUPS = {"optimizer.groups": [{"pattern": "embed_*"}]}
ADAM = {"beta1": 0.8, "beta2": 0.98, "adam_eps": 1e-5}
# Every field of every optimizer but the default one, with another value.
KINDS: dict[str, dict[str, Any]] = {
    "adam": {**ADAM, "weight_decay": 0.01},
    "sgd": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    "rmsprop": {"beta2": 0.98, "momentum": 0.8, "rms_eps": 1e-6, "weight_decay": 0.01},
    "adafactor": {"decay_exponent": 0.7, "clip_threshold": 2.0, "rms_eps": 1e-12, "min_scale": 1e-4, "weight_decay": 0.01},
    "lamb": {**ADAM, "weight_decay": 0.02},
    "lion": {"beta1": 0.8, "beta2": 0.98},
    "muon": {
        **ADAM,
        "momentum": 0.8,
        "nesterov": False,
        "newton_schulz_steps": 6,
        "scaling": "spectral",
        "adamw_learning_rate_scale": 0.1,
    },
    "soap": {**ADAM, "precondition_every": 5, "max_precondition_size": 100},
    "schedule_free_adamw": {**ADAM, "average_power": 1.0},
    "adamw_8bit": {**ADAM, "block_size": 128, "quantize_embeddings": True},
}


def scaled(kind: str, factor: float) -> dict[str, Any]:
    more = {"original_sequence_length": 32} if kind in ("yarn", "llama3") else {}
    return {"kind": "rope", "scaling": {"kind": kind, "factor": factor, **more}}


# Path, what is changed beforehand so that the field counts, and the change.
CASES: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("name", {}, {"name": "other"}),
    ("description", {}, {"description": "What it is for."}),
    ("preset", {"architecture": {}, "preset": "gpt2"}, {"preset": "gpt2-medium"}),
    ("seed", {}, {"seed": 7}),
    ("architecture.preset", {"architecture": {"preset": "gpt2"}}, {"architecture.preset": "gpt2-medium"}),
    ("architecture.vocab_size", {}, {A + "vocab_size": 640}),
    ("architecture.hidden_size", {}, {A + "hidden_size": 128}),
    ("architecture.num_layers", {}, {A + "num_layers": 3}),
    ("architecture.attention.kind", {}, {A + "attention": {"kind": "mha", "num_heads": 4}}),
    ("architecture.attention.kind", {}, {A + "attention": {"kind": "mqa", "num_heads": 4}}),
    ("architecture.attention.num_heads", {}, {A + "attention.num_heads": 8}),
    ("architecture.attention.num_kv_heads", {}, {A + "attention.num_kv_heads": 1}),
    ("architecture.attention.head_dim", {}, {A + "attention.head_dim": 32}),
    ("architecture.attention.qkv_bias", {}, {A + "attention.qkv_bias": True}),
    ("architecture.attention.output_bias", {}, {A + "attention.output_bias": True}),
    ("architecture.attention.qk_norm", {}, {A + "attention.qk_norm": "per_head"}),
    ("architecture.attention.qk_norm", {A + "attention.qk_norm": "per_head"}, {A + "attention.qk_norm": "all_heads"}),
    ("architecture.attention.window", {}, {A + "attention.window": 32}),
    ("architecture.attention.window", {A + "attention.window": 32}, {A + "attention.window": [32, "full"]}),
    ("architecture.attention.logit_softcap", {}, {A + "attention.logit_softcap": 50.0}),
    ("architecture.attention.logit_softcap", {A + "attention.logit_softcap": 50.0}, {A + "attention.logit_softcap": 30.0}),
    ("architecture.attention.dropout", {}, {A + "attention.dropout": 0.1}),
    ("architecture.feed_forward.kind", {}, {A + "feed_forward": {"kind": "geglu"}}),
    ("architecture.feed_forward.kind", {A + "feed_forward": {"kind": "gelu"}}, {A + "feed_forward.kind": "relu"}),
    ("architecture.feed_forward.kind", {A + "feed_forward": {"kind": "relu"}}, {A + "feed_forward.kind": "relu_squared"}),
    ("architecture.feed_forward.ffn_hidden_size", {}, {A + "feed_forward": {"kind": "swiglu", "ffn_hidden_size": 128}}),
    ("architecture.feed_forward.bias", {}, {A + "feed_forward": {"kind": "swiglu", "bias": True}}),
    ("architecture.feed_forward.approximate", {A + "feed_forward": {"kind": "gelu"}}, {A + "feed_forward.approximate": "tanh"}),
    ("architecture.feed_forward.approximate", {A + "feed_forward": {"kind": "geglu"}}, {A + "feed_forward.approximate": "tanh"}),
    ("architecture.norm.kind", {}, {A + "norm": {"kind": "layernorm"}}),
    ("architecture.norm.bias", {A + "norm": {"kind": "layernorm"}}, {A + "norm.bias": False}),
    *[("architecture.norm.placement", {}, {A + "norm": {"kind": "rmsnorm", "placement": p}}) for p in ("post", "sandwich", "reordered")],
    ("architecture.norm.eps", {}, {A + "norm": {"kind": "rmsnorm", "eps": 1e-6}}),
    *[("architecture.position.kind", {}, {P: {"kind": kind}}) for kind in ("learned", "sinusoidal", "alibi", "none")],
    ("architecture.position.theta", {}, {P: {"kind": "rope", "theta": 500_000}}),
    *[("architecture.position.scaling.kind", {}, {P: scaled(kind, 2.0)}) for kind in ("linear", "ntk", "yarn", "llama3")],
    *[
        ("architecture.position.scaling.factor", {P: scaled(kind, 2.0)}, {P: scaled(kind, 4.0)})
        for kind in ("linear", "ntk", "yarn", "llama3")
    ],
    ("architecture.position.scaling.original_sequence_length", YARN, {P + ".scaling.original_sequence_length": 16}),
    ("architecture.position.scaling.original_sequence_length", LLAMA3, {P + ".scaling.original_sequence_length": 16}),
    ("architecture.position.scaling.beta_fast", YARN, {P + ".scaling.beta_fast": 16.0}),
    ("architecture.position.scaling.beta_slow", YARN, {P + ".scaling.beta_slow": 2.0}),
    ("architecture.position.scaling.low_frequency_factor", LLAMA3, {P + ".scaling.low_frequency_factor": 2.0}),
    ("architecture.position.scaling.high_frequency_factor", LLAMA3, {P + ".scaling.high_frequency_factor": 8.0}),
    ("architecture.position.num_positions", {P: {"kind": "learned"}}, {P + ".num_positions": 128}),
    ("architecture.position.num_positions", {P: {"kind": "sinusoidal"}}, {P + ".num_positions": 128}),
    ("architecture.parallel_residual", {}, {A + "parallel_residual": True}),
    ("architecture.tie_embeddings", {}, {A + "tie_embeddings": True}),
    ("architecture.dropout", {}, {A + "dropout": 0.1}),
    ("architecture.logit_softcap", {}, {A + "logit_softcap": 30.0}),
    ("architecture.initialization.kind", {}, {A + "initialization": {"kind": "truncated_normal"}}),
    ("architecture.initialization.std", {}, {A + "initialization": {"std": 0.01}}),
    ("architecture.initialization.depth_scaled", {}, {A + "initialization": {"depth_scaled": False}}),
    ("architecture.mup.base_hidden_size", {A + "mup": {"base_hidden_size": 32}}, {A + "mup.base_hidden_size": 16}),
    ("architecture.mup.base_head_dim", {A + "mup": {"base_hidden_size": 32}}, {A + "mup.base_head_dim": 8}),
    ("tokenizer.kind", {}, {"tokenizer.kind": "unigram"}),
    ("tokenizer.kind", {}, {"tokenizer": {"kind": "byte"}}),
    ("tokenizer.kind", {}, {"tokenizer.kind": "char"}),
    ("tokenizer.kind", {"architecture.vocab_size": 1024}, {"tokenizer": PRETRAINED["tokenizer"]}),
    ("tokenizer.add_bos", {}, {"tokenizer.add_bos": True}),
    ("tokenizer.add_eos", {"tokenizer.add_bos": True}, {"tokenizer.add_eos": False}),
    ("tokenizer.vocab_size", {}, {"tokenizer.vocab_size": 600}),
    ("tokenizer.vocab_size", {"tokenizer": {"kind": "char", "vocab_size": 100}}, {"tokenizer.vocab_size": 120}),
    ("tokenizer.vocab_size", PRETRAINED, {"tokenizer.vocab_size": 900}),
    ("tokenizer.byte_fallback", {}, {"tokenizer.byte_fallback": False}),
    ("tokenizer.character_coverage", {}, {"tokenizer.character_coverage": 0.99}),
    ("tokenizer.normalization", {}, {"tokenizer.normalization": "nfkc"}),
    ("tokenizer.split_digits", {}, {"tokenizer.split_digits": False}),
    ("tokenizer.max_training_bytes", {}, {"tokenizer.max_training_bytes": "10M"}),
    ("tokenizer.path", PRETRAINED, {"tokenizer.path": "other.json"}),
    ("tokenizer.bos_token", {**PRETRAINED, "tokenizer.add_bos": True, "tokenizer.bos_token": "<s>"}, {"tokenizer.bos_token": "<b>"}),
    ("tokenizer.eos_token", {**PRETRAINED, "tokenizer.add_eos": True, "tokenizer.eos_token": "</s>"}, {"tokenizer.eos_token": "<e>"}),
    ("data.sources.kind", JSONL, {"data.sources.0.kind": "parquet"}),
    ("data.sources.kind", JSONL, {"data.sources.0.kind": "text"}),
    ("data.sources.kind", JSONL, {"data.sources.0": {"name": "a", "kind": "python_stdlib"}}),
    ("data.sources.name", {}, {"data.sources.0.name": "other"}),
    ("data.sources.weight", {**JSONL, **BOTH_WEIGHTS}, {"data.sources.0.weight": 3.0}),
    ("data.sources.path", JSONL, {"data.sources.0.path": ["c.jsonl", "d/*.jsonl.gz"]}),
    ("data.sources.document", {"data.sources.0": {"name": "a", "kind": "text", "path": "a.txt"}}, {"data.sources.0.document": "line"}),
    ("data.sources.document", {"data.sources.0": {"name": "a", "kind": "text", "path": "a.txt"}}, {"data.sources.0.document": "paragraph"}),
    ("data.sources.text_field", JSONL, {"data.sources.0.text_field": "content"}),
    (
        "data.sources.text_field",
        {"data.sources.0": {"name": "a", "kind": "parquet", "path": "a.parquet"}},
        {"data.sources.0.text_field": "content"},
    ),
    ("data.validation_fraction", {}, {"data.validation_fraction": 0.05}),
    ("data.validation_fraction", {}, {"data.validation_fraction": 0.0}),
    ("data.packing.document_mask", {}, {"data.packing": {"document_mask": False}}),
    ("objectives.z_loss", {}, {"objectives": [{"kind": "causal_lm", "z_loss": 1e-4}]}),
    ("training.sequence_length", {}, {"training.sequence_length": 128}),
    ("training.global_batch_size", {}, {"training.global_batch_size": 16}),
    *[
        ("training.global_batch_size", TOKENS, {"training.global_batch_size": law})
        for law in ("auto", "step_law", "deepseek_llm", "olmo_ladder")
    ],
    ("training.micro_batch_size", {}, {"training.micro_batch_size": 4}),
    ("training.batch_size_warmup.until_tokens", GROWING, {"training.batch_size_warmup.0.until_tokens": 2048}),
    ("training.batch_size_warmup.global_batch_size", GROWING, {"training.batch_size_warmup.0.global_batch_size": 2}),
    ("training.ema.decay", {"training.ema": {}}, {"training.ema.decay": 0.99}),
    ("training.ema.every", {"training.ema": {}}, {"training.ema.every": 7}),
    ("training.max_steps", {}, {"training.max_steps": 200}),
    ("training.max_tokens", {"training.max_steps": None, "training.max_tokens": 51_200}, {"training.max_tokens": 102_400}),
    ("training.max_duration", {}, {"training.max_duration": "1h"}),
    ("training.max_grad_norm", {}, {"training.max_grad_norm": 0.5}),
    ("training.max_grad_norm", {}, {"training.max_grad_norm": "none"}),
    ("training.compile", {}, {"training.compile": True}),
    *[("optimizer.kind", {}, {"optimizer.kind": kind}) for kind in KINDS],
    ("optimizer.layer_decay", {}, {"optimizer.layer_decay": 0.9}),
    ("optimizer.layer_decay", {"optimizer.layer_decay": 0.9}, {"optimizer.layer_decay": 0.8}),
    ("optimizer.groups", {}, {"optimizer.groups": [{"pattern": "embed_*"}]}),
    ("optimizer.groups.pattern", GROUPS, {"optimizer.groups.0.pattern": "layers.*"}),
    ("optimizer.groups.learning_rate_scale", GROUPS, {"optimizer.groups.0.learning_rate_scale": 0.5}),
    ("optimizer.groups.weight_decay", GROUPS, {"optimizer.groups.0.weight_decay": 0.0}),
    *[
        (f"optimizer.{field}", {"optimizer.kind": kind}, {f"optimizer.{field}": value})
        for kind, fields in KINDS.items()
        for field, value in fields.items()
    ],
    ("optimizer.learning_rate", {}, {"optimizer.learning_rate": 2e-3}),
    *[
        ("optimizer.learning_rate", {"optimizer.learning_rate": "auto"}, {"optimizer.learning_rate": law})
        for law in ("deepseek_llm", "olmo_ladder")
    ],
    ("optimizer.beta1", {}, {"optimizer.beta1": 0.8}),
    ("optimizer.beta2", {}, {"optimizer.beta2": 0.99}),
    ("optimizer.adam_eps", {}, {"optimizer.adam_eps": 1e-6}),
    ("optimizer.weight_decay", {}, {"optimizer.weight_decay": 0.01}),
    ("optimizer.decay_embeddings", {}, {"optimizer.decay_embeddings": False}),
    *[("schedule.kind", {}, {"schedule": {"kind": kind}}) for kind in (*WARMED_UP, "cyclical", "one_cycle") if kind != "cosine"],
    *[("schedule.warmup_steps", {"schedule": {"kind": kind}}, {"schedule.warmup_steps": 7}) for kind in WARMED_UP],
    *[
        ("schedule.min_learning_rate", {"schedule": {"kind": kind}}, {"schedule.min_learning_rate": 2e-6})
        for kind in ("exponential", "linear", "polynomial", "cosine", "cosine_restarts", "wsd", "cyclical", "one_cycle")
    ],
    ("schedule.decay_fraction", WSD, {"schedule.decay_fraction": 0.3}),
    ("schedule.decay_shape", WSD, {"schedule.decay_shape": "cosine"}),
    ("schedule.decay_shape", WSD, {"schedule.decay_shape": "one_minus_sqrt"}),
    ("schedule.decay_every", {"schedule": {"kind": "step"}}, {"schedule.decay_every": 20}),
    *[("schedule.decay_factor", {"schedule": {"kind": kind}}, {"schedule.decay_factor": 0.5}) for kind in ("step", "multi_step")],
    ("schedule.decay_at", {"schedule": {"kind": "multi_step"}}, {"schedule.decay_at": [0.5]}),
    ("schedule.power", {"schedule": {"kind": "polynomial"}}, {"schedule.power": 3.0}),
    ("schedule.timescale", {"schedule": {"kind": "inverse_sqrt"}}, {"schedule.timescale": 30}),
    ("schedule.cycle_steps", {"schedule": {"kind": "cosine_restarts"}}, {"schedule.cycle_steps": 33}),
    ("schedule.cycle_growth", {"schedule": {"kind": "cosine_restarts"}}, {"schedule.cycle_growth": 2}),
    ("schedule.rise_steps", {"schedule": {"kind": "cyclical"}}, {"schedule.rise_steps": 25}),
    ("schedule.fall_steps", {"schedule": {"kind": "cyclical", "rise_steps": 5}}, {"schedule.fall_steps": 20}),
    ("schedule.cycle_shape", {"schedule": {"kind": "cyclical"}}, {"schedule.cycle_shape": "triangular2"}),
    ("schedule.momentum_at_peak", {"schedule": {"kind": "one_cycle"}}, {"schedule.momentum_at_peak": 0.8}),
    ("schedule.momentum_at_peak", {"schedule": {"kind": "cyclical"}, "optimizer.kind": "sgd"}, {"schedule.momentum_at_peak": 0.8}),
    ("schedule.rise_fraction", {"schedule": {"kind": "one_cycle"}}, {"schedule.rise_fraction": 0.1}),
    ("schedule.anneal_shape", {"schedule": {"kind": "one_cycle"}}, {"schedule.anneal_shape": "linear"}),
    ("schedule.initial_learning_rate", {"schedule": {"kind": "one_cycle"}}, {"schedule.initial_learning_rate": 1e-4}),
    ("precision", {"hardware.accelerator": "h100-sxm"}, {"precision": "fp32"}),
    ("precision", {"hardware.accelerator": "v100-sxm-32", "precision": "fp32"}, {"precision": "fp16"}),
    ("precision", {"hardware.accelerator": "h100-sxm"}, {"precision": "fp8"}),
    ("training.fp8_recipe", {"hardware.accelerator": "h100-sxm", "precision": "fp8"}, {"training.fp8_recipe": "rowwise"}),
    ("parallelism.data", FOUR, {"parallelism.data": "fsdp"}),
    ("parallelism.data", FOUR, {"parallelism.data": "hsdp"}),
    ("parallelism.shard_size", FOUR | {"parallelism.data": "hsdp"}, {"parallelism.shard_size": 2}),
    ("parallelism.reshard_after_forward", FOUR | {"parallelism.data": "fsdp"}, {"parallelism.reshard_after_forward": False}),
    ("parallelism.collective_timeout", FOUR, {"parallelism.collective_timeout": "5m"}),
    ("parallelism.activation_checkpointing", {}, {"parallelism": {"activation_checkpointing": "selective"}}),
    ("parallelism.activation_checkpointing", {}, {"parallelism": {"activation_checkpointing": "full"}}),
    ("parallelism.engine", {}, {"parallelism.engine": "deepspeed"}),
    ("parallelism.offload", ZERO3, {"parallelism.offload": {"optimizer": "cpu"}}),
    ("parallelism.offload.optimizer", ZERO3, {"parallelism.offload": {"optimizer": "cpu"}}),
    ("parallelism.offload.parameters", ZERO3, {"parallelism.offload": {"parameters": "cpu"}}),
    (
        "parallelism.offload.nvme_path",
        ZERO3 | {"parallelism.offload": {"optimizer": "nvme", "parameters": "nvme", "nvme_path": "/a"}},
        {"parallelism.offload.nvme_path": "/b"},
    ),
    ("parallelism.deepspeed_optimizer", ZERO3, {"parallelism.deepspeed_optimizer": True}),
    ("parallelism.deepspeed_optimizer", ZERO3 | {"optimizer.kind": "lion"}, {"parallelism.deepspeed_optimizer": True}),
    *[("parallelism.zero_stage", {"parallelism.engine": "deepspeed"}, {"parallelism.zero_stage": stage}) for stage in (0, 2, 3)],
    ("hardware.accelerator", {}, {"hardware.accelerator": "h100-sxm"}),
    (
        "hardware.host_memory_gib",
        ZERO3 | {"parallelism.offload": {"optimizer": "cpu"}, "hardware.host_memory_gib": 64.0},
        {"hardware.host_memory_gib": 128.0},
    ),
    ("hardware.nodes", {}, {"hardware.nodes": 2}),
    ("hardware.accelerators_per_node", {}, {"hardware.accelerators_per_node": 2}),
    ("hardware.region", {}, {"hardware.region": "france"}),
    ("hardware.price", {"hardware.accelerator": "h100-sxm"}, {"hardware.price": "spot"}),
    ("hardware.price", {}, {"hardware.price": 1.5}),
    ("checkpoint.every", {}, {"checkpoint": {"every": 7}}),
    ("checkpoint.keep", {}, {"checkpoint": {"keep": 7}}),
    ("training.guard.spike_sigma", {}, {"training.guard": {"spike_sigma": 6.0}}),
    ("training.guard.window", {}, {"training.guard": {"window": 64}}),
    ("training.guard.max_skipped_steps", {}, {"training.guard": {"max_skipped_steps": 0}}),
    ("checkpoint.keep_every", {}, {"checkpoint": {"keep_every": 7}}),
    ("checkpoint.asynchronous", {}, {"checkpoint": {"asynchronous": True}}),
    ("checkpoint.asynchronous", {"hardware.accelerators_per_node": 2}, {"checkpoint": {"asynchronous": True}}),
    ("evaluation.every", {}, {"evaluation": {"every": 7}}),
    ("evaluation.metrics", {}, {"evaluation": {"metrics": ["perplexity"]}}),
    ("evaluation.metrics", {}, {"evaluation": {"metrics": ["bits_per_byte"]}}),
    ("evaluation.max_tokens", {}, {"evaluation": {"max_tokens": 4096}}),
    ("logging.every", {}, {"logging": {"every": 7}}),
    ("logging.tensorboard", {}, {"logging": {"tensorboard": True}}),
    ("logging.wandb.project", {"logging": {"wandb": {"project": "a"}}}, {"logging.wandb.project": "b"}),
    ("logging.wandb.entity", {"logging": {"wandb": {"project": "a"}}}, {"logging.wandb.entity": "b"}),
    ("logging.wandb.name", {"logging": {"wandb": {"project": "a"}}}, {"logging.wandb.name": "b"}),
    ("logging.wandb.mode", {"logging": {"wandb": {"project": "a"}}}, {"logging.wandb.mode": "offline"}),
    ("logging.mlflow.experiment", {"logging": {"mlflow": {"experiment": "a"}}}, {"logging.mlflow.experiment": "b"}),
    ("logging.mlflow.tracking_uri", {"logging": {"mlflow": {"experiment": "a"}}}, {"logging.mlflow.tracking_uri": "http://b"}),
    ("logging.profiler.start", {"logging": {"profiler": {}}}, {"logging.profiler.start": 7}),
    ("logging.profiler.steps", {"logging": {"profiler": {}}}, {"logging.profiler.steps": 7}),
    ("logging.memory_history", {"hardware.accelerator": "h100-sxm"}, {"logging": {"memory_history": True}}),
    ("generation.prompts", {}, {"generation": {"prompts": ["def "]}}),
    ("generation.max_new_tokens", {}, {"generation": {"max_new_tokens": 7}}),
    ("generation.temperature", {}, {"generation": {"temperature": 0.5}}),
    ("generation.top_k", {}, {"generation": {"top_k": 40}}),
    ("generation.top_p", {}, {"generation": {"top_p": 0.9}}),
    ("launch.local", {"launch": {"torchrun": {}}}, {"launch.local": {}}),
    ("launch.torchrun", {"launch": {"local": {}}}, {"launch.torchrun": {}}),
    ("launch.torchrun.rendezvous", {"launch": {"torchrun": {}}}, {"launch.torchrun.rendezvous": "elastic"}),
    ("launch.torchrun.max_restarts", {"launch": {"torchrun": {"rendezvous": "elastic"}}}, {"launch.torchrun.max_restarts": 5}),
    ("launch.slurm", {"launch": {"local": {}}}, {"launch.slurm": {}}),
    ("launch.deepspeed", ZERO3 | {"launch": {"local": {}}}, {"launch.deepspeed": {}}),
    ("launch.deepspeed.port", ZERO3 | {"launch": {"deepspeed": {}}}, {"launch.deepspeed.port": 29_501}),
    *[
        (f"launch.slurm.{name}", {"launch": {"slurm": {}}}, {f"launch.slurm.{name}": value})
        for name, value in {
            "partition": "gpu",
            "account": "physics",
            "qos": "high",
            "constraint": "h100&nvlink",
            "reservation": "night",
            "time": "36h",
            "gres": "gpu:h100:1",
            "cpus_per_task": 8,
            "memory": "64G",
            "exclusive": True,
            "requeue": False,
            "output": "%x-%j.out",
            "modules": ["cuda/12.8"],
            "setup": ["source .venv/bin/activate"],
            "container": PYXIS,
            "options": ["--mail-type=END"],
        }.items()
    ],
    ("launch.slurm.container.kind", {"launch": {"slurm": {"container": PYXIS}}}, {"launch.slurm.container.kind": "apptainer"}),
    ("launch.slurm.container.image", {"launch": {"slurm": {"container": PYXIS}}}, {"launch.slurm.container.image": "other"}),
    ("launch.slurm.container.mounts", {"launch": {"slurm": {"container": PYXIS}}}, {"launch.slurm.container.mounts": ["/data:/data"]}),
    ("launch.kubernetes", {"launch": {"local": {}}}, {"launch.kubernetes": KUBERNETES}),
    *[
        (f"launch.kubernetes.{name}", {"launch": {"kubernetes": KUBERNETES}}, {f"launch.kubernetes.{name}": value})
        for name, value in {
            "workload": "train_job",
            "image": "other",
            "volume_claim": "other",
            "storage": "500Gi",
            "namespace": "training",
            "cpus": 8,
            "memory": "64Gi",
            "shared_memory": "16Gi",
            "node_selector": {"zone": "a"},
            "image_pull_secret": "registry",
            "max_restarts": 5,
        }.items()
    ],
    (
        "launch.kubernetes.storage_class",
        {"launch": {"kubernetes": KUBERNETES | {"storage": "1Gi"}}},
        {"launch.kubernetes.storage_class": "fast"},
    ),
    ("launch.skypilot", {"launch": {"local": {}}}, {"launch.skypilot": {}}),
    *[
        (f"launch.skypilot.{name}", {"launch": {"skypilot": {"bucket": "s3://a"}}}, {f"launch.skypilot.{name}": value})
        for name, value in {
            "accelerators": "H100:1",
            "infra": "aws",
            "use_spot": True,
            "cpus": "8+",
            "memory": "64+",
            "disk_size": 512,
            "bucket": "s3://b",
            "setup": ["echo"],
            "max_restarts": 5,
        }.items()
    ],
    ("launch.skypilot.volume", {"launch": {"skypilot": {}}}, {"launch.skypilot.volume": "a"}),
    ("launch.docker", {"launch": {"local": {}}}, {"launch.docker": {}}),
    ("launch.docker.base", {"launch": {"docker": {}}}, {"launch.docker.base": "python:3.13.5-slim"}),
    ("launch.environment", {"launch": {"slurm": {}}}, {"launch.environment": {"NCCL_DEBUG": "WARN"}}),
    ("launch.grace_period", {"launch": {"slurm": {}}}, {"launch.grace_period": "5m"}),
    ("launch.torchrun.port", {"launch": {"torchrun": {}}}, {"launch.torchrun.port": 29_501}),
]


def outcome(compiler: Compiler, spec: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """All that a user gets of a spec, but for the copies of the spec itself. Not formatted: that takes the most time."""
    analysis = compiler.analyze(spec)
    text = standalone_text(analysis.composed)
    plan = lower(analysis.resolved, analysis.network, analysis.estimate, text, compiler.directory / "project")
    project = render(plan)
    return {path: file for path, file in project.items() if not path.startswith("spec.")}, json.dumps(analysis.estimate.to_json())


@pytest.mark.parametrize(("path", "before", "change"), CASES, ids=[f"{path}-{index}" for index, (path, _, _) in enumerate(CASES)])
def test_field_is_read(path: str, before: Mapping[str, Any], change: Mapping[str, Any], compiler: Compiler) -> None:
    base = changed(SMALL, before)
    assert outcome(compiler, base) != outcome(compiler, changed(base, change))


def test_a_file_of_prices_is_read_and_not_needed_afterwards(compiler: Compiler) -> None:
    (compiler.directory / "prices.yaml").write_text("cpu: {quotes: [{provider: cellar, on_demand: 0.5}]}")
    priced = changed(SMALL, {"hardware.prices": "prices.yaml"})
    assert outcome(compiler, SMALL) != outcome(compiler, priced)
    assert "prices" not in standalone_text(compiler.analyze(priced).composed)


def test_extends_is_read(compiler: Compiler) -> None:
    (compiler.directory / "wider.yaml").write_text("architecture: {hidden_size: 128}")
    spec = changed(SMALL, {})
    del spec["architecture"]["hidden_size"]
    narrow = outcome(compiler, changed(spec, {"architecture.hidden_size": 64}))
    assert outcome(compiler, changed(spec, {"extends": "wider.yaml"})) != narrow


def test_every_field_has_a_case() -> None:
    """A new field of the language needs a line above."""
    known = {field.path for field in all_fields()}
    tested = {path for path, _, _ in CASES} | {"extends", "hardware.prices"}
    assert tested <= known
    assert known - tested == SINGLE_VALUE | SECTIONS
