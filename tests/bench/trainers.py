"""The contenders of the training benchmark, each as its users run it, in a process of its own.

    python tests/bench/trainers.py {trainer,litgpt,deepspeed} SHAPE PRECISION TOKENS [--compile]

`trainer` is the Hugging Face Trainer, `litgpt` litgpt's pretraining command, `deepspeed` the loop of DeepSpeed's own documentation
around a transformers model. All train a model of the same shape on the same tokens in the same batches with AdamW and clipping,
on one process or on those of torchrun. Prints one line of JSON: tokens a second of each interval of steps, and peak memory in GiB.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shapes import SHAPES, Shape, num_steps


class Clock:
    """Reads the time at the end of every interval of steps."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.steps, self.times = shape, 0, [time.perf_counter()]

    def tick(self) -> None:
        """A step has ended."""
        self.steps += 1
        if self.steps % self.shape["interval"] == 0:
            self.times.append(time.perf_counter())

    def report(self, num_parameters: int) -> None:
        """Print what was seen; the first interval, in which things warm up, does not count."""
        tokens = self.shape["interval"] * self.shape["global_batch_size"] * self.shape["sequence_length"]
        seconds = np.diff(self.times)[1:]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        if os.environ.get("RANK", "0") == "0":
            found = {"parameters": num_parameters, "tokens_per_second": (tokens / seconds).tolist(), "peak_gib": peak}
            sys.stdout.write(json.dumps(found) + "\n")


def sequences(shape: Shape, path: str) -> torch.Tensor:
    """All sequences of the run, each with the target of its last token."""
    length = shape["sequence_length"]
    count = num_steps(shape) * shape["global_batch_size"]
    tokens = np.fromfile(path, np.uint16).astype(np.int64)
    return torch.from_numpy(np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::length][:count].copy())


def transformers_model(shape: Shape) -> Any:
    """Hugging Face's implementation, with its default attention (SDPA)."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if shape["family"] == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=shape["vocab_size"], n_positions=1024, n_embd=shape["hidden_size"], n_layer=shape["num_layers"],
                n_head=shape["num_heads"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
            )
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape["vocab_size"], hidden_size=shape["hidden_size"], intermediate_size=shape["ffn_hidden_size"],
            num_hidden_layers=shape["num_layers"], num_attention_heads=shape["num_heads"],
            num_key_value_heads=shape["num_kv_heads"], tie_word_embeddings=True, use_cache=False,
        )
    )  # fmt: skip


def trainer(shape: Shape, precision: str, path: str, compile: bool, processes: int) -> None:
    """The Hugging Face Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    clock = Clock(shape)

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    rows = [{"input_ids": row[:-1], "labels": row[:-1]} for row in sequences(shape, path)]
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory, max_steps=num_steps(shape), per_device_train_batch_size=shape["global_batch_size"] // processes,
            learning_rate=1e-4, lr_scheduler_type="constant", optim="adamw_torch_fused", max_grad_norm=1.0, weight_decay=0.1,
            use_cpu=True, bf16=precision == "bf16", torch_compile=compile, logging_steps=shape["interval"], save_strategy="no",
            report_to=[], disable_tqdm=True, dataloader_num_workers=0,
        )  # fmt: skip
        run = Trainer(transformers_model(shape), arguments, train_dataset=rows, callbacks=[Tick()])
        run.remove_callback(PrinterCallback)
        run.train()
        clock.report(sum(parameter.numel() for parameter in run.model.parameters()))


def deepspeed(shape: Shape, precision: str, path: str, compile: bool, processes: int) -> None:
    """DeepSpeed's bare loop, ZeRO stage 1."""
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}.items():
        os.environ.setdefault(name, value)
    import deepspeed as library

    model = transformers_model(shape)
    model.train()
    settings = {
        "train_batch_size": shape["global_batch_size"],
        "train_micro_batch_size_per_gpu": shape["global_batch_size"] // processes,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": 1},
        "bf16": {"enabled": precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    engine, *_ = library.initialize(model=model, optimizer=optimizer, config=settings)
    if compile:
        engine.compile()
    rank, clock = int(os.environ["RANK"]), Clock(shape)
    share = shape["global_batch_size"] // processes
    rows = sequences(shape, path).view(num_steps(shape), processes, share, -1)[:, rank, :, :-1]
    for ids in rows:
        loss = engine(input_ids=ids, labels=ids).loss
        engine.backward(loss)
        engine.step()
        clock.tick()
    clock.report(sum(parameter.numel() for parameter in model.parameters()))


def litgpt(shape: Shape, precision: str, path: str, compile: bool, processes: int) -> None:
    """What `litgpt pretrain` runs. It always compiles: where that is not wanted, torch is told not to."""
    import litgpt.pretrain
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.config import Config
    from litgpt.data import DataModule
    from torch.utils.data import DataLoader

    assert processes == 1, "litgpt has no data parallelism on CPUs"
    clock = Clock(shape)
    rows = sequences(shape, path)

    class Tokens(DataModule):
        def connect(self, *_: Any, **__: Any) -> None:
            """Nothing to know."""

        def train_dataloader(self) -> Any:
            class Ticking:
                def __len__(self) -> int:
                    return len(rows)

                def __getitem__(self, index: int) -> torch.Tensor:
                    # One batch is one step here: when the next one is asked for, the last step has ended.
                    if index and index % shape["global_batch_size"] == 0:
                        clock.tick()
                    return rows[index]

            return DataLoader(Ticking(), batch_size=shape["global_batch_size"], shuffle=False)  # type: ignore[arg-type]

        def val_dataloader(self) -> Any:
            return DataLoader(rows[:1], batch_size=1)  # type: ignore[arg-type]

    common = {
        "block_size": shape["sequence_length"], "vocab_size": shape["vocab_size"], "padded_vocab_size": shape["vocab_size"],
        "n_layer": shape["num_layers"], "n_head": shape["num_heads"], "n_embd": shape["hidden_size"],
        "n_query_groups": shape["num_kv_heads"], "intermediate_size": shape["ffn_hidden_size"], "parallel_residual": False,
    }  # fmt: skip
    if shape["family"] == "gpt2":  # it has no learned positions: rotary ones stand in
        config = Config(**common, norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP", bias=True)
    else:
        config = Config(
            **common, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", bias=False,
            rotary_percentage=1.0, head_size=shape["hidden_size"] // shape["num_heads"],
        )  # fmt: skip
    if not compile:
        torch._dynamo.config.disable = True
    parameters = 0
    original = litgpt.pretrain.num_parameters

    def count(module: Any) -> int:
        nonlocal parameters
        parameters = sum(parameter.numel() for parameter in module.parameters())
        return original(module)

    litgpt.pretrain.num_parameters = count
    litgpt.pretrain.save_checkpoint = lambda *_: None  # it saves at the end, after the last step that counts
    with tempfile.TemporaryDirectory() as directory:
        litgpt.pretrain.setup(
            model_name="bench", model_config=config, out_dir=Path(directory),
            precision="bf16-mixed" if precision == "bf16" else "32-true", data=Tokens(),
            train=TrainArgs(
                save_interval=None, log_interval=shape["interval"], global_batch_size=shape["global_batch_size"],
                micro_batch_size=shape["global_batch_size"], lr_warmup_steps=1, tie_embeddings=True, max_norm=1.0,
                max_tokens=(num_steps(shape) + 1) * shape["global_batch_size"] * shape["sequence_length"],
                max_seq_length=shape["sequence_length"],
            ),
            eval=EvalArgs(interval=10**9, max_iters=1, initial_validation=False, final_validation=False),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4, "weight_decay": 0.1}},
            devices=1, logger_name="csv",
        )  # fmt: skip
    clock.report(parameters)


def main() -> None:
    """Run one contender."""
    contenders = {"trainer": trainer, "litgpt": litgpt, "deepspeed": deepspeed}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=list(contenders))
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("precision", choices=["fp32", "bf16"])
    parser.add_argument("tokens")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    contenders[arguments.contender](SHAPES[arguments.shape], arguments.precision, arguments.tokens, arguments.compile, processes)


if __name__ == "__main__":
    main()
