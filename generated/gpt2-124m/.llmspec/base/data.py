"""Shards of token ids to batches: a pure function of the number of the sample.

The training tokens form one stream, cut into sequences of T tokens and their targets. In each epoch
a keyed permutation orders them anew: none comes twice, none is lost. As nothing but the number of a
sample is needed, a run goes on exactly where it stopped, on any number of devices.

Shapes: B sequences, T tokens of a sequence, S = T + 1, its tokens with the target of the last.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from config import DataConfig

IGNORED = -100  # a target that counts for nothing
NUM_ROUNDS = 3  # of the permutation

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sequences and their targets."""

    tokens: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B, T) int64, the next token

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device; a GPU copies while the host goes on."""
        return Batch(
            move(self.tokens, device),
            move(self.targets, device),
        )


def move(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """From memory that is not pinned the copy would wait until the GPU has nothing else to do."""
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class TokenStream:
    """The tokens of several shards, as if they were one array."""

    def __init__(self, data_dir: Path, names: Sequence[str], split: str) -> None:
        manifest = read_manifest(data_dir)
        self.dtype: str = manifest["token_dtype"]
        self.stems: list[str] = []
        sizes: list[int] = []
        for name in names:
            if name not in manifest["sources"]:
                raise ValueError(
                    f"source {name!r} is not in {data_dir}: run `python prepare_data.py`"
                )
            for index, size in enumerate(manifest["sources"][name][split]["shards"]):
                if size > 0:
                    self.stems.append(str(data_dir / "tokens" / name / f"{index:05d}.{split}"))
                    sizes.append(size)
        self.bounds = np.cumsum([0, *sizes])
        self.num_tokens = int(self.bounds[-1])

    def num_sequences(self, sequence_length: int) -> int:
        """How many sequences it is cut into; the first token of the stream is no target."""
        return -(-(self.num_tokens - 1) // sequence_length) if self.num_tokens > 1 else 0

    def read(self, start: int, tokens_S: Ints) -> int:
        """Copy tokens from `start` on; returns how many."""
        num_tokens = min(len(tokens_S), self.num_tokens - start)
        shard = int(np.searchsorted(self.bounds, start, side="right")) - 1
        done = 0
        while done < num_tokens:
            first = start + done - int(self.bounds[shard])
            last = min(first + num_tokens - done, int(self.bounds[shard + 1] - self.bounds[shard]))
            tokens = open_shard(f"{self.stems[shard]}.tokens", self.dtype)
            tokens_S[done : done + last - first] = tokens[first:last]
            done += last - first
            shard += 1
        return num_tokens


@lru_cache(maxsize=256)
def open_shard(path: str, dtype: str) -> npt.NDArray[Any]:
    """Map a file of a shard into memory. Few are kept open: each takes a file descriptor."""
    return np.asarray(np.memmap(path, dtype, mode="r"))


def read_manifest(data_dir: Path) -> dict[str, Any]:
    """What prepare_data.py made."""
    path = data_dir / "tokens" / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `python prepare_data.py` first")
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def read_batch(sequences: Sequence[tuple[TokenStream, int]], sequence_length: int) -> Batch:
    """Read sequences, each given by its stream and its number there."""
    shape = (len(sequences), sequence_length + 1)
    tokens_BS = np.zeros(shape, np.int64)
    num_tokens_B = np.zeros(len(sequences), np.int64)
    for row, (stream, number) in enumerate(sequences):
        num_tokens_B[row] = stream.read(number * sequence_length, tokens_BS[row])
    # The last sequence of a stream is padded.
    index_T = np.arange(sequence_length)
    is_padding_BT = index_T + 1 >= num_tokens_B[:, None]
    targets_BT = np.where(is_padding_BT, IGNORED, tokens_BS[:, 1:])
    return Batch(
        torch.from_numpy(np.ascontiguousarray(tokens_BS[:, :-1])),
        torch.from_numpy(targets_BT),
    )


def permute(numbers: Ints, size: int, key: Sequence[int]) -> Ints:
    """A permutation of range(size), chosen by the key and evaluated at some numbers.

    A generalized Feistel network permutes a rectangle that is hardly larger than `size`; what falls
    outside is permuted again until it is inside (Black and Rogaway 2002).
    """
    height = math.isqrt(size - 1) + 1
    width = -(-size // height)
    round_keys = np.random.SeedSequence(list(key)).generate_state(2 * NUM_ROUNDS, np.uint64)
    result = numbers.copy()
    outside = np.arange(len(numbers))
    while len(outside) > 0:
        row, column = np.divmod(result[outside], width)
        for row_key, column_key in round_keys.reshape(NUM_ROUNDS, 2):
            row = (row + scramble(column, row_key)) % height
            column = (column + scramble(row, column_key)) % width
        result[outside] = row * width + column
        outside = outside[result[outside] >= size]
    return result


def scramble(numbers: Ints, key: np.uint64) -> Ints:
    """Numbers that look random, the same for the same key."""
    mixed = (numbers.astype(np.uint64) ^ key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(33)).astype(np.int64)


class TrainingData:
    """The training sequences of all sources, shuffled anew in each epoch."""

    def __init__(self, data_dir: Path, config: DataConfig, sequence_length: int, seed: int) -> None:
        self.sequence_length = sequence_length
        self.seed = seed
        self.stream = TokenStream(data_dir, [source.name for source in config.sources], "train")
        self.num_tokens = self.stream.num_tokens
        self.num_sequences = self.stream.num_sequences(sequence_length)
        if self.num_sequences == 0:
            raise ValueError(f"{data_dir} holds no training tokens")

    def batch(self, first_sample: int, num_samples: int) -> Batch:
        """Samples from `first_sample` on, counted from the start of training."""
        samples = np.arange(first_sample, first_sample + num_samples)
        epochs, numbers = np.divmod(samples, self.num_sequences)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            numbers[here] = permute(numbers[here], self.num_sequences, (self.seed, int(epoch)))
        return read_batch([(self.stream, int(number)) for number in numbers], self.sequence_length)


class ValidationData:
    """The validation tokens in order."""

    def __init__(self, data_dir: Path, sequence_length: int) -> None:
        sources = read_manifest(data_dir)["sources"]
        self.sequence_length = sequence_length
        self.stream = TokenStream(data_dir, list(sources), "validation")
        self.num_tokens = self.stream.num_tokens
        num_bytes = sum(splits["validation"]["bytes"] for splits in sources.values())
        self.bytes_per_token: float = num_bytes / self.num_tokens

    def batches(self, batch_size: int, max_tokens: int | None = None) -> Iterator[Batch]:
        """All sequences in order, or as many as have `max_tokens`, evenly spread."""
        total = self.stream.num_sequences(self.sequence_length)
        count = total
        if max_tokens is not None:
            count = min(total, max(1, max_tokens // self.sequence_length))
        numbers = [index * total // count for index in range(count)]
        for first in range(0, count, batch_size):
            chosen = numbers[first : first + batch_size]
            yield read_batch([(self.stream, number) for number in chosen], self.sequence_length)
