"""Raw sources to shards of token ids, split into training and validation documents.

    python prepare_data.py      # by all processors; --workers for fewer

Killed at any moment and run again it goes on: finished units are kept, and the outcome is the same
to the byte for any number of workers. Memory stays bounded, however large a file or a document is.

data/tokens/ has a directory for each source, and in it for each unit:

    00012.train.tokens       token ids: text, end, one document after the other
    00012.train.documents    where each document starts (uint64)
    00012.validation.*       the same for validation
    00012.json               counts, and what the unit was made from; written last

manifest.json adds them up when all units are there.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from config import DataConfig
from sources import PROJECT, Document, Unit, is_validation, plan_units, progress, read_documents
from tokenizer import Tokenizer, load_tokenizer

SPLITS = ("train", "validation")
MAX_DOCUMENT_BYTES_IN_MEMORY = 2**24


@dataclass(frozen=True)
class Job:
    """A unit, what it is made from (to see whether that has changed), and where its files go."""

    unit: Unit
    origin: dict[str, str]
    stem: Path

    @property
    def record_path(self) -> Path:
        """The record that says that the unit is finished."""
        return self.stem.with_name(f"{self.stem.name}.json")

    def shard_path(self, split: str, kind: str) -> Path:
        """One of its shard's files; `kind` is `tokens` or `documents`."""
        return self.stem.with_name(f"{self.stem.name}.{split}.{kind}")


class ShardWriter:
    """Writes the documents of a unit that are on one side of the split."""

    def __init__(self, job: Job, split: str) -> None:
        self.paths = [job.shard_path(split, kind) for kind in ("tokens", "documents")]
        # With the process id, a worker that outlives a killed run cannot write into our files.
        self.partials = [
            path.with_name(f"{path.name}.{os.getpid()}.partial") for path in self.paths
        ]
        self.tokens_file, self.documents_file = (path.open("wb") for path in self.partials)
        self.counts = {"tokens": 0, "documents": 0, "bytes": 0}

    def add(self, document: "TokenizedDocument") -> None:
        """Write a document."""
        self.documents_file.write(np.uint64(self.counts["tokens"]).tobytes())
        document.tokens.seek(0)
        while data := document.tokens.read(2**20):
            self.tokens_file.write(data)
        self.counts["tokens"] += document.num_tokens
        self.counts["documents"] += 1
        self.counts["bytes"] += document.num_bytes

    def finish(self) -> None:
        """Give the files their names."""
        self.tokens_file.close()
        self.documents_file.close()
        for partial, path in zip(self.partials, self.paths, strict=True):
            partial.replace(path)


class TokenizedDocument:
    """The token ids of one document at a time; large ones wait in a temporary file."""

    def __init__(self, tokenizer: Tokenizer, dtype: str) -> None:
        self.tokenizer = tokenizer
        self.dtype = dtype
        self.tokens = tempfile.SpooledTemporaryFile(MAX_DOCUMENT_BYTES_IN_MEMORY)

    def read(self, document: Document) -> None:
        """Tokenize a document, in place of the one before."""
        self.tokens.seek(0)
        self.tokens.truncate()
        self.num_tokens = self.num_bytes = 0
        self.is_blank = True
        text_hash = hashlib.blake2b()
        for piece in document:
            text = piece.encode()
            self.num_bytes += len(text)
            self.is_blank = self.is_blank and not piece.strip()
            text_hash.update(text)
            self.append(self.tokenizer.encode(piece))
        self.append([self.tokenizer.eos_id])
        self.text_hash = text_hash.digest()

    def append(self, ids: list[int]) -> None:
        """Put token ids at the end."""
        self.tokens.write(np.array(ids, self.dtype).tobytes())
        self.num_tokens += len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description="Turn the sources into shards of token ids.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="number of processes")
    args = parser.parse_args()
    try:
        prepare(args.data_dir, DataConfig(), args.workers)
    except (OSError, ValueError) as error:
        sys.exit(f"prepare_data.py: {error}")
    except BrokenProcessPool:
        sys.exit("prepare_data.py: a worker was killed; if for want of memory, use fewer --workers")
    except KeyboardInterrupt:
        sys.exit("prepare_data.py: stopped; run it again to go on")


def prepare(data_dir: Path, config: DataConfig, num_workers: int) -> None:
    """Make the shards of all units that are not finished, and the manifest."""
    tokens_dir = data_dir / "tokens"
    tokenizer = load_tokenizer(data_dir)
    jobs = [
        Job(
            unit,
            describe_origin(unit, tokenizer, config),
            tokens_dir / source.name / f"{unit.index:05d}",
        )
        for source in config.sources
        for unit in plan_units(source)
    ]
    pending = find_pending(jobs, config)
    if pending:
        (tokens_dir / "manifest.json").unlink(missing_ok=True)
        remove_leftovers(jobs)
        make_shards(pending, data_dir, config, num_workers)
    manifest = summarize(jobs, config)
    write_json(tokens_dir / "manifest.json", manifest)
    for name, splits in manifest["sources"].items():
        for split, counts in splits.items():
            print(
                f"{name}, {split}: {counts['tokens']:,} tokens in {counts['documents']:,} "
                f"documents, {counts['bytes'] / max(counts['tokens'], 1):.2f} bytes per token"
            )


def describe_origin(unit: Unit, tokenizer: Tokenizer, config: DataConfig) -> dict[str, str]:
    """What a unit's shards are made from; where any of it changes they are made again."""
    settings = (unit.source, config.validation_fraction, config.token_dtype)
    files = hashlib.blake2b(digest_size=16)
    for part in unit.parts:
        status = (PROJECT / part.path).stat()
        files.update(repr((part, status.st_size, status.st_mtime_ns)).encode())
    return {
        "tokenizer": f"{tokenizer.fingerprint}, bos {tokenizer.bos_id}, eos {tokenizer.eos_id}",
        "settings": repr(settings),
        "files": files.hexdigest(),
    }


def find_pending(jobs: list[Job], config: DataConfig) -> list[Job]:
    """The jobs that are still to do; says why, where they were done before."""
    pending: list[Job] = []
    changes: Counter[str] = Counter()
    for job in jobs:
        if not job.record_path.exists():
            pending.append(job)
            continue
        record = json.loads(job.record_path.read_text())
        changed = [key for key in job.origin if record["origin"].get(key) != job.origin[key]]
        changes.update(changed)
        if changed or not is_intact(job, record["counts"], config):
            pending.append(job)
    for key, count in changes.items():
        print(f"the {key} changed: {count:,} of {len(jobs):,} units are made again")
    if 0 < len(pending) < len(jobs):
        print(f"{len(jobs) - len(pending):,} of {len(jobs):,} units are finished")
    return pending


def is_intact(job: Job, counts: dict[str, dict[str, int]], config: DataConfig) -> bool:
    """Whether the shards are as long as the record says; they may not be after a loss of power."""
    token_bytes = np.dtype(config.token_dtype).itemsize
    sizes = {
        job.shard_path(split, kind): size
        for split in SPLITS
        for kind, size in (
            ("tokens", counts[split]["tokens"] * token_bytes),
            ("documents", counts[split]["documents"] * np.dtype(np.uint64).itemsize),
        )
    }
    return all(path.exists() and path.stat().st_size == size for path, size in sizes.items())


def remove_leftovers(jobs: list[Job]) -> None:
    """Remove what killed runs and other settings left behind."""
    stems = {job.stem for job in jobs}
    for directory in {stem.parent for stem in stems}:
        for path in directory.glob("*"):
            stem = path.with_name(path.name.partition(".")[0])
            if stem not in stems or path.suffix == ".partial":
                path.unlink()


def make_shards(jobs: list[Job], data_dir: Path, config: DataConfig, num_workers: int) -> None:
    """Do the jobs in several processes."""
    num_workers = max(1, min(num_workers, len(jobs)))
    context = multiprocessing.get_context("spawn")
    num_bytes = sum(job.unit.num_bytes for job in jobs)
    with (
        ProcessPoolExecutor(num_workers, context, initializer=start_worker) as executor,
        progress("tokenizing", num_bytes) as advance,
    ):
        try:
            futures = [executor.submit(make_shard, job, data_dir, config) for job in jobs]
            for future in as_completed(futures):
                advance(future.result())
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with the parent even where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


@cache
def worker_tokenizer(data_dir: Path) -> Tokenizer:
    """The tokenizer, loaded once a worker."""
    return load_tokenizer(data_dir)


def make_shard(job: Job, data_dir: Path, config: DataConfig) -> int:
    """Make the shards of one unit; returns the bytes of input that are done."""
    job.stem.parent.mkdir(parents=True, exist_ok=True)
    tokenized = TokenizedDocument(worker_tokenizer(data_dir), config.token_dtype)
    writers = {split: ShardWriter(job, split) for split in SPLITS}
    for document in read_documents(job.unit):
        tokenized.read(document)
        if tokenized.is_blank:
            continue
        for_validation = is_validation(tokenized.text_hash, config.validation_fraction)
        writers["validation" if for_validation else "train"].add(tokenized)
    job.record_path.unlink(missing_ok=True)
    for writer in writers.values():
        writer.finish()
    counts = {split: writer.counts for split, writer in writers.items()}
    write_json(job.record_path, {"origin": job.origin, "counts": counts})
    return job.unit.num_bytes


def summarize(jobs: list[Job], config: DataConfig) -> dict[str, Any]:
    """The manifest: what there is of each source and split, and the tokens of each shard."""
    sources: dict[str, dict[str, dict[str, Any]]] = {}
    for source in config.sources:
        records = [
            json.loads(job.record_path.read_text())["counts"]
            for job in jobs
            if job.unit.source == source
        ]
        sources[source.name] = {
            split: {
                **{
                    key: sum(r[split][key] for r in records)
                    for key in ("tokens", "documents", "bytes")
                },
                "shards": [record[split]["tokens"] for record in records],
            }
            for split in SPLITS
        }
        if not any(counts["documents"] for counts in sources[source.name].values()):
            raise ValueError(f"source {source.name!r} has no documents: its files hold no text")
    if not any(splits["validation"]["documents"] for splits in sources.values()):
        raise ValueError(
            f"none of the documents is for validation: data.validation_fraction is "
            f"{config.validation_fraction}, raise it or cut the text into more documents"
        )
    return {"token_dtype": config.token_dtype, "sources": sources}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file that is there as a whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
