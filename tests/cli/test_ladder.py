"""`llmspec ladder` and `llmspec fit`: small specs below a large one, and the law that their runs tell."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmspec.estimate.scaling import Coefficients
from tests.cli.conftest import ROOT, Run

LAW = Coefficients(1.7, 300.0, 0.32, 900.0, 0.33)


def table(path: Path, rows: int = 12) -> Path:
    points = [(size, size * ratio) for size in (1e7, 4e7, 2e8, 1e9) for ratio in (5, 20, 80)][:rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["parameters", "tokens", "loss"])
        writer.writerows([size, tokens, LAW.loss(size, tokens)] for size, tokens in points)
    return path


def test_each_rung_is_a_valid_spec_with_the_aspect_of_the_large_one(llmspec: Run, tmp_path: Path) -> None:
    ladder = tmp_path / "ladder"
    finished = llmspec("ladder", "specs/gpt2-124m.yaml", "--sizes", "3", "-o", ladder)
    assert finished.returncode == 0, finished.stderr
    rungs = sorted(ladder.glob("*.yaml"))
    assert len(rungs) == 6 and all(rung.stem in finished.stdout for rung in rungs)
    sizes = set()
    for rung in rungs:
        assert llmspec("validate", rung).returncode == 0
        figures = json.loads(llmspec("estimate", rung, "--format", "json").stdout)
        sizes.add(figures["parameters"]["total"])
        assert figures["loss"]["tokens_per_parameter"] == pytest.approx(40 if rung.stem.endswith("x40") else 10, rel=0.06)
        text = rung.read_text()
        # The same data, seen from the ladder.
        assert os.path.relpath(ROOT / "specs/data/fineweb-edu", ladder) in text
    assert len(sizes) == 3
    assert "num_layers: 6" in (ladder / "gpt2-124m-384x10.yaml").read_text()
    script = ladder / "run.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck:
        checked = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ladder", "specs/quickstart.yaml", "--set", "architecture.hidden_size=96", "-o", "{tmp}/ladder"], "LS530"),
        (["ladder", "specs/quickstart.yaml", "--sizes", "1", "-o", "{tmp}/file/ladder"], "LS534"),
        (["fit", "{tmp}/missing"], "LS531"),
        (["fit", "{tmp}"], "LS531"),
        (["fit", "{tmp}/two.csv"], "LS532"),
        (["fit", "{tmp}/all.csv", "-o", "{tmp}/file/fit.json"], "LS534"),
        (["estimate", "specs/quickstart.yaml", "--loss-fit", "{tmp}/missing.json"], "LS533"),
        (["estimate", "specs/quickstart.yaml", "--loss-fit", "{tmp}/file"], "LS533"),
    ],
)
def test_what_can_be_wrong(llmspec: Run, tmp_path: Path, arguments: list[str], code: str) -> None:
    (tmp_path / "file").write_text("no fit")
    table(tmp_path / "two.csv", 2)
    table(tmp_path / "all.csv")
    finished = llmspec(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert finished.returncode == 1
    assert f"[{code}]" in finished.stderr


def test_the_estimate_uses_the_fit(llmspec: Run, tmp_path: Path) -> None:
    fit = tmp_path / "mine.json"
    finished = llmspec("fit", table(tmp_path / "all.csv"), "-o", fit)
    assert finished.returncode == 0, finished.stderr
    assert "alpha" in finished.stdout and "12 runs" in finished.stdout
    found: dict[str, Any] = json.loads(llmspec("estimate", "specs/gpt2-124m.yaml", "--loss-fit", fit, "--format", "json").stdout)
    expected = LAW.loss(found["parameters"]["total"], 10e9)
    assert found["loss"]["expected"] == pytest.approx(expected, rel=2e-3)
    assert found["loss"]["law"] == "mine"
    low, high = found["intervals"]["loss.expected"]
    assert low <= expected <= high and high - low < 0.1


@pytest.mark.parametrize(("tokens", "far"), [("10B", False), ("40T", True)])
def test_a_fit_asked_far_beyond_its_runs_says_so(llmspec: Run, tmp_path: Path, tokens: str, far: bool) -> None:
    fit = tmp_path / "mine.json"
    assert llmspec("fit", table(tmp_path / "all.csv"), "-o", fit).returncode == 0
    shown = llmspec("estimate", "specs/gpt2-124m.yaml", "--loss-fit", fit, "--set", f"training.max_tokens={tokens}").stdout
    assert ("do not trust" in " ".join(shown.split())) is far


def test_runs_that_are_not_finished_are_left_out(llmspec: Run, tmp_path: Path) -> None:
    for number, (width, step) in enumerate(((64, 200), (96, 200), (128, 200), (160, 90))):
        project = tmp_path / f"{number}"
        (project / "run").mkdir(parents=True)
        spec = (ROOT / "specs/quickstart.yaml").read_text().replace("hidden_size: 192", f"hidden_size: {width * 3 // 2 // 6 * 6}")
        (project / "spec.yaml").write_text(spec.replace("max_steps: 480", "max_steps: 200"))
        line = {"step": step, "loss": 5.0, "validation_loss": 6.0 - number * 0.3, "tokens": step * 2048}
        (project / "run/metrics.jsonl").write_text(json.dumps(line) + "\n")
    finished = llmspec("fit", tmp_path, "--format", "json")
    assert finished.returncode == 0, finished.stderr
    assert "LS531" in finished.stderr and "step 90 of 200" in finished.stderr
    assert json.loads(finished.stdout)["runs"] == 3


@pytest.mark.slow
def test_a_ladder_of_real_text_predicts_a_larger_run(llmspec: Run, tmp_path: Path) -> None:
    """Four small models learn Python from the standard library; the law of three is held against the largest."""
    # Half as many tokens a parameter end in the steep beginning of training, which no power law describes: the fit misses by 4%.
    small = ["--set", "training.sequence_length=128", "--set", "tokenizer.vocab_size=512", "--set", "architecture.tie_embeddings=true"]
    ladder = tmp_path / "ladder"
    made = llmspec("ladder", "specs/quickstart.yaml", "--sizes", "2", "--tokens-per-parameter", "2,6", "-o", ladder, *small)
    assert made.returncode == 0, made.stderr
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LLMSPEC": f"{sys.executable} -m llmspec",
        "OMP_NUM_THREADS": "1",
    }

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([ladder / "run.sh"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1800)

    finished = run()
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    fit = json.loads((ladder / "fit.json").read_text())
    assert fit["runs"] == 4 and fit["mean_error"] < 0.03
    # Run again, nothing is trained again.
    before = {path: path.stat().st_mtime_ns for path in ladder.glob("*/run/metrics.jsonl")}
    again = run()
    assert again.returncode == 0 and before == {path: path.stat().st_mtime_ns for path in ladder.glob("*/run/metrics.jsonl")}
    # The largest run, from the three others alone.
    runs = sorted(ladder.glob("*/run/metrics.jsonl"), key=lambda path: json.loads(path.read_text().splitlines()[-1])["tokens"])
    *others, largest = [path.parents[1] for path in runs]
    assert llmspec("fit", *others, "-o", tmp_path / "three.json").returncode == 0
    measured = json.loads((largest / "run/metrics.jsonl").read_text().splitlines()[-1])["validation_loss"]
    predicted = json.loads(llmspec("estimate", largest / "spec.yaml", "--loss-fit", tmp_path / "three.json", "--format", "json").stdout)
    assert predicted["loss"]["expected"] == pytest.approx(measured, rel=0.1)
