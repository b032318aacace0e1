"""Carry weights to and from Hugging Face transformers, as GPT2LMHeadModel.

    python export.py                                the newest checkpoint, to run/hugging_face
    python export.py --checkpoint DIR --output DIR  a certain checkpoint, to a certain directory
    python export.py --import DIR                   a Hugging Face model, to run/imported

`transformers.AutoModelForCausalLM.from_pretrained` loads what is written. An imported model can be
given to evaluate.py and generate.py as their --checkpoint, and to train.py as its --start-from.
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from checkpoint import find_latest, load_model
from config import ModelConfig, TrainingConfig
from model import Transformer
from tokenizer import load_tokenizer

# What a model may differ in and still be the same network.
IRRELEVANT = {
    "architectures",
    "dtype",
    "initializer_range",
    "n_ctx",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
}


def take(tensors: dict[str, Tensor], name: str) -> Tensor:
    """Remove and return a tensor."""
    if name not in tensors:
        raise ValueError(f"the model to import has no `{name}`")
    return tensors.pop(name)


MODULES = {
    "embed_tokens": "wte",
    "embed_positions": "wpe",
    "norm": "ln_f",
    "input_layernorm": "ln_1",
    "self_attn.o_proj": "attn.c_proj",
    "post_attention_layernorm": "ln_2",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}
PARTS = ("q_proj", "k_proj", "v_proj")  # what GPT-2 fuses into c_attn


def describe_model(config: ModelConfig, sequence_length: int) -> dict[str, Any]:
    """config.json: the same network in Hugging Face's words."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_embd": config.hidden_size,
        "n_inner": config.ffn_hidden_size,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_positions": config.num_positions,
        "n_ctx": sequence_length,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": True,
        "initializer_range": config.init_std,
        "dtype": "float32",
    }


def rename(name: str) -> str:
    """Hugging Face's name of a weight that is one tensor there too."""
    module, _, tensor = name.rpartition(".")
    if not module.startswith("layers."):
        return f"transformer.{MODULES[module]}.{tensor}"
    _, layer, module = module.split(".", 2)
    return f"transformer.h.{layer}.{MODULES[module]}.{tensor}"


def transposed(name: str) -> bool:
    """Whether GPT-2's Conv1D stores a matrix the other way round than nn.Linear."""
    return name.endswith("_proj.weight")


def to_hugging_face(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under Hugging Face's names; query, key and value projections become one."""
    tensors = {}
    for name, weight in weights.items():
        if ".self_attn.q_proj." in name:
            _, layer, _, _, kind = name.split(".")
            fused = torch.cat([weights[name.replace("q_proj", part)] for part in PARTS])
            key = f"transformer.h.{layer}.attn.c_attn.{kind}"
            tensors[key] = fused.T.contiguous() if transposed(name) else fused
        elif ".self_attn.o_proj." in name or ".self_attn." not in name:
            tensors[rename(name)] = weight.T.contiguous() if transposed(name) else weight
    return tensors


def from_hugging_face(tensors: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The weights of this project's model, by its own names."""
    for key in list(tensors):
        # The first GPT-2 checkpoints have no prefix, and carry their causal masks.
        if key.endswith((".attn.bias", ".attn.masked_bias")):
            del tensors[key]
        elif not key.startswith(("transformer.", "lm_head.")):
            tensors[f"transformer.{key}"] = tensors.pop(key)
    tensors.pop("lm_head.weight", None)  # the same as the embedding
    weights = {}
    for name in names:
        if ".self_attn.q_proj." in name:
            _, layer, _, _, kind = name.split(".")
            fused = take(tensors, f"transformer.h.{layer}.attn.c_attn.{kind}")
            values = (fused.T if transposed(name) else fused).chunk(3)
            for part, value in zip(PARTS, values, strict=True):
                weights[name.replace("q_proj", part)] = value.contiguous()
        elif ".self_attn.o_proj." in name or ".self_attn." not in name:
            tensor = take(tensors, rename(name))
            weights[name] = tensor.T.contiguous() if transposed(name) else tensor
    return weights


def write_model(
    model: Transformer, config: ModelConfig, output: Path, **special: int | None
) -> None:
    """Write config.json and the weights."""
    output.mkdir(parents=True, exist_ok=True)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    save_file(to_hugging_face(weights), output / "model.safetensors", metadata={"format": "pt"})
    write_json(
        output / "config.json", describe_model(config, TrainingConfig().sequence_length) | special
    )
    write_json(output / "generation_config.json", special)


def export_model(checkpoint: Path, output: Path, data_dir: Path) -> None:
    """Write a checkpoint as a Hugging Face model, and the tokenizer if it is a tokenizer.json."""
    model = Transformer(ModelConfig())
    load_model(model, checkpoint)
    tokenizer = load_tokenizer(data_dir)
    write_model(
        model,
        ModelConfig(),
        output,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
    )
    if (data_dir / "tokenizer" / "tokenizer.json").exists():
        shutil.copy(data_dir / "tokenizer" / "tokenizer.json", output)
        write_json(output / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


def import_model(source: Path, output: Path) -> None:
    """Write the weights of a Hugging Face model as those of this project's model."""
    compare(json.loads((source / "config.json").read_text()), ModelConfig())
    with torch.device("meta"):
        shapes = {
            name: weight.shape for name, weight in Transformer(ModelConfig()).named_parameters()
        }
    tensors = read_tensors(source)
    weights = from_hugging_face(tensors, shapes)
    # Old checkpoints carry the rotary frequencies, which follow from config.json.
    unknown = sorted(name for name in tensors if not name.endswith("rotary_emb.inv_freq"))
    if unknown:
        raise ValueError(f"the model to import has `{unknown[0]}`, which this model has not")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            there = tuple(weights[name].shape)
            raise ValueError(f"`{name}` is {there} in the model to import and {tuple(shape)} here")
    output.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.float().contiguous() for name, weight in weights.items()}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})


def read_tensors(source: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face model, from one file or from several."""
    index = source / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif (source / "model.safetensors").exists():
        files = ["model.safetensors"]
    else:
        raise ValueError(f"{source} has neither model.safetensors nor model.safetensors.index.json")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= load_file(source / file)
    return tensors


def compare(theirs: dict[str, Any], config: ModelConfig) -> None:
    """Make sure that a Hugging Face configuration describes this project's network."""
    ours = describe_model(config, TrainingConfig().sequence_length)
    for name, value in ours.items():
        if name not in IRRELEVANT and name in theirs and theirs[name] != value:
            raise ValueError(
                f"the model to import is another network: `{name}` is {theirs[name]!r} there and "
                f"{value!r} here"
            )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, without the entries that are None."""
    kept = {name: entry for name, entry in value.items() if entry is not None}
    path.write_text(json.dumps(kept, indent=2) + "\n")


def main() -> None:
    """Export a checkpoint, or import a model."""
    parser = argparse.ArgumentParser(description="To and from Hugging Face transformers.")
    parser.add_argument("--import", dest="source", type=Path, help="a Hugging Face model to import")
    parser.add_argument("--checkpoint", type=Path, help="default: the newest in --output-dir")
    parser.add_argument("--output", type=Path, help="directory to write")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output-dir", type=Path, default=Path("run"), help="where train.py wrote")
    args = parser.parse_args()
    if args.source is not None:
        output = args.output or args.output_dir / "imported"
        import_model(args.source, output)
    else:
        checkpoint = args.checkpoint or find_latest(args.output_dir)
        if checkpoint is None:
            parser.error(f"{args.output_dir} holds no checkpoint: run train.py first")
        output = args.output or args.output_dir / "hugging_face"
        export_model(checkpoint, output, args.data_dir)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
