"""The score of whole runs: its rows, its rules, and that it beats six times parameters times tokens."""

import csv
import json
from pathlib import Path

import pytest

from llmspec.catalog import find_accelerator
from tests.accuracy.__main__ import main
from tests.accuracy.runs import RULES, RUNS, assumed_shape, predict, read_runs, runs_json

COLUMNS = "id,model,params,tokens,gpu,gpu_count,gpu_hours,days,cost_usd,energy_mwh,tco2,final_loss,source,notes".split(",")


def write(path: Path, *rows: dict[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


RUN = {"model": "some-7B", "params": 7e9, "tokens": 1e12, "gpu": "A100-80GB", "gpu_count": 512, "gpu_hours": 100_000}


def test_published_hours_are_told_better_than_by_six_n_d() -> None:
    lines = {(line["name"], line["figure"]): line for line in runs_json()["overall"]}
    hours = lines["all runs", "gpu_hours"]
    assert hours["rows"] > 60
    assert hours["mean_error"] < 0.30 < hours["baseline_mean_error"]
    assert hours["mean_error"] < 0.6 * hours["baseline_mean_error"]
    assert 0.75 <= hours["inside"] <= 0.95
    metered = lines["all runs", "energy_mwh of the hours"]
    assert metered["rows"] == 4 and metered["mean_error"] < 0.35


def test_every_row_that_tells_enough_is_predicted_or_left_out_by_a_rule() -> None:
    names = {rule.name for rule in RULES}
    rows = read_runs()
    assert len(rows) == sum(1 for _ in csv.DictReader(RUNS.open()))
    assert {name for row in rows for name in row.excluded.values()} <= names
    for row in rows:
        if row.parameters and row.tokens and row.accelerator is not None and not row.excluded:
            assert predict(row.model, row.parameters, row.tokens, row.accelerator, row.devices) is not None, row.model


@pytest.mark.parametrize("parameters", [50e6, 124e6, 1e9, 7e9, 70e9, 405e9])
def test_an_assumed_model_has_the_size(parameters: float) -> None:
    shape = assumed_shape(parameters, parameters, 4096)
    counted = shape.layers * (shape.attention_entries + 3 * shape.hidden * shape.ffn) + (2 - shape.tied) * shape.vocabulary * shape.hidden
    assert counted == pytest.approx(parameters, rel=0.02)
    assert 20 < shape.hidden / shape.layers < 160
    assert shape.hidden % 64 == 0 and shape.ffn % 256 == 0


def test_published_figures_do_not_reach_the_prediction() -> None:
    accelerator = find_accelerator("a100-80-sxm")
    assert accelerator is not None
    one = predict("a", 7e9, 1e12, accelerator, 512)
    twice = predict("a", 7e9, 2e12, accelerator, 512)
    assert one is not None and twice is not None
    assert twice.figures["gpu_hours"] == pytest.approx(2 * one.figures["gpu_hours"], rel=0.1)
    assert one.figures["days"] == pytest.approx(one.figures["gpu_hours"] / 512 / 24)
    experts = predict("a-A1B", 7e9, 1e12, accelerator, 512)
    assert experts is not None and experts.figures["gpu_hours"] < 0.4 * one.figures["gpu_hours"]


def test_another_file_is_scored_with_nothing_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "runs.csv",
        {"id": "lab-a-1", **RUN},
        {"id": "lab-a-2", **RUN, "gpu_hours": 80_000, "days": 6.5, "tco2": 40, "source": "MODEL_CARD"},
        {"id": "b-1", **RUN, "gpu_hours": 900_000, "notes": "pruned and distilled"},
        {"id": "b-2", **RUN, "tokens": ""},
    )
    found = runs_json(path)
    assert {(line["name"], line["figure"], line["rows"]) for line in found["by_source"]} == {
        ("lab-a", "gpu_hours", 2),
        ("lab-a", "days", 1),
        ("lab-a", "tco2 (by rated power)", 1),
        ("lab-a", "tco2 (by rated power) of the hours", 1),
    }  # fmt: skip
    assert found["left_out"] == {"distilled": 1, "parameters, tokens or device not told": 1}
    # Other hours of the same rows do not move their prediction.
    other = runs_json(write(tmp_path / "other.csv", {"id": "lab-a-1", **RUN, "gpu_hours": 1}))
    assert other["by_source"][0]["mean_error"] > 1000
    monkeypatch.setattr("sys.argv", ["accuracy", "--runs", str(path), "--format", "json"])
    main()
    assert json.loads(capsys.readouterr().out) == {"runs": json.loads(json.dumps(found))}
    monkeypatch.setattr("sys.argv", ["accuracy", "--runs", str(path)])
    main()
    text = capsys.readouterr().out
    assert "lab-a gpu_hours" in text and "6ND at 40%" in text and "all runs gpu_hours" in text and "1 distilled" in text


def test_an_empty_file_has_no_score(tmp_path: Path) -> None:
    assert runs_json(write(tmp_path / "none.csv")) == {"by_source": [], "overall": [], "left_out": {}}
