"""Validation: exact places, one problem a slip, and never anything but a diagnostic."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspec.check import check
from llmspec.diagnostics import Bag, CompilationError, Diagnostic
from llmspec.network import describe
from llmspec.resolve import resolve, resolved_yaml
from llmspec.spec import compose, load
from llmspec.spec.examples import EXAMPLES, KINDS
from llmspec.spec.schema import Spec
from llmspec.spec.shape import fields, shape_of
from tests.spec.spec_files import FULL, SMALL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spec.yaml"


def diagnose(path: Path, text: str, *overrides: str) -> list[Diagnostic]:
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    bag = Bag()
    try:
        load(compose(path, overrides, bag), bag)
    except CompilationError:
        assert bag.errors
    return list(bag)


def test_full_and_small_load(path: Path) -> None:
    assert diagnose(path, FULL) == [] and diagnose(path, SMALL) == []


def test_unknown_keys_at_every_depth(path: Path) -> None:
    """A key that no section has is found in each of them, at its own line and column."""
    lines = FULL.splitlines()
    places = [index for index, line in enumerate(lines) if re.match(r"\s*(- )?[\w{]", line)]
    found = 0
    for index in places:
        line = lines[index]
        indent = re.match(r"\s*", line)
        assert indent is not None
        flow = re.search(r"\{(?=\w)", line)
        if flow is not None:
            changed = line[: flow.end()] + "zzz_unknown: 1, " + line[flow.end() :]
            column = flow.end() + 1
            at = index
            text = [*lines[:index], changed, *lines[index + 1 :]]
        else:
            text = [*lines[:index], f"{indent[0]}zzz_unknown: 1", *lines[index:]]
            column, at = len(indent[0]) + 1, index
        (problem,) = diagnose(path, "\n".join(text))
        assert (problem.code, problem.span.line, problem.span.column) == ("LS101", at + 1, column)
        found += 1
    assert found > 40


LEAVES = [
    (match.group("path"), match.start("value"))
    for match in re.finditer(r"(?:^|[{,]\s*|\n\s*)(?P<path>\w+): (?P<value>[\w.]+)(?=[,}\n])", FULL)
]


@pytest.mark.parametrize("wrong", ["[1, [2]]", "{a: {b: c}}", ".nan", "-.inf", "-7", "1e300", "9" * 400, '"\\e[31m"', "''"])
def test_wrong_values_everywhere(path: Path, wrong: str) -> None:
    """Whatever stands in a field, it is either valid or a problem on that line; never an exception."""
    problems = 0
    for name, start in LEAVES:
        end = start + len(re.match(r"[\w.]+", FULL[start:]).group())  # type: ignore[union-attr]
        text = FULL[:start] + wrong + FULL[end:]
        line = FULL.count("\n", 0, start) + 1
        for diagnostic in diagnose(path, text):
            problems += 1
            assert diagnostic.code.startswith("LS1"), (name, diagnostic)
            # A kind that is wrong makes its section's other fields unknown ones; those may stand on lines of their own.
            assert diagnostic.span.line == line or name == "kind", (name, diagnostic)
            assert re.search(r"constrained|function-|tuple\[|Input should|pydantic", diagnostic.message) is None
    assert problems > 20


def test_one_problem_a_slip(path: Path) -> None:
    for slip in ("num_layrs: 2", "n_layer: 2", "num_layers: two", "num_layers: 0", "num_layers:", "num_layers: [2]", "num_layers: 2.5"):
        assert len(diagnose(path, SMALL.replace("num_layers: 2", slip))) == 1, slip
    for slip in ("{kind: mha, num_haeds: 4}", "{kind: mha}", "{num_heads: 4}", "{kind: mah, num_heads: 4}", "4", "[]"):
        assert len(diagnose(path, SMALL.replace("{kind: mha, num_heads: 4}", slip))) == 1, slip
    window = SMALL.replace("num_heads: 4}", "num_heads: 4, window: %s}")
    for slip in ("x", "-1", "[1, x]", "[]", "[full, -1]", "{}", "true", "1.5"):
        assert len(diagnose(path, window.replace("%s", slip))) == 1, slip


def test_all_problems_at_once(path: Path) -> None:
    text = SMALL.replace("hidden_size: 64", "hidden_size: x").replace("name: small", "name: ''").replace("max_steps: 1000", "max_steps: -1")
    text = text.replace("cpu}", "cpu, colour: red}").replace("kind: byte", "kind: bite")
    found = [(d.code, d.span.line) for d in diagnose(path, text)]
    assert found == [("LS110", 2), ("LS103", 4), ("LS105", 7), ("LS104", 11), ("LS101", 13)]


@pytest.mark.parametrize(
    ("text", "code", "message", "help"),
    [
        ("num_layrs: 2", "LS101", "`num_layrs` is not a field of `architecture`", "did you mean `num_layers`?"),
        ("NumLayers: 2", "LS101", "`NumLayers` is not a field of `architecture`", "did you mean `num_layers`?"),
        ("n_layer: 2", "LS107", "llmspec calls `n_layer` `num_layers`", "write `num_layers`"),
        ("num_layers: 2\n  max_steps: 3", "LS101", "`max_steps` is not a field of `architecture`", "`max_steps` belongs under `training`"),
        (
            "num_layers: 2\n  seed: 3",
            "LS101",
            "`seed` is not a field of `architecture`",
            "`seed` belongs at the top of the spec, not in a section",
        ),
        ("num_layers: '2'", "LS103", "`num_layers` should be a whole number", "write `2`, without quotes or separators"),
        ("num_layers: 2\n  tie_embeddings: yes", "LS103", "`tie_embeddings` should be `true` or `false`", "write `true`"),
        (
            "num_layers: 2\n  kind: recurrent",
            "LS108",
            "a recurrent network such as Mamba or RWKV is not built yet",
            "what can be built today is `decoder`",
        ),
    ],
)
def test_messages(text: str, code: str, message: str, help: str, path: Path) -> None:
    (problem,) = diagnose(path, SMALL.replace("num_layers: 2", text))
    assert (problem.code, problem.message) == (code, message)
    assert help in problem.help


def test_another_tool_s_names_are_answered(path: Path) -> None:
    for foreign, ours in (
        ("d_model", "hidden_size"),
        ("num_attention_heads", "num_heads"),
        ("lr", "learning_rate"),
        ("gradient_clipping", "max_grad_norm"),
    ):
        (problem,) = [d for d in diagnose(path, SMALL + f"{foreign}: 1\n") if d.span.line == 14]
        assert problem.code == "LS107" and ours in problem.message


def test_true_is_not_one(path: Path) -> None:
    assert [d.code for d in diagnose(path, SMALL.replace("llmspec: 1", "llmspec: true"))] == ["LS103"]
    assert [d.code for d in diagnose(path, SMALL + "parallelism: {tensor: true, pipeline: 1.0}\ncheckpoint: {asynchronous: 0}")] == [
        "LS103"
    ] * 3


def test_null_is_absent(path: Path) -> None:
    path.write_text(FULL)
    bag = Bag()
    overrides = ["schedule=null", "architecture.dropout=~", "data.sources[0].weight=null", "launch.torchrun="]
    spec = load(compose(path, overrides, bag), bag)
    assert (spec.schedule.kind, spec.architecture.dropout, spec.data.sources[0].weight, spec.launch.torchrun) == ("cosine", 0.0, None, None)


def test_empty_launcher(path: Path) -> None:
    (problem,) = diagnose(path, SMALL + "launch:\n  torchrun:\n")
    assert (problem.code, problem.span.line, problem.help) == (
        "LS103",
        15,
        ("write `torchrun: {}` for its default settings, or remove the line",),
    )


def test_places_in_presets_and_overrides(path: Path) -> None:
    (problem,) = diagnose(path, SMALL, "training.max_steps=many")
    assert (problem.code, problem.span.file, problem.span.column) == ("LS103", "--set", 20)
    (problem,) = diagnose(path, SMALL, "data.sources[0].weihgt=2")
    assert (problem.code, problem.span.file, problem.span.column) == ("LS101", "--set", 17)


def test_examples_cover_what_is_required() -> None:
    required = {field.path for field in fields() if field.info.is_required() and field.name != "kind"}
    assert required == set(EXAMPLES)
    tagged = set()
    for field in fields():
        shape = shape_of(field.annotation)
        if shape.tagged:
            tagged.add(field.path)
        if shape.item is not None and shape.item.tagged:
            tagged.add(f"{field.path}[]")
    assert tagged == set(KINDS)


def test_examples_are_right(path: Path) -> None:
    text = "\n".join(EXAMPLES[name] for name in EXAMPLES if "." not in name) + "\n"
    assert [d for d in diagnose(path, text) if d.code != "LS341"] == []


def test_the_schema_takes_no_time_at_import() -> None:
    """Optional sections are validated with the whole; an instance as a default would build a validator at import."""
    assert not [name for name, info in Spec.model_fields.items() if hasattr(info.default, "model_fields")]


# Pieces of YAML syntax and values, between bars.
DAMAGE = (
    "|:|: |- |\n|\t|{|}|[|]|'|\"|&a |*a|!!str |!x |<<: |>|#|? |---\n"
    "|~|null|.nan|-1|1e999|0|99999999999999999999|true|kind|\x00|\x1b|\ufeff|\u2028|é|𝄞"
)
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(FULL)),
        st.integers(0, 12),
        st.one_of(st.sampled_from([*DAMAGE.split("|"), "|", "preset: gpt2\n"]), st.text(max_size=4)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(MUTATIONS)
def test_random_damage_is_a_diagnostic_or_a_spec(path: Path, mutations: list[tuple[int, int, str]]) -> None:
    text = FULL
    for at, length, inserted in mutations:
        text = text[:at] + inserted + text[at + length :]
    path.write_bytes(text.encode("utf-8", errors="replace"))
    bag = Bag()
    try:
        composed = compose(path, [], bag)
        spec = load(composed, bag)
        resolved = resolve(composed, spec, bag)
        list(check(resolved, describe(resolved), None))
        resolved_yaml(resolved)
    except CompilationError:
        assert bag.errors
    for diagnostic in bag:
        assert diagnostic.span.line >= 1 and diagnostic.span.column >= 1
        assert diagnostic.span.end_column > diagnostic.span.column


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.binary(max_size=200))
def test_random_bytes_are_diagnostics(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    bag = Bag()
    with pytest.raises(CompilationError):
        load(compose(path, [], bag), bag)
    assert bag.errors


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.lists(st.text(alphabet="abc.[]019={}:, '\"-&*!~\n", max_size=20), min_size=1, max_size=3))
def test_random_overrides_are_diagnostics_or_specs(path: Path, overrides: list[str]) -> None:
    path.write_text(SMALL)
    bag = Bag()
    try:
        load(compose(path, overrides, bag), bag)
    except CompilationError:
        assert bag.errors
