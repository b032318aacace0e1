"""The committed projects in generated/ are what the compiler renders today, file by file and byte by byte."""

import difflib
from pathlib import Path

import pytest

from llmspec.compile import compile_spec
from llmspec.diagnostics import Bag

ROOT = Path(__file__).parents[2]
GOLDEN = ("quickstart", "gpt2-124m")
NOT_RENDERED = (".llmspec", "data", "run", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache")


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_project(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    directory = ROOT / "generated" / name
    rendered = compile_spec(Path("specs") / f"{name}.yaml", (), Path("generated") / name, Bag())
    committed = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.is_file() and not set(path.relative_to(directory).parts) & set(NOT_RENDERED)
    }
    assert sorted(rendered) == sorted(committed), "run `make golden`"
    for path, file in rendered.items():
        before = committed[path].read_text("utf-8")
        difference = difflib.unified_diff(before.splitlines(), file.text.splitlines(), f"generated/{name}/{path}", "rendered", lineterm="")
        assert before == file.text, "run `make golden` and look at what changes:\n" + "\n".join(difference)
        assert bool(committed[path].stat().st_mode & 0o100) == file.executable, path


def test_every_spec_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in sorted(Path("specs").glob("*.yaml")):
        bag = Bag()
        assert compile_spec(path, (), Path("generated") / path.stem, bag)
        assert {d.code for d in bag} <= {"LS330"}  # data that a reader puts there
