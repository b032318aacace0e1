"""A tiny run for the tests: the real run's components in few and small layers, on made-up text.

python tests/tiny.py [arguments of train.py]
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch

import train
from config import (
    CheckpointConfig,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    ScheduleConfig,
    TrainingConfig,
)
from data import IGNORED, Batch
from model import Transformer

VOCAB_SIZE = 61
SEQUENCE_LENGTH = 16
MAX_STEPS = 6


def tiny_model_config() -> ModelConfig:
    """The real model's, with every size reduced."""
    config = ModelConfig()
    num_kv_heads = min(2, config.num_kv_heads)
    return dataclasses.replace(
        config,
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        num_layers=2,
        num_heads=num_kv_heads * (config.num_heads // config.num_kv_heads),
        num_kv_heads=num_kv_heads,
        head_dim=8,
        ffn_hidden_size=48,
        num_positions=SEQUENCE_LENGTH,
    )


def tiny_model() -> Transformer:
    """A model with the same weights every time."""
    model = Transformer(tiny_model_config())
    model.init_weights(torch.Generator().manual_seed(0))
    return model


class MadeUpData:
    """Sequences that count up in threes from a random token; some targets are ignored."""

    bytes_per_token = 3.0
    num_tokens = 10_000

    def __init__(self, *_: object) -> None:
        pass

    def batch(self, first_sample: int, num_samples: int) -> Batch:
        """A pure function of the samples' numbers, as the real data is."""
        samples = torch.arange(first_sample, first_sample + num_samples)[:, None]
        tokens = (samples * 7919 + 3 * torch.arange(SEQUENCE_LENGTH + 1)) % VOCAB_SIZE
        targets = tokens[:, 1:].clone()
        targets[samples % 5 > torch.arange(SEQUENCE_LENGTH)] = IGNORED
        return Batch(tokens[:, :-1], targets)

    def batches(self, batch_size: int, max_tokens: int | None) -> Iterator[Batch]:
        """Two batches that are never trained on."""
        yield self.batch(1_000_000, batch_size)
        yield self.batch(2_000_000, batch_size)


def shrink(set_attribute: Callable[[object, str, object], None]) -> None:
    """Let train.py do the tiny run."""
    changed = {
        "ModelConfig": tiny_model_config,
        "TrainingConfig": partial(
            dataclasses.replace,
            TrainingConfig(),
            sequence_length=SEQUENCE_LENGTH,
            global_batch_size=8,
            micro_batch_size=2,
            max_steps=MAX_STEPS,
        ),
        "ScheduleConfig": partial(
            dataclasses.replace, ScheduleConfig(), learning_rate=0.01, warmup_steps=2
        ),
        "CheckpointConfig": partial(dataclasses.replace, CheckpointConfig(), every=3, keep=2),
        "LoggingConfig": partial(dataclasses.replace, LoggingConfig(), every=1),
        "TrainingData": MadeUpData,
        "EvaluationConfig": partial(dataclasses.replace, EvaluationConfig(), every=3),
        "ValidationData": MadeUpData,
    }
    for name, value in changed.items():
        set_attribute(train, name, value)
    # Compilation would take longer than all other tests together.
    set_attribute(torch.nn.Module, "compile", lambda module: None)


if __name__ == "__main__":
    shrink(setattr)
    sys.exit(train.main())
