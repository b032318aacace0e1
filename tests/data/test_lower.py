"""What the config says of the data."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.projects import BYTE, plan_data


def paths_of(path: Any, spec_directory: Path, output_directory: Path) -> tuple[str, ...]:
    plan = plan_data([{"name": "a", "kind": "jsonl", "path": path}], BYTE, spec_directory, output_directory)
    (data,) = [config for config in plan.config_classes if config.name == "DataConfig"]
    (source,) = data.fields[0].value  # type: ignore[misc]
    return dict(source.arguments)["paths"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/*.jsonl", "../../data/*.jsonl"),
        ("./data/**/a[0-9].jsonl", "../../data/**/a[0-9].jsonl"),
        ("../elsewhere/a.jsonl", "../../../elsewhere/a.jsonl"),
        ("/data/*.jsonl", "/data/*.jsonl"),
        ("a/../b/*.jsonl", "../../a/../b/*.jsonl"),
    ],
)
def test_paths_are_seen_from_the_project(tmp_path: Path, path: str, expected: str) -> None:
    assert paths_of(path, tmp_path / "work", tmp_path / "work/generated/run") == (expected,)


def test_glob_characters_of_directories_are_escaped(tmp_path: Path) -> None:
    assert paths_of("*.jsonl", tmp_path / "a[1]", tmp_path / "out") == ("../a[[]1]/*.jsonl",)


@pytest.mark.parametrize(
    ("path", "gzip", "zstd", "splits"),
    [
        ("a.jsonl", False, False, True),
        ("*.jsonl", False, False, True),
        ("*.jsonl.gz", True, False, False),
        ("*/a.zst", False, True, False),
        (("a.gz", "b.jsonl"), True, False, True),
        ("data/*", True, True, True),
        ("data/*.jsonl*", True, True, True),
        ("data/train.*", True, True, True),
    ],
)
def test_only_the_compressions_that_may_come_are_read(tmp_path: Path, path: Any, gzip: bool, zstd: bool, splits: bool) -> None:
    plan = plan_data([{"name": "a", "kind": "jsonl", "path": path}], BYTE, tmp_path, tmp_path)
    assert (plan.gzip, plan.zstd, plan.splits_files) == (gzip, zstd, splits)
    assert ("zstandard>=0.23" in plan.dependencies) == zstd


def test_token_ids_take_two_bytes_while_they_fit(tmp_path: Path) -> None:
    for vocab_size, dtype in ((65_536, "uint16"), (65_537, "uint32")):
        plan = plan_data([{"name": "a", "kind": "python_stdlib"}], {"kind": "bpe", "vocab_size": vocab_size}, tmp_path, tmp_path)
        fields = {field.name: field.value for config in plan.config_classes for field in config.fields}
        assert fields["token_dtype"] == dtype


def test_one_source_needs_no_weights(tmp_path: Path) -> None:
    plan = plan_data([{"name": "a", "kind": "python_stdlib", "weight": 2.0}], BYTE, tmp_path, tmp_path)
    assert not plan.weighted
