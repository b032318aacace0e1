"""Specs made from one another, and compiled in memory."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmspec.compile import Analysis, analyze, render
from llmspec.diagnostics import Bag
from llmspec.emit import Project

ROOT = Path(__file__).parents[2]

SMALL: dict[str, Any] = {
    "llmspec": 1,
    "name": "small",
    "architecture": {
        "hidden_size": 64,
        "num_layers": 2,
        "attention": {"kind": "gqa", "num_heads": 4, "num_kv_heads": 2},
    },
    "tokenizer": {"kind": "bpe", "vocab_size": 512},
    "data": {"sources": [{"name": "stdlib", "kind": "python_stdlib"}]},
    "training": {"sequence_length": 64, "global_batch_size": 8, "max_steps": 100},
    "optimizer": {"learning_rate": 1e-3},
    "hardware": {"accelerator": "cpu"},
}

Changes = Mapping[str, Any]


def changed(spec: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """A copy of a spec with fields set, by dotted path; `data.sources.0.weight` reaches into a list."""
    result: dict[str, Any] = copy.deepcopy(dict(spec))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = result
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[int(last) if isinstance(place, list) else last] = copy.deepcopy(value)
    return result


def escaped(character: str) -> str:
    """JSON takes some characters as they are that YAML reads as line ends or refuses."""
    return character if character.isprintable() else f"\\U{ord(character):08x}"


class Compiler:
    """Compiles specs that are given as mappings. JSON is YAML, so no writer is needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, spec: Mapping[str, Any]) -> Path:
        path = self.directory / "spec.yaml"
        path.write_text("".join(map(escaped, json.dumps(spec, ensure_ascii=False))), encoding="utf-8")
        return path

    def analyze(self, spec: Mapping[str, Any]) -> Analysis:
        bag = Bag()
        return analyze(self.write(spec), (), bag)

    def render(self, spec: Mapping[str, Any]) -> Project:
        return render(self.analyze(spec), self.directory / "project")


@pytest.fixture
def compiler(tmp_path: Path) -> Compiler:
    return Compiler(tmp_path)


Build = Callable[[Mapping[str, Any]], Project]
