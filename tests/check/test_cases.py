"""Each code with a failing and a passing spec, and the rendered text of the failing one beside it.

A case is a directory `cases/CODE` with `failing.yaml`, `passing.yaml`, `failing.txt`, what files they need, and perhaps
`overrides.txt` with one `--set` a line for the failing one. After a change of messages, `LLMSPEC_UPDATE_SNAPSHOTS=1 pytest tests/check`
writes the texts anew; read the diff before committing it.
"""

import os
from pathlib import Path

import click
import pytest

from llmspec.check import BUILD_RULES, RUN_RULES, SPEC_RULES, documentation
from llmspec.cli.printer import full, summary
from llmspec.compile import analyze
from llmspec.diagnostics import Bag, CompilationError, Severity

CASES = Path(__file__).parent / "cases"
CODES = sorted(path.name for path in CASES.iterdir())
# A file that may not be read or is larger than a repository should hold, the output directory, and bugs of ours.
TESTED_ELSEWHERE = {"LS003", "LS004", *(page.code for page in documentation() if page.code[2] in "59" and page.code not in RUN_RULES)}


def diagnose(path: Path, overrides: list[str]) -> Bag:
    bag = Bag()
    try:
        # What cannot be built yet is reported before anything else; `estimated` says that a case is of something that is estimated only.
        analyze(path, overrides, bag, to_build=not path.with_name("estimated").exists())
    except CompilationError as error:
        assert error.bag is bag
        assert bag.errors
    else:
        assert not bag.errors
    return bag


def test_every_code_has_a_page_and_a_case() -> None:
    pages = [page.code for page in documentation()]
    assert len(set(pages)) == len(pages)
    assert set(pages) == set(CODES) | TESTED_ELSEWHERE
    assert not set(CODES) & TESTED_ELSEWHERE


def test_names_are_unique_and_readable() -> None:
    names = [page.name for page in documentation()]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


@pytest.mark.parametrize("code", CODES)
def test_failing(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / code)
    listed = Path("overrides.txt")
    overrides = listed.read_text().splitlines() if listed.exists() else []
    bag = diagnose(Path("failing.yaml"), overrides)
    assert {diagnostic.code for diagnostic in bag} == {code}
    names = {page.code: page.name for page in documentation()}
    severities = {rule.code: rule.severity for rules in (SPEC_RULES, RUN_RULES, BUILD_RULES) for rule in rules.values()}
    for diagnostic in bag:
        assert diagnostic.name == names[code]
        assert diagnostic.severity is severities.get(code, Severity.ERROR)
        assert diagnostic.span.line >= 1 and diagnostic.span.column >= 1
    text = click.unstyle("\n\n".join([*(full(diagnostic, bag.sources) for diagnostic in bag), summary(bag)])) + "\n"
    snapshot = Path("failing.txt")
    if os.environ.get("LLMSPEC_UPDATE_SNAPSHOTS"):
        snapshot.write_text(text, encoding="utf-8")
    assert snapshot.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("code", CODES)
def test_passing(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / code)
    assert [(diagnostic.code, diagnostic.message) for diagnostic in diagnose(Path("passing.yaml"), [])] == []
