"""`llmspec search`: what it prints, what it refuses, what it writes."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

from llmspec.cli.main import main
from llmspec.cli.profiles import load_profile
from llmspec.diagnostics import Bag, CompilationError
from llmspec.search import Request, search
from tests.cli.conftest import ROOT, Run

LLAMA = "specs/llama-3.2-1b.yaml"


@pytest.fixture
def llmspec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, which leaves out twenty starts of Python."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(ROOT)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess([*map(str, arguments)], status, out, err)

    return run


def copied(tmp_path: Path, name: str = "llama-3.2-1b", **replaced: str) -> Path:
    text = (ROOT / f"specs/{name}.yaml").read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_the_screen_says_what_is_best_and_why(llmspec: Run) -> None:
    finished = llmspec("search", LLAMA)
    assert finished.returncode == 0, finished.stderr
    out = finished.stdout
    for said in ("layouts scored", "as it is: ddp, micro batch 2", "the best that can be built today", "saves", "time: matrix products"):
        assert said in out
    assert "do not fit. What takes most of their memory: activations" in out
    assert "ZeRO stage 0 (LS370)" in out and "time against money" in out and "256 x H100" in out
    assert "--apply writes " in out and "(was 2)" in out


def test_json_and_csv_say_the_same(llmspec: Run) -> None:
    found = json.loads(llmspec("search", LLAMA, "--format", "json", "--top", "3").stdout)
    assert found["candidates"] > 10_000 > found["fitting"] > 1000 and found["reached"]
    assert sum(found["does_not_fit"].values()) == found["candidates"] - found["fitting"]
    assert len(found["best"]) == 3 and all(entry["buildable"] and entry["fits"] for entry in found["best"])
    steps = [entry["step_seconds"] for entry in found["best"]]
    assert steps == sorted(steps) and steps[0] < found["own"]["step_seconds"]
    best = found["best"][0]
    assert sum(best["step_by_component"].values()) == pytest.approx(best["step_seconds"])
    hours, money = zip(*((entry["total_hours"], entry["usd"]) for entry in found["frontier"]), strict=True)
    assert list(hours) == sorted(hours) and list(money) == sorted(money, reverse=True)
    rows = list(csv.DictReader(io.StringIO(llmspec("search", LLAMA, "--format", "csv", "--top", "3").stdout)))
    assert [float(row["step_seconds"]) for row in rows if row["kind"] == "best"] == steps
    assert len([row for row in rows if row["kind"] == "frontier"]) == len(found["frontier"])
    # The figures are those of an estimate of the spec with the changes.
    sets = [argument for name, value in best["changes"].items() for argument in ("--set", f"{name}={value}")]
    figures = json.loads(llmspec("estimate", LLAMA, *sets, "--format", "json").stdout)
    assert figures["time"]["step_seconds"] == best["step_seconds"] and figures["cost"]["usd"] == best["usd"]
    assert figures["memory"]["peak_gib"] == best["memory_gib"]


def test_apply_writes_and_says_what(llmspec: Run, tmp_path: Path) -> None:
    path = copied(tmp_path)
    finished = llmspec("search", path, "--apply")
    assert finished.returncode == 0, finished.stderr
    assert f"wrote to {path}: " in finished.stdout
    text = path.read_text()
    assert "micro_batch_size: 4               # on each device" in text and text.count("#") == (ROOT / LLAMA).read_text().count("#")
    assert llmspec("validate", path).returncode == 0
    again = llmspec("search", path, "--apply")
    assert "says so already; nothing was written" in again.stdout and path.read_text() == text


def test_what_cannot_be_built_yet_is_shown_and_only_wins_when_asked(llmspec: Run, tmp_path: Path) -> None:
    # A model that no sharding over eight devices holds but a pipeline or a tensor group does, with its long sequences.
    arguments = (
        "--set",
        "training.sequence_length=131072",
        "--set",
        "training.global_batch_size=8",
        "--set",
        "training.micro_batch_size=1",
    )
    found = json.loads(llmspec("search", LLAMA, *arguments, "--format", "json").stdout)
    assert found["unbuilt"] and not any(entry["buildable"] for entry in found["unbuilt"])
    assert not found["best"] or found["unbuilt"][0]["step_seconds"] < found["best"][0]["step_seconds"]
    screen = llmspec("search", LLAMA, *arguments).stdout
    assert "not built yet" in screen
    taken = json.loads(llmspec("search", LLAMA, *arguments, "--unbuilt", "--format", "json").stdout)
    assert not taken["best"][0]["buildable"] and taken["best"][0]["step_seconds"] == found["unbuilt"][0]["step_seconds"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--deadline", "4h"), "a deadline of 4.0 h costs $"),
        (("--budget", "500"), "a budget of $500 pays the spec's run in"),
        (("--budget", "500", "--vary-tokens"), "a budget of $500 buys a loss of"),
        (("--loss", "2.75"), "a loss of 2.75 costs $"),
        (("--deadline", "1h", "--nodes", "1"), "a deadline of 1.0 h is out of reach: the nearest takes"),
        (("--deadline", "9h", "--nodes", "1", "--set", "training.max_duration=2h"), "out of reach: the nearest takes 2.0 h"),
        (("--budget", "2000", "--provider", "lambda"), "a budget of $2,000 pays the spec's run"),
        (("--deadline", "4h", "--accelerators", "h100-sxm,h200-sxm", "--nodes", "4,8"), "x H200"),
    ],
)
def test_goals(llmspec: Run, arguments: tuple[str, ...], said: str) -> None:
    finished = llmspec("search", LLAMA, *arguments)
    assert finished.returncode == 0, finished.stderr
    assert said in finished.stdout
    if "H200" in said:
        return
    found = json.loads(llmspec("search", LLAMA, *arguments, "--format", "json").stdout)
    best = found["best"][0]
    assert found["reached"] is ("out of reach" not in said)
    if not found["reached"]:
        return
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if "--deadline" in options:
        assert best["total_hours"] <= 4
        assert all(entry["usd"] >= best["usd"] * 0.99 for entry in found["best"] + found["frontier"] if entry["total_hours"] <= 4)
    if "--budget" in options:
        assert best["usd"] <= float(options["--budget"])
    if "--loss" in options:
        assert 2.74 < best["loss"] <= 2.75
    if "--vary-tokens" in arguments:
        assert best["usd"] > 490 and best["tokens"] > found["own"]["tokens"]


def test_a_larger_model_where_the_budget_allows(llmspec: Run) -> None:
    arguments = ("--budget", "20000", "--vary-size", "--nodes", "8", "--format", "json")
    found = json.loads(llmspec("search", LLAMA, *arguments).stdout)
    best = found["best"][0]
    assert best["parameters"] > found["own"]["parameters"] and best["loss"] < found["own"]["loss"] and best["usd"] <= 20000
    losses = [entry["loss"] for entry in found["best"]]
    assert losses == sorted(losses)
    assert best["changes"]["architecture.hidden_size"] != "2048"


def test_a_profile_corrects_every_layout(llmspec: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.cli.test_calibrate import project

    project(tmp_path / "ran", 0.02)
    spec = tmp_path / "ran/spec.yaml"
    text = spec.read_text()
    assert "accelerator: cpu" in text
    spec.write_text(text.replace("accelerator: cpu", "accelerator: h100-sxm"))
    arguments = ("search", spec, "--nodes", "1", "--format", "json")
    plain = json.loads(llmspec(*arguments).stdout)
    taught = llmspec("estimate", spec, "--calibrate", tmp_path / "ran", "--profile", tmp_path / "mine.yaml")
    assert taught.returncode == 0, taught.stderr
    finished = llmspec(*arguments, "--profile", tmp_path / "mine.yaml")
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["own"]["step_seconds"] > 1.5 * plain["own"]["step_seconds"]
    bag = Bag()
    result = search(spec, (), Request(top=3), bag, None, load_profile(str(tmp_path / "mine.yaml"), spec, bag))
    for finalist in result.best:
        assert finalist.seconds == pytest.approx(finalist.estimate.step_time.step.value, rel=1e-9)


def test_html_is_one_page_with_pictures(llmspec: Run, tmp_path: Path) -> None:
    page = tmp_path / "search.html"
    assert llmspec("search", LLAMA, "--html", page).returncode == 0
    text = page.read_text()
    assert text.count("<svg") >= 3 and "Time against money" in text and "ddp, micro batch 4" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "<script" not in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((LLAMA, "--accelerators", "h100"), "LS540"),
        ((LLAMA, "--accelerators", "cpu"), "LS540"),
        ((LLAMA, "--provider", "nobody"), "LS541"),
        (("specs/llama-3.1-8b.yaml", "--nodes", "1", "--accelerators", "t4"), "LS542"),
        (("{tmp}/run.yaml", "--deadline", "1h", "--nodes", "1", "--apply"), "LS543"),
        (("{tmp}/run.yaml", "--budget", "10", "--accelerators", "{unpriced}"), "LS544"),
        (("specs/quickstart.yaml",), "LS547"),
        ((LLAMA, "--loss", "0.5"), "LS548"),
        ((LLAMA, "--set", "optimizer.learning_rate=fast"), "LS1"),
        (("{tmp}/missing.yaml",), "LS001"),
    ],
)
def test_wrong_input_is_a_diagnostic(llmspec: Run, tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    from llmspec.catalog import accelerators, prices_for

    large = {name: one for name, one in accelerators().items() if not one.is_cpu and one.memory_gb > 60 and one.supports("bf16")}
    unpriced = next(name for name in large if not prices_for(name))
    path = copied(tmp_path)
    before = path.read_text()
    finished = llmspec("search", *(argument.format(tmp=tmp_path, unpriced=unpriced) for argument in arguments))
    assert finished.returncode == 1, finished.stdout
    assert f"error[{code}" in finished.stderr and ("help:" in finished.stderr or not code.startswith("LS54"))
    assert path.read_text() == before


def test_a_file_that_may_not_be_written(llmspec: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmspec.search import apply as module

    path = copied(tmp_path)
    result = search(path, (), Request(top=1), Bag())
    assert result.suggested is not None
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    bag, before = Bag(), path.read_text()
    with pytest.raises(CompilationError):
        module.apply(result, result.suggested, path, bag)
    assert [error.code for error in bag.errors] == ["LS546"] and path.read_text() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--budget", "much"),
        ("--deadline", "soon"),
        ("--loss", "low"),
        ("--nodes", "many"),
        ("--nodes", "8-1"),
        ("--vary-size",),
        ("--apply", "--set", "hardware.nodes=2"),
        ("--top", "0"),
    ],
)
def test_wrong_options_are_usage(llmspec: Run, arguments: tuple[str, ...]) -> None:
    finished = llmspec("search", LLAMA, *arguments)
    assert finished.returncode == 2 and "Traceback" not in finished.stderr
