"""`llmspec estimate --calibrate` and `--profile`: what is learned from logs, what it changes, and what is refused."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspec.cli.main import main
from llmspec.compare import read_log
from llmspec.compare.observation import WARM_UP_STEPS, observe
from llmspec.compile import analyze
from llmspec.diagnostics import Bag
from llmspec.estimate.likeness import sizes_of
from llmspec.estimate.profile_file import profile_text, read_profile
from tests.cli.conftest import ROOT, Run
from tests.cli.test_compare import SPEC, line, write

EVERY = [1, *range(10, 121, 10)]


def lines(seconds: float, *, steps: list[int] = EVERY, **values: Any) -> Iterator[dict[str, Any]]:
    """A run whose first steps are slow, and which loses a tenth of its time."""
    clock = 0.0
    before = 0
    for step in steps:
        each = seconds * (1 + 0.02 * math.sin(step)) if step > 10 else 9 * seconds
        clock += (step - before) * each / 0.9
        before = step
        yield line(step, tokens_per_second=2048 / each, seconds=clock, memory_gib=0.72, **values)


def project(directory: Path, seconds: float, **options: Any) -> Path:
    return write(directory, lines(seconds, **options))


def estimate(llmspec: Run, *arguments: str | Path, cwd: Path = ROOT) -> dict[str, Any]:
    finished = llmspec("estimate", *arguments, "--format", "json", cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def plain_seconds(directory: Path) -> float:
    return analyze(directory / "spec.yaml", (), Bag(), to_build=False).estimate.step_time.step.value


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project(tmp_path / "ran", 0.6)
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    assert main(["estimate", "spec.yaml", "--calibrate", "ran", "--profile", "mine"]) == 0
    return tmp_path


def test_a_log_moves_its_own_estimate_to_what_was_measured(llmspec: Run, calibrated: Path) -> None:
    before, after = (estimate(llmspec, "spec.yaml", *more, cwd=calibrated) for more in ((), ("--profile", "mine")))
    assert after["time"]["step_seconds"] == pytest.approx(0.6, rel=0.02)
    assert after["memory"]["peak_gib"] == pytest.approx(0.72, rel=0.02)
    assert after["time"]["goodput"] == pytest.approx(0.9, abs=0.01)
    for key in ("time.step_seconds", "memory.peak_gib"):
        (low, high), (old_low, old_high) = after["intervals"][key], before["intervals"][key]
        assert low < after[key.split(".")[0]][key.split(".")[1]] < high
        assert math.log(high / low) < 0.4 * math.log(old_high / old_low)
    ratio = after["time"]["step_seconds"] / before["time"]["step_seconds"]
    assert after["calibration"]["step_factor"] == pytest.approx(ratio)
    for part, seconds in after["time"]["step_by_component"].items():
        assert seconds == pytest.approx(before["time"]["step_by_component"][part] * ratio)
    assert after["throughput"]["mfu"] == pytest.approx(before["throughput"]["mfu"] / ratio)
    assert after["parameters"] == before["parameters"] and after["flops"] == before["flops"] and "calibration" not in before


def test_another_model_moves_less_and_stays_less_certain(llmspec: Run, calibrated: Path) -> None:
    wider = ("--set", "architecture.hidden_size=768", "--set", "training.sequence_length=1024")
    same, other = (estimate(llmspec, "spec.yaml", "--profile", "mine", *more, cwd=calibrated)["calibration"] for more in ((), wider))
    assert 1 < other["step_factor"] < same["step_factor"] and same["step_interval"] < 0.4 < other["step_interval"] < 1
    assert "doublings away" in other["differs"] and same["differs"] == ""
    nodes = estimate(llmspec, "spec.yaml", "--profile", "mine", "--set", "hardware.nodes=2", cwd=calibrated)["calibration"]
    assert nodes["step_interval"] > same["step_interval"] and "none on several nodes" in nodes["differs"]


def test_the_screen_says_what_changed_and_where_it_is(llmspec: Run, tmp_path: Path) -> None:
    project(tmp_path / "a", 0.6)
    project(tmp_path / "b", 0.62, steps=[*range(1, 61)])
    finished = llmspec("estimate", "--calibrate", "a", "b/run/metrics.jsonl", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    text = finished.stdout
    assert "profile cpu: 2 runs, 160 steps on cpu" in text and f"the first {WARM_UP_STEPS} steps of each run are left out" in text
    assert re.search(r"quickstart +(59|60)\d ms +\d+ ms +x 1\.\d\d +0\.72 GiB.* 90% +110 steps, 11 lines", text)
    assert "wrote llmspec-profiles/cpu.yaml: use it with `--profile cpu`" in text
    assert re.search(r"interval of the step is \d+% as wide as before", text)
    assert re.search(r"calibrated +by profile cpu: 2 runs, 160 steps", text)
    again = llmspec("estimate", "--calibrate", "a", "b", cwd=tmp_path)
    assert "replaced llmspec-profiles/cpu.yaml" in again.stdout
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == ["a/run/metrics.jsonl", "a/spec.yaml", "b/run/metrics.jsonl", "b/spec.yaml", "llmspec-profiles/cpu.yaml"]
    derived = llmspec("estimate", "a/spec.yaml", "--profile", "cpu", "--explain", cwd=tmp_path).stdout
    for figure in ("time.step_seconds", "memory.peak_gib"):
        assert re.search(rf"^{figure} = [\s\S]*?^    calibration +[\d.]+  profile cpu: 2 runs, 160 steps", derived, re.MULTILINE)
    assert re.search(r"^    stepping +0\.\d+  profile cpu: 2 runs", derived, re.MULTILINE)


def test_json_says_the_same(llmspec: Run, tmp_path: Path) -> None:
    project(tmp_path, 0.6)
    before = plain_seconds(tmp_path)
    found = estimate(llmspec, "--calibrate", tmp_path, "--profile", tmp_path / "one.yaml")
    assert found["calibrated"]["file"] == str(tmp_path / "one.yaml") and not found["calibrated"]["replaced"]
    assert found["calibrated"]["before"]["time.step_seconds"]["value"] == before
    (run,) = found["calibrated"]["runs"]
    assert run["steps"] == 110 and run["step_seconds"]["estimated"] == pytest.approx(before, rel=1e-5)
    again = estimate(llmspec, tmp_path / "spec.yaml", "--profile", tmp_path / "one.yaml")
    assert again["time"] == found["time"] and again["memory"] == found["memory"]


def test_tables_and_variations_use_the_profile(llmspec: Run, calibrated: Path) -> None:
    alone = estimate(llmspec, "spec.yaml", "--profile", "mine", cwd=calibrated)["time"]["step_seconds"]
    two = json.loads(llmspec("estimate", "spec.yaml", "ran/spec.yaml", "--profile", "mine", "--format", "json", cwd=calibrated).stdout)
    assert [entry["estimate"]["time"]["step_seconds"] for entry in two] == [alone, alone]
    rows = json.loads(
        llmspec(
            "estimate", "spec.yaml", "--what-if", "training.micro_batch_size=4", "--profile", "mine", "--format", "json", cwd=calibrated
        ).stdout
    )
    (row,) = csv.DictReader(io.StringIO(llmspec("estimate", "spec.yaml", "--profile", "mine", "--format", "csv", cwd=calibrated).stdout))
    assert float(row["time.step_seconds"]) == alone and row["calibration.profile"] == "mine"
    assert rows[0]["estimate"]["time"]["step_seconds"] == alone and rows[1]["estimate"]["calibration"]["step_interval"] > 0.3


def test_the_page_is_calibrated_too(llmspec: Run, calibrated: Path) -> None:
    assert llmspec("estimate", "spec.yaml", "--profile", "mine", "--html", "page.html", cwd=calibrated).returncode == 0
    assert "Calibrated by profile mine: 1 run, 110 steps" in (calibrated / "page.html").read_text()


def test_the_file_is_read_as_it_was_written(calibrated: Path) -> None:
    path, bag = calibrated / "llmspec-profiles/mine.yaml", Bag()
    profile = read_profile(path, "mine", (), bag)
    assert profile is not None and not bag.diagnostics
    assert profile_text(profile) == path.read_text()
    analysis = analyze(calibrated / "spec.yaml", (), Bag(), to_build=False, profile=profile)
    import numpy as np

    from llmspec.catalog import find_accelerator
    from llmspec.estimate.configuration import configuration_of

    device = find_accelerator("cpu")
    assert device is not None
    configuration = configuration_of(analysis.resolved, analysis.network, device)
    assert profile.runs[0].sizes == tuple(float(size) for size in sizes_of(configuration))
    # What the search would ask for: columns.
    batches = np.array([8.0, 16.0])
    column = configuration._replace(layout=configuration.layout._replace(micro_batch=batches))
    factors, low, high = profile.step_factors(np, column, np.full(2, 0.75), np.full(2, 1.35), engine="torch", precision="fp32")
    assert analysis.estimate.calibration is not None
    assert factors[0] == pytest.approx(analysis.estimate.calibration.step.factor) and 1 < factors[1] < factors[0]
    assert low[1] < low[0] < 1 < high[0] < high[1]


def test_the_first_steps_are_left_out(tmp_path: Path) -> None:
    project(tmp_path, 0.5)
    log = read_log(tmp_path / "run/metrics.jsonl", Bag())
    assert log is not None
    seen = observe(log, 2048)
    assert seen is not None and seen.steps == 110 and seen.intervals == 11
    assert seen.step_seconds == pytest.approx(0.5, rel=0.02) and 0 < seen.step_noise < 0.02
    assert seen.stepping == pytest.approx(0.9) and seen.memory_gib == 0.72


def test_an_accelerators_log_speaks_of_what_the_allocator_hands_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is counted exactly stays: parameters, gradients, the optimizer's state."""
    monkeypatch.chdir(tmp_path)
    spec = (ROOT / "specs/gpt2-124m.yaml").read_text()
    write(tmp_path, [])
    (tmp_path / "spec.yaml").write_text(spec)
    plain = analyze(tmp_path / "spec.yaml", (), Bag(), to_build=False)
    tokens = plain.resolved.tokens_per_step
    before = plain.estimate
    allocated = before.memory.allocated_bytes / 2**30 * 1.2
    made = [
        line(step, tokens=step * tokens, tokens_per_second=tokens / before.step_time.step.value / 1.5, memory_gib=allocated)
        for step in EVERY
    ]
    (tmp_path / "run/metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
    assert main(["estimate", "--calibrate", "."]) == 0
    (path,), bag = (tmp_path / "llmspec-profiles").glob("*.yaml"), Bag()
    profile = read_profile(path, path.stem, (), bag)
    assert profile is not None and profile.accelerator == plain.resolved.spec.hardware.accelerator == path.stem
    after = analyze(tmp_path / "spec.yaml", (), Bag(), to_build=False, profile=profile).estimate
    assert after.memory.allocated_bytes / 2**30 == pytest.approx(allocated, rel=0.02)
    assert after.step_time.step.value == pytest.approx(1.5 * before.step_time.step.value, rel=0.05)
    for name, size in before.memory.by_component.items():
        if name in {"parameters", "gradients", "optimizer", "framework", "fragmentation"}:
            assert after.memory.by_component[name] == size
        else:
            assert after.memory.by_component[name] > 1.1 * size, name
    assert sum(after.memory.by_component.values()) == after.memory.peak_bytes


# Problems ------------------------------------------------------------------------------------------------------------------------


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `llmspec estimate` in this process, which ends with 1 and a code, not a traceback, and writes nothing. Gives the place."""

    def run(code: str, cwd: Path, *arguments: str | Path) -> str:
        before = {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()}
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        status = main(["estimate", *map(str, arguments), "--diagnostics", "concise"])
        out, err = capsys.readouterr()
        assert status == 1 and out == "", out
        found = re.search(rf"^(\S+:\d+:\d+): {code} ", err, re.MULTILINE)
        assert found, err
        assert {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()} == before
        return found[1]

    return run


def test_logs_that_cannot_be_used(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "alone.jsonl").write_text(json.dumps(line(1)))
    (tmp_path / "empty").mkdir()
    write(tmp_path / "silent", [])
    project(tmp_path / "short", 0.5, steps=[1, 10, 20, 30])
    project(tmp_path / "ran", 0.5)
    project(tmp_path / "elsewhere", 0.5, mfu=None)
    other = project(tmp_path / "other", 0.5)
    (other / "spec.yaml").write_text(SPEC.replace("sequence_length: 256", "sequence_length: 128"))
    write(tmp_path / "garbage", ["\x00\x01", "no", "{}"])
    calibrate = ("--calibrate",)
    assert refused("LS560", tmp_path, *calibrate, "alone.jsonl") == "alone.jsonl:1:1"
    assert refused("LS560", tmp_path, *calibrate, "empty") == "empty:1:1"
    assert refused("LS560", tmp_path, *calibrate, "nowhere.jsonl") == "nowhere.jsonl:1:1"
    assert refused("LS560", tmp_path, *calibrate, "ran/spec.yaml") == "ran/spec.yaml:1:1"
    assert refused("LS521", tmp_path, *calibrate, "silent") == "silent/run/metrics.jsonl:1:1"
    assert refused("LS521", tmp_path, *calibrate, "garbage") == "garbage/run/metrics.jsonl:1:1"
    assert refused("LS561", tmp_path, *calibrate, "short") == "short/run/metrics.jsonl:4:1"
    assert refused("LS562", tmp_path, *calibrate, "other") == "other/run/metrics.jsonl:1:1"
    assert refused("LS562", tmp_path, *calibrate, "elsewhere").startswith("elsewhere/run/metrics.jsonl:13:")
    (tmp_path / "broken").mkdir()
    project(tmp_path / "broken", 0.5)
    (tmp_path / "broken/spec.yaml").write_text(SPEC + "nonsense: 1\n")
    assert refused("LS101", tmp_path, *calibrate, "broken").startswith("broken/spec.yaml:")


def test_a_run_nowhere_near_its_estimate_is_doubted(llmspec: Run, tmp_path: Path) -> None:
    project(tmp_path, 20.0)
    finished = llmspec("estimate", "--calibrate", ".", "--diagnostics", "concise", cwd=tmp_path)
    assert finished.returncode == 0 and "LS568" in finished.stderr


def test_places_that_cannot_be_written(llmspec: Run, refused: Refused, tmp_path: Path) -> None:
    project(tmp_path, 0.5)
    (tmp_path / "notes.yaml").write_text("mine: 1\n")
    assert refused("LS567", tmp_path, "--calibrate", ".", "--profile", "notes.yaml") == "notes.yaml:1:1"
    assert refused("LS567", tmp_path, "--calibrate", ".", "--profile", "notes.yaml/mine.yaml") == "notes.yaml/mine.yaml:1:1"
    assert refused("LS567", tmp_path, "--calibrate", ".", "--profile", "run/") == "run:1:1"
    finished = llmspec("estimate", "--calibrate", ".", "--profile", "two words", cwd=tmp_path)
    assert finished.returncode == 1 and "LS567" in finished.stderr and not (tmp_path / "llmspec-profiles").exists()


def test_other_accelerators(refused: Refused, calibrated: Path) -> None:
    other = ("--set", "hardware.accelerator=h100-sxm")
    assert refused("LS565", calibrated, "spec.yaml", "--profile", "mine", *other).startswith("--set:")
    on_gpu = calibrated / "gpu.yaml"
    on_gpu.write_text(SPEC.replace("accelerator: cpu", "accelerator: h100-sxm"))
    line_of = next(n for n, text in enumerate(on_gpu.read_text().split("\n"), start=1) if "accelerator: h100-sxm" in text)
    assert refused("LS565", calibrated, "gpu.yaml", "--calibrate", "ran").startswith(f"gpu.yaml:{line_of}:")
    project(calibrated / "two", 0.1)
    (calibrated / "two/spec.yaml").write_text(on_gpu.read_text())
    assert refused("LS565", calibrated, "--calibrate", "ran", "two") == "two/spec.yaml:1:1"


@pytest.mark.parametrize(
    ("pattern", "replacement", "code", "field"),
    [
        (r"measured: 0\.\d+", "measured: 0.1", "LS564", "check"),
        (r"steps: 110", "steps: 9999", "LS564", "check"),
        (r"measured: 0\.\d+", "measured: fast", "LS564", "step_seconds"),
        (r"measured: 0\.\d+", "measured: .nan", "LS564", "step_seconds"),
        (r"low: 0\.\d+", "low: 7", "LS564", "step_seconds"),
        (r"hidden_size: \d+", "width: 192", "LS564", "sizes"),
        (r'sharded: "nothing"', "sharded: 7", "LS564", "kinds"),
        (r'  engine: "torch"\n', "", "LS564", "name"),
        (r"llmspec_profile: 1", "llmspec_profile: 2", "LS564", "llmspec_profile"),
        (r"name: \"mine\"", 'name: "yours"', "LS564", "check"),
        (r"accelerator: \"cpu\"", 'accelerator: "h100-sxm"', "LS564", "check"),
        (r"runs:\n", "runs: [\n", "LS564", ""),
        (r"[\s\S]*", "", "LS564", ""),
        (r"[\s\S]*", "- 1\n", "LS564", ""),
    ],
)
def test_edited_profiles_are_refused(pattern: str, replacement: str, code: str, field: str, refused: Refused, calibrated: Path) -> None:
    path = calibrated / "llmspec-profiles/mine.yaml"
    text = re.sub(pattern, replacement, path.read_text(), count=1)
    path.write_text(text)
    place = refused(code, calibrated, "spec.yaml", "--profile", "mine")
    name, number, _ = place.rsplit(":", 2)
    assert name == "llmspec-profiles/mine.yaml"
    assert field in [*text.split("\n"), ""][int(number) - 1]


def test_profiles_that_are_not_there_or_not_for_this_version(llmspec: Run, refused: Refused, calibrated: Path) -> None:
    assert refused("LS563", calibrated, "spec.yaml", "--profile", "mien") == "llmspec-profiles/mien.yaml:1:1"
    finished = llmspec("estimate", "spec.yaml", "--profile", "mien", cwd=calibrated)
    assert "did you mean `mine`?" in finished.stderr
    path = calibrated / "llmspec-profiles/mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert refused("LS564", calibrated, "spec.yaml", "--profile", "mine") == "llmspec-profiles/mine.yaml:1:1"
    path.unlink()
    path.mkdir()
    assert refused("LS564", calibrated, "spec.yaml", "--profile", "mine") == "llmspec-profiles/mine.yaml:1:1"


def test_a_profile_of_other_constants_is_refused(refused: Refused, calibrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = calibrated / "llmspec-profiles/mine.yaml"
    profile = read_profile(path, "mine", (), Bag())
    assert profile is not None
    with monkeypatch.context() as other:
        other.setattr("llmspec.estimate.profile_file.constants_in_use", lambda: "0123456789ab")
        path.write_text(profile_text(profile))
    assert refused("LS566", calibrated, "spec.yaml", "--profile", "mine") == "llmspec-profiles/mine.yaml:7:12"


def test_usage(llmspec: Run, tmp_path: Path) -> None:
    project(tmp_path, 0.5)
    assert llmspec("estimate").returncode == 2
    for arguments in (("--what-if", "training.micro_batch_size=1"), ("--format", "csv")):
        assert llmspec("estimate", "--calibrate", ".", *arguments, cwd=tmp_path).returncode == 2
    assert not (tmp_path / "llmspec-profiles").exists()


# A real run ----------------------------------------------------------------------------------------------------------------------

TINY = """
llmspec: 1
name: tiny
architecture:
  kind: decoder
  hidden_size: 128
  num_layers: 4
  attention: {kind: mha, num_heads: 4}
tokenizer: {kind: byte}
data: {sources: [{name: text, kind: jsonl, path: text.jsonl}], validation_fraction: 0.2}
training: {sequence_length: 128, global_batch_size: 8, max_steps: 60}
optimizer: {kind: adamw, learning_rate: 1e-3}
precision: fp32
hardware: {accelerator: cpu}
logging: {every: 5}
evaluation: {every: 60, max_tokens: 2k}
"""


def train(llmspec: Run, directory: Path, spec: Path, *overrides: str) -> float:
    """Build and train; seconds of a step."""
    built = llmspec("build", spec, "-o", directory, *(part for override in overrides for part in ("--set", override)))
    assert built.returncode == 0, built.stderr
    # One thread where the estimate counts on two cores: a difference between machines that no spec tells of.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for program in ("tokenizer.py", "prepare_data.py", "train.py"):
        ran = subprocess.run(
            [sys.executable, program], cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    log = read_log(directory / "run/metrics.jsonl", Bag())
    assert log is not None
    seen = observe(log, 1024)
    assert seen is not None
    return seen.step_seconds


@pytest.mark.slow
def test_sixty_real_steps_bring_this_and_a_wider_model_nearer_to_what_is_measured(llmspec: Run, tmp_path: Path) -> None:
    spec, wider = tmp_path / "tiny.yaml", "architecture.hidden_size=256"
    spec.write_text(TINY)
    text = (ROOT / "tests/cli/test_compare.py").read_text()
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"{n}\n{text}"}) + "\n" for n in range(20)))
    measured = train(llmspec, tmp_path / "tiny", spec), train(llmspec, tmp_path / "wide", spec, wider)
    found = estimate(llmspec, spec, "--calibrate", tmp_path / "tiny", "--profile", "here")
    assert found["calibrated"]["runs"][0]["step_seconds"]["measured"] == pytest.approx(measured[0], rel=1e-5)
    for seconds, changes in zip(measured, ((), ("--set", wider)), strict=True):
        before, after = (estimate(llmspec, spec, *changes, *more)["time"]["step_seconds"] for more in ((), ("--profile", "here")))
        print(f"measured {seconds:.4f} s, estimated {before:.4f} s, calibrated {after:.4f} s")
        assert abs(math.log(after / seconds)) < abs(math.log(before / seconds))
    # Both together leave the wider one nowhere to hide.
    assert llmspec("estimate", spec, "--calibrate", tmp_path / "tiny", tmp_path / "wide", "--profile", "here").returncode == 0
    again = estimate(llmspec, spec, "--set", wider, "--profile", "here")["time"]["step_seconds"]
    assert again == pytest.approx(measured[1], rel=0.1)
