"""Emitted data modules for every kind of tokenizer and source: clean, typed, and their own tests pass."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.projects import BYTE, build

STDLIB = {"name": "python", "kind": "python_stdlib"}
FILES = {"name": "files", "kind": "text", "path": "texts/*.txt"}
LINES = {"name": "lines", "kind": "text", "path": "lines/*.txt", "document": "line"}
PARAGRAPHS = {"name": "paragraphs", "kind": "text", "path": ("a.txt", "b/**/*"), "document": "paragraph"}
JSONL = {"name": "json", "kind": "jsonl", "path": "data/*.jsonl"}
JSONL_COMPRESSED = {"name": "json", "kind": "jsonl", "path": ("data/*.jsonl.gz", "data/*.jsonl.zst"), "text_field": "body"}
PARQUET = {"name": "parquet", "kind": "parquet", "path": "data/*.parquet"}
PRETRAINED_JSON = {"kind": "pretrained", "path": "tokenizer.json", "vocab_size": 512, "eos_token": "<|end|>"}
PRETRAINED_MODEL = {"kind": "pretrained", "path": "tokenizer.model", "vocab_size": 512}


def weighted(*sources: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**source, "weight": float(number)} for number, source in enumerate(sources, start=1)]


PROJECTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "quickstart": ([STDLIB], {"kind": "bpe", "vocab_size": 8192}, {}),
    "unigram-texts": (
        [FILES, LINES, PARAGRAPHS],
        {"kind": "unigram", "vocab_size": 8192, "normalization": "nfkc", "add_bos": True},
        {"packing": {"document_mask": False}},
    ),
    "byte-jsonl": (weighted(JSONL, {**JSONL, "name": "more"}), {**BYTE, "add_bos": True}, {}),
    "char-paragraphs": ([PARAGRAPHS], {"kind": "char", "vocab_size": 300}, {"validation_fraction": 0.0}),
    "char-lines": ([LINES], {"kind": "char", "vocab_size": 300, "add_bos": True, "add_eos": False}, {"packing": {"document_mask": False}}),
    "pretrained-json": ([PARQUET, JSONL_COMPRESSED], PRETRAINED_JSON, {}),
    "pretrained-model": ([STDLIB, JSONL], {**PRETRAINED_MODEL, "add_bos": True}, {"validation_fraction": 0.0}),
    "everything": (
        weighted(STDLIB, {**FILES, "path": "*.zst"}, LINES, PARAGRAPHS, JSONL_COMPRESSED, PARQUET),
        {"kind": "bpe", "vocab_size": 100_000, "byte_fallback": False, "add_eos": False},
        {},
    ),
    "parquet": ([PARQUET], {**BYTE, "add_eos": False}, {"packing": {"document_mask": False}}),
    "compressed-files": ([{**FILES, "path": "*.gz"}], BYTE, {}),
    "compressed-json": ([JSONL_COMPRESSED], BYTE, {}),
    "open-json": ([{**JSONL, "path": "data/*"}], BYTE, {}),
}


# Each takes seconds, most of them to import torch.
QUICK = ("quickstart", "everything", "char-paragraphs")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PROJECTS])
def test_own_tests_pass(name: str, tmp_path: Path, pretrained: Path) -> None:
    for file in pretrained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    sources, tokenizer, data = PROJECTS[name]
    project = build(tmp_path, sources, tokenizer, **data)
    project.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")


def test_code_is_clean(tmp_path: Path) -> None:
    for name, (sources, tokenizer, data) in PROJECTS.items():
        project = build(tmp_path / name, sources, tokenizer, **data)
        ruff = ["-m", "ruff", "check", "--isolated", "--no-cache", "--config", "line-length=100"]
        project.run(*ruff, "--target-version", "py311", "--select", "E,F,I,UP,B", ".")


@pytest.mark.slow
def test_types_hold(tmp_path: Path) -> None:
    options = ["--ignore-missing-imports", "--disallow-untyped-defs", "--warn-unused-ignores", "--cache-dir", str(tmp_path / "cache")]
    for name, (sources, tokenizer, data) in PROJECTS.items():
        project = build(tmp_path / name, sources, tokenizer, **data)
        process = subprocess.run(
            [sys.executable, "-m", "mypy", *options, "."], cwd=project.directory, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, f"{name}: {process.stdout}{process.stderr}"


def test_nothing_that_is_not_asked_for(tmp_path: Path) -> None:
    project = build(tmp_path, [STDLIB], BYTE, validation_fraction=0.0, packing={"document_mask": False})
    text = "".join(path.read_text() for path in project.directory.rglob("*.py"))
    for word in (
        *("gzip", "zstd", "zstandard", "parquet", "pyarrow", "json_", "Jsonl", "Line", "Paragraph", "FileSource", "glob.glob"),
        *("sentencepiece", "tokenizers", "alidation", "document_ids", "positions", "Mixture", "weights", "bos_id]"),
    ):
        assert word not in text, word
