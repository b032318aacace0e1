"""Layers: which one wins, what replaces what, and that every value keeps its place."""

from pathlib import Path

import pytest

from llmspec.diagnostics import Bag, CompilationError
from llmspec.spec import Layer, compose, load
from llmspec.spec.compose import Composed, merge
from llmspec.spec.load import plain
from llmspec.spec.tree import parse_yaml
from tests.spec.spec_files import SMALL


def composed(path: Path, *overrides: str) -> Composed:
    bag = Bag()
    found = compose(path, overrides, bag)
    assert not bag.diagnostics
    return found


def problems(path: Path, *overrides: str) -> list[tuple[str, str, int, int]]:
    bag = Bag()
    with pytest.raises(CompilationError):
        compose(path, overrides, bag)
    return [(d.code, Path(d.span.file).name, d.span.line, d.span.column) for d in bag]


def value(found: Composed, path: str) -> object:
    node = found.node(path)
    return None if node is None else plain(node)


@pytest.mark.parametrize(
    ("under", "over", "merged"),
    [
        ("a: 1\nb: 2", "b: 3\nc: 4", {"a": 1, "b": 3, "c": 4}),
        ("a: {b: 1, c: 2}", "a: {c: 3}", {"a": {"b": 1, "c": 3}}),
        ("a: [1, 2]", "a: [3]", {"a": (3,)}),
        ("a: {b: 1}", "a: 2", {"a": 2}),
        ("a: 1", "a: {b: 2}", {"a": {"b": 2}}),
        ("a: {kind: x, b: 1}", "a: {kind: y, c: 2}", {"a": {"kind": "y", "c": 2}}),
        ("a: {kind: x, b: 1}", "a: {kind: x, c: 2}", {"a": {"kind": "x", "b": 1, "c": 2}}),
        ("a: {kind: x, b: 1}", "a: {c: 2}", {"a": {"kind": "x", "b": 1, "c": 2}}),
        ("a: {b: 1}", "a: {kind: x}", {"a": {"b": 1, "kind": "x"}}),
        ("a: {b: 1, c: 2}", "a: {b: null}", {"a": {"c": 2}}),
        ("a: {b: 1}", "a: null", {}),
    ],
)
def test_merging(under: str, over: str, merged: object) -> None:
    bag = Bag()
    nodes = [parse_yaml("x", text, bag) for text in (under, over)]
    assert nodes[0] is not None and nodes[1] is not None
    assert plain(merge(nodes[0], nodes[1])) == merged


def test_order_of_layers(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(SMALL + "seed: 1\nprecision: bf16\nlogging: {every: 1}\ncheckpoint: {keep: 1}\n")
    (tmp_path / "second.yaml").write_text("precision: fp32\nlogging: {every: 2}\ncheckpoint: {keep: 2}\n")
    (tmp_path / "spec.yaml").write_text("extends: [first.yaml, second.yaml]\nlogging: {every: 3}\ncheckpoint: {keep: 3}\n")
    found = composed(tmp_path / "spec.yaml", "checkpoint.keep=4")
    assert [value(found, path) for path in ("seed", "precision", "logging.every", "checkpoint.keep")] == [1, "fp32", 3, 4]
    lines = [found.node(path).span for path in ("seed", "precision", "logging.every", "checkpoint.keep")]  # type: ignore[union-attr]
    assert [(Path(span.file).name, span.line) for span in lines] == [("first.yaml", 14), ("second.yaml", 1), ("spec.yaml", 2), ("--set", 1)]
    assert [found.layers[span.file] for span in lines] == [Layer.SPEC, Layer.SPEC, Layer.SPEC, Layer.OVERRIDE]
    assert found.directory == tmp_path
    assert "extends" not in found.tree.mapping


def test_paths_of_extends_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "base" / "deep").mkdir(parents=True)
    (tmp_path / "base" / "deep" / "a.yaml").write_text(SMALL)
    (tmp_path / "base" / "b.yaml").write_text("extends: deep/a.yaml\nseed: 5\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "spec.yaml").write_text("extends: ../base/b.yaml\nname: mine\n")
    found = composed(tmp_path / "specs" / "spec.yaml")
    assert (value(found, "seed"), value(found, "name"), value(found, "architecture.num_layers")) == (5, "mine", 2)


def test_one_file_may_be_extended_twice(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SMALL)
    for name in "bc":
        (tmp_path / f"{name}.yaml").write_text(f"extends: base.yaml\ndescription: {name}\n")
    (tmp_path / "spec.yaml").write_text("extends: [b.yaml, c.yaml]\n")
    assert value(composed(tmp_path / "spec.yaml"), "description") == "c"


def test_twins_of_twins_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text(SMALL)
    for number in range(1, 18):
        (tmp_path / f"{number}.yaml").write_text(f"extends: [{number - 1}.yaml, {number - 1}.yaml]\n")
    assert value(composed(tmp_path / "17.yaml"), "name") == "small"


def test_presets(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("preset: gpt2\narchitecture: {num_layers: 3}\n")
    found = composed(path)
    assert (value(found, "architecture.num_layers"), value(found, "architecture.hidden_size")) == (3, 768)
    node = found.node("architecture.hidden_size")
    assert node is not None and node.span.file == "preset gpt2" and found.layers["preset gpt2"] is Layer.PRESET
    path.write_text("architecture: {preset: gpt2, num_layers: 3}\n")
    assert value(composed(path), "architecture.hidden_size") == 768
    assert value(composed(path, "architecture.preset=llama-3.2-1b"), "architecture.hidden_size") == 2048
    assert value(composed(path, "preset=llama-3.2-1b"), "architecture.hidden_size") == 768
    path.write_text("name: x\n")
    assert value(composed(path, "preset=gpt2"), "architecture.num_layers") == 12
    assert set(composed(path, "architecture={preset: gpt2, hidden_size: 12}").node("architecture").mapping) >= {"hidden_size", "attention"}  # type: ignore[union-attr]


def test_extends_below_preset_below_own(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("architecture: {num_layers: 1, hidden_size: 8, dropout: 0.5}\n")
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\npreset: gpt2\narchitecture: {num_layers: 2}\n")
    found = composed(tmp_path / "spec.yaml")
    assert [value(found, f"architecture.{name}") for name in ("num_layers", "hidden_size", "dropout")] == [2, 768, 0.5]


def test_every_preset_composes_and_loads(tmp_path: Path) -> None:
    from llmspec.catalog import preset_names

    for name in preset_names():
        (tmp_path / "spec.yaml").write_text(SMALL.split("architecture:")[0] + f"preset: {name}\n" + SMALL.split("num_heads: 4}\n")[1])
        bag = Bag()
        load(compose(tmp_path / "spec.yaml", [], bag), bag)


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SMALL)
    found = composed(
        path,
        "training.max_steps=5",
        "data.sources[0].weight=2.5",
        "schedule={kind: wsd, warmup_steps: 1}",
        "schedule.decay_fraction=0.5",
        "generation.prompts=[a, 'b = c']",
        "logging.tensorboard=true",
        "description=a: b",
        "optimizer.learning_rate=",
    )
    assert value(found, "training") == {"sequence_length": 128, "global_batch_size": 16, "max_steps": 5}
    assert value(found, "data.sources[0]") == {"name": "stdlib", "kind": "python_stdlib", "weight": 2.5}
    assert value(found, "schedule") == {"kind": "wsd", "warmup_steps": 1, "decay_fraction": 0.5}
    assert value(found, "generation.prompts") == ("a", "b = c")
    assert value(found, "logging.tensorboard") is True
    assert value(found, "description") == {"a": "b"}
    assert value(found, "optimizer.learning_rate") is None
    node = found.node("data.sources[0].weight")
    assert node is not None and (node.span.line, node.span.column, node.span.end_column) == (2, 24, 27)
    assert node.key_span is not None and (node.key_span.line, node.key_span.column) == (2, 17)


def test_an_override_of_kind_replaces_the_section(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SMALL + "schedule: {kind: cosine, min_learning_rate: 1e-5}\n")
    assert value(composed(path, "schedule.kind=constant"), "schedule") == {"kind": "constant"}


def test_overrides_reach_inherited_lists(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SMALL)
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\n")
    assert value(composed(tmp_path / "spec.yaml", "data.sources[0].name=other"), "data.sources[0].name") == "other"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training", ("LS204", "--set", 1, 1)),
        ("", ("LS204", "--set", 1, 1)),
        ("=1", ("LS204", "--set", 1, 1)),
        ("a b=1", ("LS204", "--set", 1, 1)),
        ("[0]=1", ("LS204", "--set", 1, 1)),
        ("a[x]=1", ("LS204", "--set", 1, 1)),
        ("a.=1", ("LS204", "--set", 1, 1)),
        ("training.max_steps=[1", ("LS010", "--set", 1, 20)),
        ("name={a: 1, a: 2}", ("LS013", "--set", 1, 13)),
        ("name=\x1b", ("LS008", "--set", 1, 6)),
        ("name=\udcff", ("LS008", "--set", 1, 6)),
        ("data.sources[9].name=x", ("LS205", "--set", 1, 13)),
        ("seed.x=1", ("LS205", "--set", 1, 6)),
    ],
)
def test_malformed_overrides(override: str, expected: tuple[str, str, int, int], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SMALL + "seed: 3\n")
    assert problems(tmp_path / "spec.yaml", override) == [expected]


def test_malformed_overrides_stand_on_their_own_lines(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SMALL)
    found = problems(tmp_path / "spec.yaml", "name=fine", "x", "name='a\nb", "y")
    assert [(code, line) for code, _, line, _ in found] == [("LS204", 2), ("LS010", 3), ("LS204", 5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: spec.yaml", ("LS203", "spec.yaml", 1, 10)),
        ("extends: ./spec.yaml", ("LS203", "spec.yaml", 1, 10)),
        ("extends: nowhere.yaml", ("LS202", "spec.yaml", 1, 10)),
        ("extends: [a/nowhere.yaml]", ("LS202", "spec.yaml", 1, 11)),
        ("extends: .", ("LS002", "spec.yaml", 1, 10)),
        ('extends: "a\\0b"', ("LS003", "spec.yaml", 1, 10)),
        ("extends: 3", ("LS103", "spec.yaml", 1, 10)),
        ("extends: [a: 1]", ("LS103", "spec.yaml", 1, 11)),
        ("extends: {a: 1}", ("LS103", "spec.yaml", 1, 1)),
        ("preset: gpt3", ("LS201", "spec.yaml", 1, 9)),
        ("preset: ../../secret", ("LS201", "spec.yaml", 1, 9)),
        ("preset: [gpt2]", ("LS103", "spec.yaml", 1, 1)),
        ("architecture: {preset: gpt3}", ("LS201", "spec.yaml", 1, 24)),
        ("architecture: {preset: true}", ("LS103", "spec.yaml", 1, 24)),
    ],
)
def test_what_cannot_be_composed(text: str, expected: tuple[str, str, int, int], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    assert problems(tmp_path / "spec.yaml") == [expected]


def test_a_fault_in_an_extended_file_is_shown_there(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("a: [1\n")
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\n")
    assert problems(tmp_path / "spec.yaml") == [("LS010", "base.yaml", 1, 4)]
