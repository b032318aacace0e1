"""The pages that `llmspec explain` prints: their sections, and that the examples of rules do what they say."""

import re
from pathlib import Path

import pytest

from llmspec.check import RUN_RULES, SPEC_RULES, check, documentation
from llmspec.diagnostics import Bag
from llmspec.network import describe
from llmspec.resolve import resolve
from llmspec.spec import load
from llmspec.spec.compose import Composed, compose, merge
from llmspec.spec.source import Layer, Source, parse

BASE = """
llmspec: 1
name: case
architecture:
  hidden_size: 64
  num_layers: 2
  attention: {kind: mha, num_heads: 4}
tokenizer: {kind: byte}
data:
  sources:
    - {name: stdlib, kind: python_stdlib}
training: {sequence_length: 128, global_batch_size: 16, max_steps: 10000}
optimizer: {learning_rate: 1e-3}
hardware: {accelerator: cpu}
"""
# The base gives one length of the run, and these examples are about giving the other, or none.
WITHOUT_LENGTH = {"LS341", "LS342"}
FILES = {
    "notes.txt": " ".join(f"word{number}" for number in range(1200)),
    "data/a.txt": "",
    "en/a.txt": "",
    "de/a.txt": "",
    "tokenizer.json": "{}",
    "tokenizer.model": "",
}
SECTIONS = ("## What it checks", "## Why it matters", "## Example", "Use instead:")


def test_pages_have_their_sections_in_order() -> None:
    for page in documentation():
        places = [page.text.find(section) for section in SECTIONS]
        assert -1 not in places and places == sorted(places), page.code
        assert page.since == "0.1"


def examples(text: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)


def findings(fragment: str, base: str, directory: Path) -> set[str]:
    (directory / "base.yaml").write_text(base)
    bag = Bag()
    under = compose(directory / "base.yaml", [], bag)
    over = parse(Source("example", fragment), bag)
    composed = Composed(merge(under.tree, over), {**under.layers, "example": Layer.SPEC}, under.source, directory, (), ())
    resolved = resolve(composed, load(composed, bag), bag)
    return {diagnostic.code for diagnostic in check(resolved, describe(resolved), None)}


@pytest.mark.parametrize("code", SPEC_RULES)
def test_examples_of_rules(code: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    base = BASE.replace(", max_steps: 10000", "") if code in WITHOUT_LENGTH else BASE
    wrong, right = examples(SPEC_RULES[code].page.text)
    assert code in findings(wrong, base, tmp_path)
    assert code not in findings(right, base, tmp_path)


def test_every_rule_has_two_examples() -> None:
    for rules in (SPEC_RULES, RUN_RULES):
        for rule in rules.values():
            assert len(examples(rule.page.text)) == 2, rule.code
