"""Nothing is lost between the sources and the batches, and the order resumes exactly."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

import prepare_data
from config import DataConfig, ParquetSource
from data import Batch, TrainingData, ValidationData
from sources import Source, is_validation

SEQUENCE_LENGTH = 8
NUM_DOCUMENTS = 40
NAMES = [source.name for source in DataConfig().sources]
FIELDS = ("tokens", "targets")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards in which each token of a source and split is another number, from 1 on."""
    directory: Path = tmp_path_factory.mktemp("data")
    sources: dict[str, Any] = {}
    for name in NAMES:
        (directory / "tokens" / name).mkdir(parents=True)
        sources[name] = {
            split: write_shards(directory, name, split) for split in prepare_data.SPLITS
        }
    manifest = {"token_dtype": DataConfig.token_dtype, "sources": sources}
    (directory / "tokens" / "manifest.json").write_text(json.dumps(manifest))
    return directory


def write_shards(data_dir: Path, name: str, split: str) -> dict[str, Any]:
    """Shards of documents of many lengths; the second shard is empty."""
    first = 1
    sizes = []
    for index, lengths in enumerate([(3, 1, 20, 8, 9), (), (1, 2, 30), (40, 17, 5)]):
        stem = data_dir / "tokens" / name / f"{index:05d}.{split}"
        size = sum(lengths)
        tokens = np.arange(first, first + size, dtype=DataConfig.token_dtype)
        tokens.tofile(f"{stem}.tokens")
        np.cumsum([0, *lengths[:-1]], dtype=np.uint64)[: len(lengths)].tofile(f"{stem}.documents")
        first += size
        sizes.append(size)
    return {"tokens": first - 1, "documents": 11, "bytes": 5 * (first - 1), "shards": sizes}


def training_data(data_dir: Path, seed: int = 0) -> TrainingData:
    return TrainingData(data_dir, DataConfig(), SEQUENCE_LENGTH, seed)


def assert_equal(batches: Iterable[Batch], expected: Batch) -> None:
    batches = list(batches)
    for field in FIELDS:
        joined = torch.cat([getattr(batch, field) for batch in batches])
        assert torch.equal(joined, getattr(expected, field)), field


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 6])
def test_any_number_of_ranks_reads_the_same(data_dir: Path, num_ranks: int) -> None:
    whole = training_data(data_dir).batch(24, 24)
    share = 24 // num_ranks
    slices = [training_data(data_dir).batch(24 + rank * share, share) for rank in range(num_ranks)]
    assert_equal(slices, whole)


def test_seeds_and_epochs_have_orders_of_their_own(data_dir: Path) -> None:
    size = training_data(data_dir).num_sequences
    orders = [
        training_data(data_dir, seed).batch(epoch * size, size).tokens
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    for index, order in enumerate(orders):
        assert not any(torch.equal(order, other) for other in orders[:index])


def test_no_token_is_lost_or_comes_twice_in_an_epoch(data_dir: Path) -> None:
    data = training_data(data_dir)
    per_source = data.num_tokens // len(NAMES)
    for epoch in range(3):
        tokens = data.batch(epoch * data.num_sequences, data.num_sequences).tokens
        seen = tokens[tokens > 0].tolist()
        assert sorted(seen) == sorted([*range(1, per_source + 1)] * len(NAMES))


def test_targets_are_the_next_tokens(data_dir: Path) -> None:
    batch = training_data(data_dir).batch(0, 100)
    inside = batch.tokens[:, 1:] > 0
    assert torch.equal(batch.targets[:, :-1][inside], batch.tokens[:, 1:][inside])


def test_validation_reads_every_token_in_order(data_dir: Path) -> None:
    data = ValidationData(data_dir, SEQUENCE_LENGTH)
    tokens = torch.cat([batch.tokens for batch in data.batches(3)]).ravel()
    per_source = data.num_tokens // len(NAMES)
    assert tokens[tokens > 0].tolist() == [*range(1, per_source + 1)] * len(NAMES)
    assert data.bytes_per_token == 5
    assert sum(batch.tokens.numel() for batch in data.batches(3, max_tokens=40)) == 40


def test_the_split_depends_on_the_text_alone() -> None:
    hashes = [bytes([number]) * 64 for number in range(256)]
    chosen = [text_hash for text_hash in hashes if is_validation(text_hash, 0.25)]
    assert chosen == hashes[:64]


class Bytes:
    """A tokenizer for these tests: bytes, and special tokens where the project has them."""

    fingerprint = "bytes"
    bos_id = None
    eos_id = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


TEXTS = [f"document {number}: " + "नमस्ते 你好 ✨ " * number for number in range(NUM_DOCUMENTS)]


def parquet_source(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    table = pyarrow.table({"body": TEXTS})
    pyarrow.parquet.write_table(table, directory / "texts.parquet", row_group_size=7)
    return ParquetSource(name="texts", paths=(f"{directory}/*.parquet",), text_field="body")


MakeSource = Callable[[Path, pytest.MonkeyPatch], Source]


@pytest.fixture(
    params=[
        parquet_source,
    ]
)
def config(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DataConfig:
    """A config with one source of the texts above; its units are prepared in this process."""

    def make_shards(
        jobs: list[prepare_data.Job], data_dir: Path, config: DataConfig, num_workers: int
    ) -> None:
        for job in jobs:
            prepare_data.make_shard(job, data_dir, config)

    monkeypatch.setattr(prepare_data, "make_shards", make_shards)
    monkeypatch.setattr(prepare_data, "load_tokenizer", lambda data_dir: Bytes())
    monkeypatch.setattr("sources.MIN_UNIT_BYTES", 2000)
    (tmp_path / "source").mkdir()
    make_source: MakeSource = request.param
    source = make_source(tmp_path / "source", monkeypatch)
    return DataConfig(sources=(source,), validation_fraction=0.3)


def read_shards(data_dir: Path, split: str) -> list[str]:
    """The texts of all documents."""
    texts = []
    for path in sorted((data_dir / "tokens" / "texts").glob(f"*.{split}.tokens")):
        tokens = np.fromfile(path, DataConfig.token_dtype)
        starts = np.fromfile(path.with_suffix(".documents"), np.uint64)
        bounds = [*starts.tolist(), len(tokens)]
        for start, stop in pairwise(bounds):
            ids = tokens[start:stop].tolist()
            assert ids.pop() == Bytes.eos_id
            texts.append(bytes(ids).decode())
    return texts


def read_files(data_dir: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(data_dir.rglob("*")) if path.is_file()}


def test_documents_arrive_whole(config: DataConfig, tmp_path: Path) -> None:
    prepare_data.prepare(tmp_path, config, 1)
    texts = {split: read_shards(tmp_path, split) for split in prepare_data.SPLITS}
    assert sorted(text for split in texts.values() for text in split) == sorted(TEXTS)
    manifest = json.loads((tmp_path / "tokens" / "manifest.json").read_text())["sources"]["texts"]
    for split, documents in texts.items():
        assert documents
        assert manifest[split]["documents"] == len(documents)
        assert manifest[split]["bytes"] == sum(len(text.encode()) for text in documents)
        assert manifest[split]["tokens"] == sum(manifest[split]["shards"])


def test_finished_units_are_kept(config: DataConfig, tmp_path: Path) -> None:
    prepare_data.prepare(tmp_path, config, 1)
    before = read_files(tmp_path)
    records = sorted((tmp_path / "tokens" / "texts").glob("*.json"))
    kept = records[0].stat().st_mtime_ns
    records[-1].unlink()
    (tmp_path / "tokens" / "texts" / "00000.train.tokens.1.partial").write_bytes(b"left behind")
    prepare_data.prepare(tmp_path, config, 1)
    assert read_files(tmp_path) == before
    if len(records) > 1:
        assert records[0].stat().st_mtime_ns == kept


def test_changed_settings_prepare_anew(
    config: DataConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare_data.prepare(tmp_path, config, 1)
    monkeypatch.setattr(Bytes, "fingerprint", "others")
    prepare_data.prepare(tmp_path, config, 1)
    assert "the tokenizer changed" in capsys.readouterr().out
