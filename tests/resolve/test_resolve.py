"""Derived values against their rules, computed by hand; origins; the resolved spec as text."""

from pathlib import Path

import pytest

from llmspec.diagnostics import Bag
from llmspec.resolve import OriginKind, Resolved, resolve, resolved_yaml
from llmspec.spec import compose, load
from llmspec.spec.shape import fields
from tests.spec.spec_files import FULL, SMALL


def resolved(path: Path, text: str, *overrides: str) -> Resolved:
    path.write_text(text)
    bag = Bag()
    composed = compose(path, overrides, bag)
    found = resolve(composed, load(composed, bag), bag)
    assert not bag.diagnostics
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spec.yaml"


def value(found: Resolved, path: str) -> object:
    section: object = found.spec
    for name in path.split("."):
        section = getattr(section, name)
    return section


@pytest.mark.parametrize(
    ("overrides", "field", "expected", "rule"),
    [
        ([], "architecture.attention.head_dim", 16, "hidden_size 64 / num_heads 4"),
        (["architecture.attention.num_heads=3"], "architecture.attention.head_dim", 21, "hidden_size 64 / num_heads 3"),
        (["architecture.attention.num_heads=1024"], "architecture.attention.head_dim", 1, "hidden_size 64 / num_heads 1024"),
        ([], "architecture.feed_forward.ffn_hidden_size", 192, "8/3 * hidden_size 64, rounded up to a multiple of 64"),  # 170.67
        (["architecture.hidden_size=72"], "architecture.feed_forward.ffn_hidden_size", 192, None),  # exactly 192
        (["architecture.hidden_size=2048"], "architecture.feed_forward.ffn_hidden_size", 5504, None),  # 5461.33
        (["architecture.feed_forward={kind: gelu}"], "architecture.feed_forward.ffn_hidden_size", 256, "4 * hidden_size 64"),
        ([], "architecture.vocab_size", 257, "tokenizer.vocab_size 257"),
        (["tokenizer={kind: bpe, vocab_size: 4k}"], "architecture.vocab_size", 4000, "tokenizer.vocab_size 4000"),
        (["tokenizer={kind: pretrained, path: a.model}", "architecture.vocab_size=99"], "tokenizer.vocab_size", 99, None),
        (["tokenizer={kind: pretrained, path: a.model, vocab_size: 98}"], "architecture.vocab_size", 98, "tokenizer.vocab_size 98"),
        (["architecture.position={kind: learned}"], "architecture.position.num_positions", 128, "training.sequence_length 128"),
        ([], "training.micro_batch_size", 16, None),
        (["training.sequence_length=2048"], "training.micro_batch_size", 8, None),
        (["training.sequence_length=3000", "training.global_batch_size=14"], "training.micro_batch_size", 2, None),  # 5 fit, 2 divides 14
        (["training.sequence_length=100000"], "training.micro_batch_size", 1, None),
        (["hardware.accelerators_per_node=3"], "training.micro_batch_size", 5, None),  # 16 // 3
        (["hardware.accelerators_per_node=32"], "training.micro_batch_size", 1, None),
        (["training.global_batch_size=16777216", "training.sequence_length=1"], "training.micro_batch_size", 16384, None),
        ([], "training.max_tokens", 2_048_000, "max_steps 1000 * 2048 tokens a step"),
        (["training.max_steps=null", "training.max_tokens=1M"], "training.max_steps", 489, None),
        (["training.max_steps=null", "training.max_tokens=2048"], "training.max_steps", 1, None),
        ([], "schedule.warmup_steps", 10, "1% of max_steps 1000, at most 2000"),
        (["training.max_steps=1M"], "schedule.warmup_steps", 2000, None),
        (["training.max_steps=7"], "schedule.warmup_steps", 0, None),
        ([], "schedule.min_learning_rate", 3e-05, "learning_rate 0.0003 / 10"),
        (["optimizer.learning_rate=1e-4"], "schedule.min_learning_rate", 1e-05, None),
        ([], "checkpoint.every", 100, "a tenth of max_steps 1000, at most 1000"),
        (["training.max_steps=5"], "evaluation.every", 1, None),
        (["training.max_steps=1M"], "evaluation.every", 1000, None),
        ([], "precision", "fp32", "cpu has no bf16"),
        (["hardware.accelerator=h100-sxm"], "precision", "bf16", "h100-sxm has bf16"),
        (["hardware.accelerator=v100-sxm-16"], "precision", "fp32", "v100-sxm-16 has no bf16"),
        ([], "training.compile", False, None),
        (["hardware.accelerator=h100-sxm"], "training.compile", True, None),
    ],
)  # fmt: skip
def test_derived_values(path: Path, overrides: list[str], field: str, expected: object, rule: str | None) -> None:
    found = resolved(path, SMALL, *overrides)
    assert value(found, field) == expected and type(value(found, field)) is type(expected)
    origin = found.origin(field)
    assert origin.kind is OriginKind.DERIVED and origin.span is None
    if rule is not None:
        assert origin.text == f"derived: {rule}"


@pytest.mark.parametrize(("nodes", "expected"), [(1, 36), (8, 36), (2048, 36)])
def test_runs_of_long_steps_are_saved_often(path: Path, nodes: int, expected: int) -> None:
    large = ["architecture.hidden_size=16384", "architecture.num_layers=126", "architecture.attention={kind: mha, num_heads: 128}"]
    run = ["training.sequence_length=8192", "training.global_batch_size=2048", "training.max_steps=1M", "training.micro_batch_size=1"]
    hardware = ["hardware.accelerator=h100-sxm", "hardware.accelerators_per_node=8", f"hardware.nodes={nodes}"]
    found = resolved(path, SMALL, *large, *run, *hardware)
    assert found.spec.checkpoint.every == expected
    assert found.spec.evaluation.every == 1000
    # 126 layers of 12 h^2 or so at six FLOPs a token and entry; one failure in 45,331 device hours.
    seconds = 6 * 126 * 12 * 16384**2 * 1.06 * 2048 * 8192 / (0.4 * 989e12 * nodes * 8)
    assert expected * seconds == pytest.approx(45_331 * 3600 / (nodes * 8) / 40, rel=0.1)
    assert "a fortieth of the" in found.origin("checkpoint.every").text
    assert resolved(path, SMALL, *run, *hardware).spec.checkpoint.every == 1000


@pytest.mark.parametrize(
    ("overrides", "local", "torchrun"),
    [
        ([], True, False),
        (["hardware.nodes=2"], True, True),
        (["launch={local: {}}", "hardware.nodes=2"], True, False),
        (["launch={torchrun: {}}"], False, True),
        (["launch={torchrun: {}, local: {}}"], True, True),
    ],
)
def test_launchers(path: Path, overrides: list[str], local: bool, torchrun: bool) -> None:
    launch = resolved(path, SMALL, *overrides).spec.launch
    assert (launch.local is not None, launch.torchrun is not None) == (local, torchrun)
    if launch.torchrun is not None:
        assert launch.torchrun.port == 29_500


SCHEDULES = (
    *("constant", "step", "multi_step", "exponential", "linear", "polynomial", "inverse_sqrt"),
    *("cosine", "cosine_restarts", "wsd", "cyclical", "one_cycle"),
)


@pytest.mark.parametrize(
    ("schedule", "field", "value", "rule"),
    [
        ("{kind: step, warmup_steps: 100}", "decay_every", 300, "a third of the 900 steps after the warm-up"),
        ("{kind: inverse_sqrt, warmup_steps: 50}", "timescale", 50, "warmup_steps 50"),
        ("{kind: inverse_sqrt, warmup_steps: 0}", "timescale", 10_000, "there is no warm-up"),
        ("{kind: cosine_restarts, warmup_steps: 100}", "cycle_steps", 225, "4 cycles in the 900 steps after the warm-up"),
        (
            *("{kind: cosine_restarts, warmup_steps: 100, cycle_growth: 2}", "cycle_steps", 60),
            "4 cycles in the 900 steps after the warm-up, each 2 times as long as the last",
        ),
        ("{kind: cyclical}", "rise_steps", 125, "half a cycle, 4 of them in max_steps 1000"),
        ("{kind: cyclical, rise_steps: 7}", "fall_steps", 7, "rise_steps 7"),
        ("{kind: one_cycle}", "initial_learning_rate", 1.2e-05, "learning_rate 0.0003 / 25"),
        ("{kind: one_cycle, initial_learning_rate: 1e-4}", "min_learning_rate", 1e-08, "initial_learning_rate 0.0001 / 10000"),
    ],
)
def test_schedules(path: Path, schedule: str, field: str, value: float, rule: str) -> None:
    found = resolved(path, SMALL, f"schedule={schedule}")
    assert getattr(found.spec.schedule, field) == value
    assert found.origin(f"schedule.{field}").text == f"derived: {rule}"


def test_everything_marked_as_derived_is_filled(path: Path) -> None:
    variants = [
        [],
        ["hardware.nodes=2"],
        ["tokenizer={kind: pretrained, path: a.model, vocab_size: 9}"],
        ["architecture.position={kind: sinusoidal}"],
        ["architecture.mup={base_hidden_size: 32}"],
    ]
    variants += [["architecture.position={kind: learned}"], ["launch={torchrun: {}}"]]
    variants += [[f"schedule={{kind: {kind}}}"] for kind in SCHEDULES]
    seen = set()
    for overrides in variants:
        found = resolved(path, SMALL, *overrides)
        for field in fields():
            if field.rule is None or field.path.startswith("launch"):
                continue
            section: object = found.spec
            for name in field.path.split(".")[:-1]:
                section = getattr(section, name)
            if isinstance(section, field.section):
                assert getattr(section, field.name) is not None, field.path
                seen.add((field.path, field.section))
    assert seen == {(field.path, field.section) for field in fields() if field.rule and not field.path.startswith("launch")} - {
        (field.path, field.section)
        for field in fields()
        if (field.path, field.kind) in {("architecture.attention.head_dim", kind) for kind in ("gqa", "mqa")}
        or (field.path == "architecture.feed_forward.ffn_hidden_size" and field.kind != "swiglu")
    }


def test_full_leaves_little_to_derive(path: Path) -> None:
    found = resolved(path, FULL)
    derived = {name for name, origin in found.origins.items() if origin.kind is OriginKind.DERIVED}
    layout = {f"parallelism.{name}" for name in ("data", "shard_size", "zero_stage", "sequence_parallel", "deepspeed_optimizer")}
    assert derived == {"training.max_steps", "training.compile", "checkpoint.asynchronous"} | layout
    assert found.spec.training.max_duration == 5400.0


def test_origins(path: Path) -> None:
    (path.parent / "base.yaml").write_text(SMALL)
    found = resolved(path, "extends: base.yaml\npreset: gpt2\nseed: 3\n", "data.sources[0].weight=2", "training.max_steps=7")
    origins = {name: (found.origin(name).kind, found.origin(name).text) for name in found.origins}
    assert origins["seed"] == (OriginKind.SPEC, f"{path}:3")
    assert origins["name"] == (OriginKind.SPEC, f"{path.parent / 'base.yaml'}:2")
    assert origins["architecture.norm.kind"] == (OriginKind.PRESET, "preset gpt2")
    assert origins["data.sources[0].weight"] == (OriginKind.OVERRIDE, "--set data.sources[0].weight=2")
    assert origins["training.max_steps"] == (OriginKind.OVERRIDE, "--set training.max_steps=7")
    assert origins["logging.every"] == (OriginKind.DEFAULT, "default")
    assert origins["data.sources[0].name"][0] is OriginKind.SPEC
    assert found.span("training.max_steps").file == "--set"
    assert found.span("logging.every") == found.root
    assert found.span("training.max_grad_norm").line == 11  # the section that it would stand in


def test_resolution_is_total(path: Path) -> None:
    """Whatever the schema accepts is filled: rules, not resolution, say what is impossible."""
    found = resolved(path, SMALL, "training.max_steps=null", "tokenizer={kind: pretrained, path: a.model}", "hardware.accelerator=nothing")
    assert found.spec.training.max_steps >= 1 and found.spec.architecture.vocab_size >= 1
    assert found.origin("training.max_steps").text.startswith("derived: undetermined")
    resolved(path, SMALL, "hardware={accelerator: cpu, nodes: 100000, accelerators_per_node: 1024}", "training.max_steps=1000000000000000")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["hardware.nodes=2"],
        ["launch={torchrun: {port: 2000}}", "hardware.nodes=2"],
        ["training.max_steps=null", "training.max_tokens=1M"],
        ["preset=llama-3.2-1b"],
        ["preset=gpt2"],
        ["description='a \"b\" # c: d\\e'"],
        ['description="two\\nlines \\u2028 𝄞 {{ x }} \\\\ #"'],
        ["generation.prompts=['null', '1e5', '- x', '# y', ' ']"],
        ["name='012'"],
    ],
)
@pytest.mark.parametrize("base", [SMALL, FULL])
def test_the_resolved_text_reads_back_as_the_same_run(path: Path, base: str, overrides: list[str]) -> None:
    found = resolved(path, base, *overrides)
    text = resolved_yaml(found)
    again = resolved(path.with_name("again.yaml"), text)
    assert again.spec == found.spec
    assert text == resolved_yaml(found)
    assert text.splitlines()[2:] != [] and all("#" in line or line.endswith(":") for line in text.splitlines())


def test_the_resolved_text_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "base.yaml").write_text(SMALL)
    (tmp_path / "specs" / "spec.yaml").write_text("extends: ../base.yaml\nseed: 3\n")
    texts = set()
    for directory, name in (
        (tmp_path, "specs/spec.yaml"),
        (tmp_path / "specs", "spec.yaml"),
        (tmp_path, str(tmp_path / "specs" / "spec.yaml")),
    ):
        monkeypatch.chdir(directory)
        bag = Bag()
        composed = compose(Path(name), [], bag)
        texts.add(resolved_yaml(resolve(composed, load(composed, bag), bag)))
    (text,) = texts
    assert "# spec.yaml:2" in text and "# ../base.yaml:2" in text
