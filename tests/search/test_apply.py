"""What is written into a spec: just the fields, with everything else of the text as it was."""

import stat
from pathlib import Path

import pytest

from llmspec.compile import analyze
from llmspec.diagnostics import Bag, CompilationError
from llmspec.search import Goal, Request, search
from llmspec.search.apply import apply
from llmspec.spec.edit import NotEditableError, edited
from llmspec.spec.source import Source

HEAD = """\
# A run with notes.
llmspec: 1
name: noted          # its name
preset: llama-3.2-1b
tokenizer: {kind: bpe, vocab_size: 128256}
data:
  sources:
  - {name: web, kind: parquet, path: "web/*.parquet"}   # all of it
training:
  sequence_length: 4096
  # tokens a step
  global_batch_size: 256
  micro_batch_size: 1   # small
  max_tokens: 25B
optimizer: {kind: adamw, learning_rate: 3e-4}
"""
TAILS = {
    "block": """
parallelism:
  data: fsdp          # whole
  activation_checkpointing: full   # to be safe

# the machines
hardware:
  accelerator: h100-sxm
  accelerators_per_node: 8
""",
    "flow": """
parallelism: {data: fsdp, activation_checkpointing: full,   # to be safe
  collective_timeout: 20m}
hardware: {accelerator: h100-sxm, accelerators_per_node: 8}  # a node
""",
    "missing": "hardware: {accelerator: h100-sxm, accelerators_per_node: 8}\n",
    "empty section": "hardware: {accelerator: h100-sxm, accelerators_per_node: 8}\nparallelism:   # to be found\n",
    "deepspeed": """
parallelism:
  engine: deepspeed
  zero_stage: 3      # too much
  offload: {optimizer: cpu}
hardware:
    accelerator: h100-sxm
    accelerators_per_node: 8
""",
    "interleaved": """
parallelism:
  pipeline: 4
  pipeline_schedule: interleaved_1f1b
  stages_per_device: 2
  tensor: 2
  sequence_parallel: true
hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
""",
    "does not fit": """
hardware: {accelerator: rtx4090, accelerators_per_node: 8}
""",
    "impossible": """
parallelism: {tensor: 3}
hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
""",
}


@pytest.mark.parametrize(("kind", "windows"), [*((kind, False) for kind in TAILS), ("block", True), ("flow", True)])
def test_the_applied_spec_is_what_was_found(kind: str, windows: bool, tmp_path: Path) -> None:
    # Without a word on the layout every device holds everything, for which the larger model has no room.
    text = (HEAD + TAILS[kind]).replace("llama-3.2-1b", "llama-3.1-8b" if kind in ("missing", "empty section") else "llama-3.2-1b")
    if windows:
        text = text.replace("\n", "\r\n")
    path = tmp_path / "run.yaml"
    path.write_bytes((b"\xef\xbb\xbf" if windows else b"") + text.encode())
    path.chmod(0o640)
    bag = Bag()
    result = search(path, (), Request(top=2), bag)
    chosen = result.suggested
    assert chosen is not None, "each of these specs leaves something to find"
    changes = apply(result, chosen, path, bag)
    assert changes
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbf") is windows and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["run.yaml"]
    after = written.decode("utf-8-sig")
    assert (after.count("\n") == after.count("\r\n")) is windows
    # Every comment is there, in order, and every line that holds no changed field.
    assert [line.partition("#")[2] for line in after.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in text.splitlines() if "#" in line
    ]
    names = {name.rpartition(".")[2] for name, _ in changes}
    kept = [line for line in text.splitlines() if not any(name in line for name in (*names, "parallelism:", "hardware:", "20m}"))]
    left = iter(after.splitlines())
    assert all(line in left for line in kept), "lines in their order"
    # It validates, and says what the search said.
    figures = analyze(path, (), Bag(), to_build=True).estimate
    assert figures.step_time.step.value == chosen.estimate.step_time.step.value
    assert figures.memory.by_component == chosen.estimate.memory.by_component
    assert figures.wall_clock.total_hours.value == chosen.hours
    assert figures.money.cost is not None and figures.money.cost.value == chosen.usd
    # The second time there is nothing left to do.
    again = search(path, (), Request(top=2), Bag())
    assert again.own_is_best and again.suggested is None


def test_a_goal_writes_nodes_and_tokens_too(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(HEAD.replace("max_tokens: 25B", "max_steps: 20000   # enough") + TAILS["block"], encoding="utf-8")
    bag = Bag()
    result = search(path, (), Request(Goal(budget=300.0), nodes=(1, 2, 4), vary_tokens=True, top=1), bag)
    assert result.reached and result.suggested is not None
    apply(result, result.suggested, path, bag)
    figures = analyze(path, (), Bag()).estimate
    assert figures.money.cost is not None and 290 < figures.money.cost.value <= 300
    assert figures.loss.expected.value == result.suggested.loss
    assert "max_steps: null   # enough" in path.read_text()


def test_presets_are_overridden_and_not_edited(tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text("# ours\nparallelism: {data: fsdp, activation_checkpointing: full}\n", encoding="utf-8")
    path = tmp_path / "run.yaml"
    path.write_text("extends: shared.yaml\n" + HEAD + TAILS["missing"], encoding="utf-8")
    before, bag = shared.read_text(), Bag()
    result = search(path, (), Request(top=1), bag)
    assert result.suggested is not None
    apply(result, result.suggested, path, bag)
    assert shared.read_text() == before
    assert "parallelism:" in path.read_text()
    assert analyze(path, (), Bag()).estimate.step_time.step.value == result.suggested.estimate.step_time.step.value


def test_a_text_that_cannot_be_edited_alone_is_left_as_it_is(tmp_path: Path) -> None:
    # The anchor stands before the value, and another section means it too.
    text = HEAD.replace("micro_batch_size: 1", "micro_batch_size: &one 1") + TAILS["missing"]
    text += "checkpoint: {keep: *one}\n"
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    bag = Bag()
    result = search(path, (), Request(top=1), bag)
    assert result.suggested is not None
    with pytest.raises(CompilationError):
        apply(result, result.suggested, path, bag)
    assert [error.code for error in bag.errors] == ["LS545"] and bag.errors[0].span.line == 13
    assert path.read_text() == text and [file.name for file in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("a: 1\nb:\n  c: 2   # two\n", [("b.c", 3)], "a: 1\nb:\n  c: 3   # two\n"),
        ("b:\n  c: 2\n  # of b\n\n# of d\nd: 1\n", [("b.e", True)], "b:\n  c: 2\n  # of b\n  e: true\n\n# of d\nd: 1\n"),
        ("b: {c: 2}  # x\n", [("b.e", "f")], "b: {c: 2, e: f}  # x\n"),
        ("b: {}\n", [("b.e", 1)], "b: {e: 1}\n"),
        ("b: {c: {d: 1}, # }\n  e: [1, 2]}\n", [("b.f", 1)], "b: {c: {d: 1}, # }\n  e: [1, 2], f: 1}\n"),
        ("b:\n  c: [1,\n    2]\nd: 1\n", [("b.f", 1)], "b:\n  c: [1,\n    2]\n  f: 1\nd: 1\n"),
        ("b:\n- 1\nc:\n  d: |\n    text\n\n    more\n", [("c.e", 1)], "b:\n- 1\nc:\n  d: |\n    text\n\n    more\n  e: 1\n"),
        ("b:\nc: 1", [("b.d", 2)], "b: {d: 2}\nc: 1"),
        ("b: 1", [("c.d", 2), ("c.e", None)], "b: 1\n\nc:\n  d: 2\n  e: null\n"),
        ("b: ~\n", [("b", 2)], "b: 2\n"),
        ("b: 'x'\n", [("b", "1")], 'b: "1"\n'),
        ('{"b": {"c": 1}}', [("b.d", 2), ("e.f", 3)], '{"b": {"c": 1, d: 2}, e: {f: 3}}'),
    ],
)
def test_edits(text: str, changes: list[tuple[str, object]], expected: str) -> None:
    assert edited(Source("spec.yaml", text), changes) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "path"), [("b: &x 1\nc: *x\n", "b"), ("b: 1\n", "b.c"), ("b: {c: 1}\n", "b"), ("b: |\n  text\n", "b"), ("b: [1]\n", "b")]
)
def test_what_cannot_be_edited_is_said_to_be_so(text: str, path: str) -> None:
    with pytest.raises(NotEditableError):
        edited(Source("spec.yaml", text), [(path, 2)])
