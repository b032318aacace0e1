"""One contender of the training benchmark: build the model, run the common loop, print one line of JSON.

    python tests/bench/contender.py {emitted,transformers,litgpt} SHAPE PRECISION [--project DIR] [--steps N]

All contenders train a model of the same shape on the same random tokens with the same loop: forward, cross-entropy, backward,
clipping, fused AdamW. Each runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

SHAPES = {
    "quickstart": {
        "family": "llama", "vocab_size": 4096, "hidden_size": 256, "num_layers": 6, "num_heads": 8, "num_kv_heads": 4,
        "ffn_hidden_size": 704, "sequence_length": 256, "micro_batch_size": 8,
    },
    "gpt2-124m": {
        "family": "gpt2", "vocab_size": 50257, "hidden_size": 768, "num_layers": 12, "num_heads": 12, "num_kv_heads": 12,
        "ffn_hidden_size": 3072, "sequence_length": 512, "micro_batch_size": 2,
    },
}  # fmt: skip
StepLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def emitted(shape: dict, project: str) -> tuple[nn.Module, StepLoss]:
    """The emitted project's own model and loss."""
    sys.path.insert(0, project)
    import data
    import objectives
    from config import ModelConfig
    from model import Transformer

    model = Transformer(ModelConfig())
    model.init_weights(torch.Generator().manual_seed(0))

    def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return objectives.loss(model, data.Batch(tokens=tokens, targets=targets), targets.numel())

    return model, loss


def transformers(shape: dict, _: str) -> tuple[nn.Module, StepLoss]:
    """Hugging Face's implementation with its default attention (SDPA) and its own loss."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if shape["family"] == "gpt2":
        model: nn.Module = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=shape["vocab_size"], n_positions=1024, n_embd=shape["hidden_size"], n_layer=shape["num_layers"],
                n_head=shape["num_heads"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
            )
        )  # fmt: skip
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=shape["vocab_size"], hidden_size=shape["hidden_size"], intermediate_size=shape["ffn_hidden_size"],
                num_hidden_layers=shape["num_layers"], num_attention_heads=shape["num_heads"],
                num_key_value_heads=shape["num_kv_heads"], tie_word_embeddings=True, use_cache=False,
            )
        )  # fmt: skip
    model.train()

    def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # The model shifts labels itself; `shift_labels` hands it ours, so that every contender scores the same positions.
        return model(input_ids=tokens, labels=targets, shift_labels=targets).loss

    return model, loss


def litgpt(shape: dict, _: str) -> tuple[nn.Module, StepLoss]:
    """litgpt's implementation with the loss of its pretraining script."""
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    common = {
        "block_size": 1024, "vocab_size": shape["vocab_size"], "padded_vocab_size": shape["vocab_size"],
        "n_layer": shape["num_layers"], "n_head": shape["num_heads"], "n_embd": shape["hidden_size"],
        "n_query_groups": shape["num_kv_heads"], "intermediate_size": shape["ffn_hidden_size"],
    }  # fmt: skip
    if shape["family"] == "gpt2":
        # litgpt has no learned positions: rotary ones stand in, and its head is untied.
        config = Config(**common, norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP", bias=True, parallel_residual=False)
    else:
        config = Config(
            **common, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", bias=False, parallel_residual=False,
            rotary_percentage=1.0, head_size=shape["hidden_size"] // shape["num_heads"],
        )  # fmt: skip
    model = GPT(config)
    model.max_seq_length = shape["sequence_length"]
    model.lm_head.weight = model.transformer.wte.weight

    def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return chunked_cross_entropy(model(tokens), targets, chunk_size=0)

    return model, loss


def main() -> None:
    """Run one contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=["emitted", "transformers", "litgpt"])
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("precision", choices=["fp32", "bf16"])
    parser.add_argument("--project", default="")
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]

    torch.manual_seed(0)
    builders = {"emitted": emitted, "transformers": transformers, "litgpt": litgpt}
    model, step_loss = builders[arguments.contender](shape, arguments.project)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows = (shape["micro_batch_size"], shape["sequence_length"] + 1)
    batches = [torch.randint(0, shape["vocab_size"], rows) for _ in range(4)]
    autocast = torch.autocast("cpu", torch.bfloat16) if arguments.precision == "bf16" else contextlib.nullcontext()

    seconds = []
    for step in range(arguments.steps + 2):
        started = time.perf_counter()
        batch = batches[step % len(batches)]
        with autocast:
            loss = step_loss(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - started)
    timed = sorted(seconds[2:])
    result = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_second": shape["micro_batch_size"] * shape["sequence_length"] / timed[len(timed) // 2],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "loss": loss.item(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
