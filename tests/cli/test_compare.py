"""`llmspec compare`: a real run, and logs in every state that a run may leave them in."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import pytest

from llmspec.compare import charts, compare, read_log
from llmspec.diagnostics import Bag
from llmspec.report import Band, Chart, Series, page, svg, terminal_chart
from tests.cli.conftest import ROOT, Run

SPEC = (ROOT / "specs/quickstart.yaml").read_text()


def line(step: int, **values: Any) -> dict[str, Any]:
    return {
        "step": step,
        "loss": 8.0 / math.sqrt(step),
        "tokens": step * 2048,
        "tokens_per_second": 4096.0,
        "mfu": 0.4,
        "memory_gib": 0.7,
        "data_wait": 0.002,
        "energy_kwh": step * 1e-6,
        "energy_source": "estimated",
        "seconds": step * 0.5 + 1,
        **values,
    }


def write(directory: Path, lines: Iterable[dict[str, Any] | str]) -> Path:
    (directory / "run").mkdir(parents=True, exist_ok=True)
    (directory / "spec.yaml").write_text(SPEC)
    text = "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines)
    (directory / "run/metrics.jsonl").write_text(text.removesuffix("\n") if text.endswith("lo\n") else text)
    return directory


def figures(llmspec: Run, project: Path, *arguments: str | Path) -> dict[str, Any]:
    finished = llmspec("compare", project, "--format", "json", *arguments)
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def test_finished_run(llmspec: Run, tmp_path: Path) -> None:
    project = write(tmp_path, [line(step) for step in range(10, 481, 10)])
    found = figures(llmspec, project)
    estimate = json.loads(llmspec("estimate", project / "spec.yaml", "--format", "json").stdout)
    assert found["finished"] and (found["steps"], found["max_steps"], found["tokens"]) == (480, 480, 480 * 2048)
    assert (found["data_wait"], found["energy_source"]) == (0.002, "estimated")
    rows = found["figures"]
    assert rows["step_seconds"]["measured"] == 0.5
    assert rows["step_seconds"]["estimate"] == estimate["time"]["step_seconds"]
    assert [rows["step_seconds"]["low"], rows["step_seconds"]["high"]] == estimate["intervals"]["time.step_seconds"]
    assert rows["tokens_per_second"]["ratio"] == pytest.approx(4096 / estimate["throughput"]["tokens_per_second"])
    assert rows["total_hours"]["measured"] == pytest.approx(241 / 3600)
    assert rows["memory_gib"]["estimate"] == estimate["memory"]["peak_gib"]
    assert rows["energy_kwh"]["estimate"] == pytest.approx(estimate["energy"]["kwh"] / estimate["energy"]["pue"])
    assert rows["energy_kwh"]["measured"] == pytest.approx(480e-6)
    price = estimate["cost"]["usd_per_device_hour"]
    assert rows["cost_usd"]["measured"] == pytest.approx(241 / 3600 * price)
    assert rows["loss"]["measured"] == pytest.approx((8 / math.sqrt(480) + 8 / math.sqrt(470)) / 2)
    assert not any(row["projected"] for row in rows.values())
    for row in rows.values():
        assert row["inside"] == (row["low"] <= row["measured"] <= row["high"])


def test_run_that_is_still_going_on_is_projected(llmspec: Run, tmp_path: Path) -> None:
    found = figures(llmspec, write(tmp_path, [line(step, validation_loss=5.0) for step in range(10, 121, 10)]))
    rows = found["figures"]
    assert not found["finished"]
    assert rows["total_hours"]["measured"] == pytest.approx((61 + 360 * 0.5) / 3600) and rows["total_hours"]["projected"]
    assert rows["energy_kwh"]["measured"] == pytest.approx(480e-6) and rows["energy_kwh"]["projected"]
    assert rows["loss"]["measured"] == 5.0 and "25% of the run" in rows["loss"]["remark"]
    table = llmspec("compare", tmp_path).stdout
    assert "step 120 of 480 (25% of the run)" in table and "projected" in table


def test_output_directory_and_page(llmspec: Run, tmp_path: Path) -> None:
    project = write(tmp_path / "project", [line(step, validation_loss=6.0) for step in range(10, 481, 10)])
    (project / "run").rename(project / "other")
    target = tmp_path / "page.html"
    finished = llmspec("compare", project, "--output-dir", "other", "--html", target)
    assert finished.returncode == 0 and f"wrote {target}" in finished.stdout
    html = target.read_text()
    assert html.count("<svg") == 2 and html.count("<circle") == 48 and html.count("<polyline") == 2
    assert not re.search(r"""(src|href)\s*=|url\(|@import|<script|<link""", html)
    assert "prefers-color-scheme: dark" in html
    for picture in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(picture)
    for row in json.loads(llmspec("compare", project, "--output-dir", "other", "--format", "json").stdout)["figures"].values():
        assert escape(row["remark"]) in html


def test_charts_in_the_terminal(llmspec: Run, tmp_path: Path) -> None:
    project = write(tmp_path, [line(step) for step in range(10, 481, 10)])
    braille = llmspec("compare", project, PYTHONIOENCODING="utf-8").stdout
    assert "░ estimated" in braille and any("\u2800" < character <= "\u28ff" for character in braille)
    plain = llmspec("compare", project, PYTHONIOENCODING="ascii").stdout
    assert plain.isascii() and "*" in plain and ". estimated" in plain


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_damaged_lines_are_left_out(encoding: str, llmspec: Run, tmp_path: Path) -> None:
    """A torn last line, values that are not finite, lines that are no lines of a log, and steps that were written again."""
    lines = [line(10), line(20, loss=float("nan")), line(30, grad_norm=float("inf")), "[]", '{"step": "x"}', line(20, loss=3.0), line(40)]
    project = write(tmp_path, [*lines, '{"step": 50, "lo'])
    finished = llmspec("compare", project, "--diagnostics", "concise", PYTHONIOENCODING=encoding)
    assert finished.returncode == 0
    places = re.findall(r"metrics\.jsonl:(\d+):1: LS522", finished.stderr)
    assert places == ["4", "5", "8"]
    assert "step 40 of 480" in finished.stdout and "nan" not in finished.stdout and "1 line has a value" in finished.stdout


def test_log_of_an_older_project(llmspec: Run, tmp_path: Path) -> None:
    old = [{"step": step, "loss": 5.0, "tokens": step * 2048, "tokens_per_second": 4000.0, "mfu": None} for step in (1, 2)]
    found = figures(llmspec, write(tmp_path, old))
    assert found["data_wait"] is None and found["energy_source"] is None
    assert [name for name, row in found["figures"].items() if row["measured"] is None] == [
        "mfu",
        "memory_gib",
        "total_hours",
        "energy_kwh",
        "cost_usd",
    ]
    assert llmspec("compare", tmp_path).stdout.count("not measured") == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere"], "LS520"),
        (["file"], "LS520"),
        (["empty"], "LS520"),
        (["project", "--output-dir", "other"], "LS521"),
        (["silent"], "LS521"),
        (["project", "--html", "empty"], "LS523"),
        (["broken"], "LS101"),
    ],
    ids=" ".join,
)
def test_problems_are_diagnostics(arguments: list[str], code: str, llmspec: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "project", [line(10)])
    write(tmp_path / "silent", [])
    broken = write(tmp_path / "broken", [line(10)])
    (broken / "spec.yaml").write_text(SPEC.replace("num_layers", "num_layrs"))
    finished = llmspec("compare", *arguments, "--diagnostics", "concise", cwd=tmp_path)
    assert finished.returncode == 1 and finished.stdout == "" and code in finished.stderr
    assert "Traceback" not in finished.stderr


def test_names_cannot_become_markup() -> None:
    hostile = '"><script>alert(1)</script>&'
    chart = Chart(hostile, hostile, hostile, (Series(hostile, ((1.0, 2.0), (2.0, 1.0))),) * 2, Band(hostile, 1.5, 1.0, 2.0))
    html = page(hostile, [hostile], [hostile], [[hostile, "inside" + hostile]], [chart])
    assert "<script" not in html and hostile not in html
    ElementTree.fromstring(svg(chart))
    assert html.count("&lt;script&gt;") >= 10


@pytest.mark.parametrize(
    "points", [[], [(1.0, 2.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, -1e300), (2.0, 1e300)], [(5.0, math.nan), (6.0, 1.0)]], ids=str
)
@pytest.mark.parametrize("band", [None, Band("estimated", 1.0, None, None), Band("estimated", 1.0, 0.5, 2.0, 1.0, 9.0)], ids=str)
def test_any_series_can_be_drawn(points: list[tuple[float, float]], band: Band | None) -> None:
    chart = Chart("Loss", "step", "nats", (Series("loss", tuple(points)),), band, 10.0)
    lines = terminal_chart(chart, width=40, height=6).splitlines()
    assert len(lines) == 9 and all(len(line) <= 60 for line in lines)
    ElementTree.fromstring(svg(chart))


def test_long_log_makes_a_small_page(tmp_path: Path) -> None:
    project = write(tmp_path, [line(step) for step in range(1, 20_001)])
    log = read_log(project / "run/metrics.jsonl", Bag())
    assert log is not None
    comparison = compare({}, log, name="long", max_steps=20_000, devices=1, on_gpu=True)
    assert all(row.estimate is None and row.inside is None for row in comparison.rows)
    assert sum(len(svg(chart)) for chart in charts(comparison, log)) < 60_000
