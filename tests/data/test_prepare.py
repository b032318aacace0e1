"""prepare_data.py, run for real: documents arrive whole, whatever holds them, whoever reads them, and whenever it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests.data.projects import BYTE, DataProject, build
from tests.data.texts import TEXTS, json_lines, many_texts, write_gzip, write_zstd

EOS = 256


def read_documents(project: DataProject, name: str, split: str, data: str = "data") -> list[str]:
    """The documents of a project with the byte tokenizer."""
    texts = []
    for path in sorted((project.directory / data / "tokens" / name).glob(f"*.{split}.tokens")):
        tokens = np.fromfile(path, np.uint16)
        bounds = [*np.fromfile(path.with_suffix(".documents"), np.uint64).tolist(), len(tokens)]
        for start, stop in pairwise(bounds):
            *ids, end = tokens[start:stop].tolist()
            assert end == EOS
            texts.append(bytes(ids).decode())
    return texts


def read_tree(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def is_validation(text: str, fraction: float) -> bool:
    return int.from_bytes(blake2b(text.encode()).digest()[:8], "big") / 2**64 < fraction


def check_documents(project: DataProject, name: str, texts: Sequence[str], fraction: float = 0.2) -> None:
    assert read_documents(project, name, "train") == [text for text in texts if not is_validation(text, fraction)]
    assert read_documents(project, name, "validation") == [text for text in texts if is_validation(text, fraction)]


def test_every_kind_of_source(tmp_path: Path) -> None:
    texts = many_texts(60)
    lined = [" ".join(text.split()) for text in texts]
    (tmp_path / "files" / "deep").mkdir(parents=True)
    for number, text in enumerate(texts[:20]):
        (tmp_path / "files" / "deep" / f"{number:02d}.txt").write_text(text + "\r\nlast line\n", "utf-8", newline="")
    (tmp_path / "files" / "empty.txt").write_text(" \n\n")
    (tmp_path / "lines.txt").write_text("\n".join(lined) + "\n\n", "utf-8")
    write_gzip(tmp_path / "lines2.txt.gz", "\r\n".join(lined))
    (tmp_path / "paragraphs.txt").write_text("\n \n\n" + "\n\t\n\n".join(f"{t}\nand on" for t in lined) + "\n", "utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text(json_lines(texts) + '\n{"text": null}\n{"text": ""}\n', "utf-8")
    write_gzip(tmp_path / "data" / "b.jsonl.gz", json_lines(texts))
    write_zstd(tmp_path / "data" / "c.jsonl.zst", json_lines(texts))
    table = pyarrow.table({"id": list(range(62)), "body": [None, *texts, ""]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=10)
    project = build(
        tmp_path,
        [
            {"name": "files", "kind": "text", "path": "files/**/*.txt"},
            {"name": "lines", "kind": "text", "path": ("lines2.txt.gz", "lines.txt"), "document": "line"},
            {"name": "paragraphs", "kind": "text", "path": "paragraphs.txt", "document": "paragraph"},
            {"name": "json", "kind": "jsonl", "path": "data/*"},
            {"name": "rows", "kind": "parquet", "path": "rows.parquet", "text_field": "body"},
        ],
        BYTE,
        validation_fraction=0.2,
    )
    output = project.prepare()
    check_documents(project, "files", [text + "\r\nlast line\n" for text in texts[:20]])
    check_documents(project, "lines", lined + lined)
    check_documents(project, "paragraphs", [f"{text}\nand on" for text in lined])
    check_documents(project, "json", texts * 3)
    check_documents(project, "rows", texts)
    assert f"rows, validation: {sum(len(t.encode()) + 1 for t in texts if is_validation(t, 0.2)):,} tokens" in output


def large_jsonl(path: Path, megabytes: int) -> list[str]:
    texts = many_texts(megabytes * 1200)
    path.write_text(json_lines(texts), "utf-8")
    assert path.stat().st_size > megabytes * 2**20
    return texts


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = large_jsonl(tmp_path / "a.jsonl", 5)
    write_gzip(tmp_path / "b.jsonl.gz", json_lines(texts[:100]))
    (tmp_path / "c.txt").write_text("\n\n".join(texts), "utf-8")
    sources = [
        {"name": "json", "kind": "jsonl", "path": "*.jsonl*"},
        {"name": "paragraphs", "kind": "text", "path": "c.txt", "document": "paragraph"},
    ]
    project = build(tmp_path, sources, BYTE, validation_fraction=0.2)
    for workers in ("1", "3"):
        project.run("prepare_data.py", "--workers", workers, "--data-dir", f"data{workers}")
    assert len(list((project.directory / "data1/tokens/json").glob("*.json"))) > 4
    assert read_tree(project.directory / "data1") == read_tree(project.directory / "data3")
    assert read_documents(project, "json", "train", "data3") == [text for text in texts + texts[:100] if not is_validation(text, 0.2)]
    assert read_documents(project, "paragraphs", "train", "data1") == [text for text in texts if not is_validation(text, 0.2)]
    assert "made again" not in project.run("prepare_data.py", "--data-dir", "data1")


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cwd, state = (entry / "cwd").readlink(), (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if cwd == directory and state != "Z":
                found.append(int(entry.name))
    return found


def test_killed_and_run_again(tmp_path: Path) -> None:
    large_jsonl(tmp_path / "a.jsonl", 24)
    project = build(tmp_path, [{"name": "json", "kind": "jsonl", "path": "a.jsonl"}], BYTE)
    project.run("prepare_data.py", "--data-dir", "whole")
    shards = project.directory / "data" / "tokens" / "json"
    kept: dict[Path, int] = {}
    for finished in (2, 12):
        process = subprocess.Popen(
            [sys.executable, "prepare_data.py", "--workers", "2"], cwd=project.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 60
        while len(list(shards.glob("*.json"))) < finished and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None, "finished before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        deadline = time.monotonic() + 10
        while processes_in(project.directory) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_in(project.directory) == [], "workers outlive their parent"
        assert not (shards.parent / "manifest.json").exists()
        now = {path: path.stat().st_mtime_ns for path in shards.glob("*.json")}
        assert kept.items() <= now.items()
        kept = now
    output = project.run("prepare_data.py", "--workers", "1")
    assert f"{len(kept)} of" in output
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in shards.glob("*.json")}.items()
    assert read_tree(project.directory / "data") == read_tree(project.directory / "whole")


def test_ctrl_c_stops_quietly(tmp_path: Path) -> None:
    large_jsonl(tmp_path / "a.jsonl", 24)
    project = build(tmp_path, [{"name": "json", "kind": "jsonl", "path": "a.jsonl"}], BYTE)
    process = subprocess.Popen(
        [sys.executable, "prepare_data.py", "--workers", "2"],
        cwd=project.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not list((project.directory / "data").rglob("00000.json")) and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert output.strip() == "prepare_data.py: stopped; run it again to go on"
    assert process.returncode == 1
    assert processes_in(project.directory) == []


def test_changes_are_named_and_prepared_again(tmp_path: Path) -> None:
    texts = many_texts(60)
    (tmp_path / "a.jsonl").write_text(json_lines(texts), "utf-8")
    sources = [{"name": "json", "kind": "jsonl", "path": "a.jsonl"}]
    build(tmp_path, sources, BYTE, validation_fraction=0.2).prepare()
    project = build(tmp_path, sources, BYTE, validation_fraction=0.4)
    assert "the settings changed" in project.prepare()
    check_documents(project, "json", texts, 0.4)
    (tmp_path / "a.jsonl").write_text(json_lines(texts[:50]), "utf-8")
    assert "the files changed" in project.prepare()
    check_documents(project, "json", texts[:50], 0.4)
    project = build(tmp_path, sources, {**BYTE, "add_bos": True}, validation_fraction=0.4)
    assert "the tokenizer changed" in project.prepare()
    shard = project.directory / "data/tokens/json/00000.train.tokens"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    assert "changed" not in project.prepare()
    assert shard.read_bytes() == whole


JSON = {"name": "json", "kind": "jsonl", "path": "a.jsonl"}
TEXT = {"name": "text", "kind": "text", "path": "a.txt"}


@pytest.mark.parametrize(
    ("source", "file", "content", "message"),
    [
        (JSON, "a.jsonl", b'{"text": "a"}\n\n{"text": "b"\n', "a.jsonl:3: not JSON: Expecting ',' delimiter at column 13"),
        (JSON, "a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', "a.jsonl:2: no object with the key 'text'"),
        (JSON, "a.jsonl", b'{"text": "a"}\n[1, 2]\n', "a.jsonl:2: no object with the key 'text'"),
        (JSON, "a.jsonl", b'{"text": 1}\n', "a.jsonl:1: 'text' holds int, not text"),
        (JSON, "a.jsonl", b'{"text": "half \\ud800"}\n', "a.jsonl:1: 'utf-8' codec can't encode character"),
        (JSON, "a.jsonl", b'{"text": "\xff"}\n', "a.jsonl:1: 'utf-8' codec can't decode byte 0xff"),
        (TEXT, "a.txt", "hällo".encode("latin-1"), "a.txt: 'utf-8' codec can't decode byte 0xe4"),
        ({**TEXT, "document": "line"}, "a.txt", b"a\nb\n\xff\n", "a.txt:3: 'utf-8' codec can't decode byte 0xff"),
        ({**TEXT, "document": "paragraph"}, "a.txt", b"a\n\nb\n\xff\n", "a.txt:4: 'utf-8' codec can't decode byte 0xff"),
        (TEXT, "b.txt", b"", "source 'text': no file matches "),
        (TEXT, "a.txt", b" \n", "source 'text' has no documents: its files hold no text"),
        (TEXT, "a.txt", b"one document", "none of the documents is for validation: data.validation_fraction is 0.01"),
        ({**JSON, "path": "a.jsonl.gz"}, "a.jsonl.gz", b"not gzip", "a.jsonl.gz: Not a gzipped file"),
        ({**JSON, "path": "a.jsonl.zst"}, "a.jsonl.zst", b"not zstd", "a.jsonl.zst: zstd decompress"),
        ({**JSON, "kind": "parquet"}, "a.jsonl", b"not parquet", "a.jsonl: "),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, source: dict[str, Any], file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    project = build(tmp_path, [source], BYTE)
    output = project.run("prepare_data.py", fails=True)
    assert output.startswith("prepare_data.py: ")
    assert message in output
    assert not (project.directory / "data/tokens/manifest.json").exists()


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("source", [TEXT, {**TEXT, "document": "line"}])
def test_a_compressed_file_that_is_cut_short_is_named(tmp_path: Path, source: dict[str, Any], suffix: str) -> None:
    path = tmp_path / f"a.txt.{suffix}"
    (write_gzip if suffix == "gz" else write_zstd)(path, "\n".join(many_texts(500)))
    path.write_bytes(path.read_bytes()[:-30])
    project = build(tmp_path, [{**source, "path": path.name}], BYTE)
    assert f"{path.name}: " in project.run("prepare_data.py", fails=True)


def test_a_bad_line_far_into_a_large_file_has_its_number(tmp_path: Path) -> None:
    texts = many_texts(4000)
    (tmp_path / "a.jsonl").write_text(json_lines(texts) + "{\n", "utf-8")
    project = build(tmp_path, [JSON], BYTE)
    assert "a.jsonl:4001: not JSON" in project.run("prepare_data.py", fails=True)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"content": ["a"], "id": [1]}), tmp_path / "a.parquet")
    project = build(tmp_path, [{"name": "rows", "kind": "parquet", "path": "a.parquet"}], BYTE)
    assert "a.parquet: no column 'text'; there are content, id" in project.run("prepare_data.py", fails=True)


def test_the_standard_library_is_read_without_its_tests(tmp_path: Path) -> None:
    project = build(tmp_path, [{"name": "python", "kind": "python_stdlib"}], BYTE)
    code = "from sources import *; from config import DataConfig; print(*find_files(DataConfig().sources[0]), sep='\\n')"
    files = [Path(line) for line in project.evaluate(code).splitlines()]
    names = {file.name for file in files}
    assert {"argparse.py", "dataclasses.py", "decoder.py", "base_events.py"} <= names
    assert len(files) == len(set(files)) > 300
    forbidden = {"test", "tests", "idle_test", "site-packages", "__pycache__", "encodings", "pydoc_data"}
    library = Path(os.__file__).parent
    assert not any(forbidden & set(file.relative_to(library).parts) for file in files)
    assert 5e6 < sum(file.stat().st_size for file in files) < 20e6


MEASURE = """
import resource, subprocess, sys
subprocess.run([sys.executable, "prepare_data.py", "--workers", "1", "--data-dir", sys.argv[1]], check=True)
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", [JSON, {**JSON, "kind": "text"}, {**JSON, "path": "a.jsonl.zst"}], ids=["jsonl", "one document", "zstd"])
def test_memory_is_bounded(tmp_path: Path, source: dict[str, Any]) -> None:
    lines = json_lines(many_texts(1100))
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    write_zstd(tmp_path / "a.jsonl.zst", lines)
    peaks = []
    for size in (1, 300):
        if size > 1:
            (tmp_path / "a.jsonl").write_text(lines * size, "utf-8")
            write_zstd(tmp_path / "a.jsonl.zst", lines * size)
        fraction = 0.0 if source["kind"] == "text" else 0.01
        project = build(tmp_path, [source], BYTE, validation_fraction=fraction)
        peaks.append(int(project.run("-c", MEASURE, str(size)).rpartition("peak ")[2]))
    assert (tmp_path / "a.jsonl").stat().st_size > 300e6
    assert peaks[1] - peaks[0] < 100, peaks


def test_text_of_all_scripts_is_in_the_corpus() -> None:
    """The other tests prove little if these texts are plain ASCII."""
    assert sum(max(map(ord, text)) > 0x500 for text in TEXTS) >= 4
    assert json.loads(json_lines(TEXTS).splitlines()[0])["text"] == TEXTS[0]
