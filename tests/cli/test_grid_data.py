"""The best start: against a search by hand, in the public exports' formats, and what is wrong with a file."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from llmspec.diagnostics import Bag, CompilationError
from llmspec.estimate.grid_data import GRAMS_PER_POUND, best_start, read_hours
from tests.cli.in_process import Command, command
from tests.estimate.specs import GPT2, make

ROOT = Path(__file__).parents[2]
SHORT, LONG = ROOT / "specs/quickstart.yaml", ROOT / "specs/llama-3.1-8b.yaml"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MAPS = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),"
    "Carbon-free energy percentage (CFE%),Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method"
)


@pytest.fixture
def llmspec(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys)


def grams(hour: int) -> float:
    return 300 + 100 * math.sin(hour / 24 * 2 * math.pi) + 80 * math.sin(hour / 168 * 2 * math.pi) + hour % 7


def plain(path: Path, hours: int, left_out: set[int] = frozenset()) -> Path:  # type: ignore[assignment]
    rows = [f"{(FIRST + timedelta(hours=h)).isoformat()},{grams(h):.3f}" for h in range(hours) if h not in left_out]
    path.write_text("\n".join(["time,g/kWh", *rows]) + "\n")
    return path


def start_of(llmspec: Command, spec: Path, data: Path) -> dict[str, Any]:
    result = llmspec("estimate", spec, "--grid-data", data, "--format", "json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_the_best_start_is_the_one_that_a_search_finds(llmspec: Command, tmp_path: Path) -> None:
    hours = 24 * 40
    values = start_of(llmspec, LONG, plain(tmp_path / "grid.csv", hours))
    start, length, kwh = values["carbon"]["start"], values["time"]["total_hours"], values["energy"]["kwh"]
    each = []
    for first in range(hours - math.ceil(length) + 1):
        whole = int(length)
        total = sum(round(grams(first + h), 3) for h in range(whole)) + (length - whole) * round(grams(first + whole), 3)
        each.append(total * kwh / length / 1000)
    best = each.index(min(each))
    assert start["best"] == (FIRST + timedelta(hours=best)).isoformat()
    assert start["operational_kg_co2e"] == pytest.approx(each[best], rel=1e-9)
    assert start["at_once_kg_co2e"] == pytest.approx(each[0], rel=1e-9)
    assert start["mean_kg_co2e"] == pytest.approx(sum(each) / len(each), rel=1e-9)
    assert start["worst_kg_co2e"] == pytest.approx(max(each), rel=1e-9)
    assert datetime.fromisoformat(start["end"]) - datetime.fromisoformat(start["best"]) == timedelta(hours=length)
    low, high = values["intervals"]["carbon.start.operational_kg_co2e"]
    assert low < start["operational_kg_co2e"] < high


def test_a_run_of_minutes_takes_the_best_hour(llmspec: Command, tmp_path: Path) -> None:
    data = plain(tmp_path / "grid.csv", 24 * 7)
    start = start_of(llmspec, SHORT, data)["carbon"]["start"]
    best = min(range(24 * 7), key=grams)
    assert start["best"] == (FIRST + timedelta(hours=best)).isoformat()
    assert start["grid_gco2e_per_kwh"] == pytest.approx(grams(best), abs=1e-3)
    text = llmspec("estimate", SHORT, "--grid-data", data, "--explain").out
    assert f"best {FIRST + timedelta(hours=best):%Y-%m-%d %H:%M} to" in text
    assert "less than at once (2026-01-01 00:00" in text and "carbon.start.mean_kg_co2e" in text
    assert "start" not in json.loads(llmspec("estimate", SHORT, "--format", "json").out)["carbon"]


def test_other_figures_stay(llmspec: Command, tmp_path: Path) -> None:
    with_data = start_of(llmspec, SHORT, plain(tmp_path / "grid.csv", 48))
    without = json.loads(llmspec("estimate", SHORT, "--format", "json").out)
    with_data["carbon"].pop("start")
    with_data["intervals"] = {key: value for key, value in with_data["intervals"].items() if ".start." not in key}
    assert with_data == without


def test_a_page_has_the_start(llmspec: Command, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = llmspec("estimate", SHORT, "--grid-data", plain(tmp_path / "grid.csv", 48), "--html", page)
    assert result.code == 0
    assert "best start" in page.read_text()


@pytest.mark.parametrize(
    ("head", "row", "step", "factor", "column", "marginal"),
    [
        (MAPS, "{:%Y-%m-%d %H:%M:%S},Germany,Germany,DE,12,{},50,40,entsoe.eu,false,", 60, 1, "Life cycle", False),
        ("Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA)",
         "{:%Y-%m-%d %H:%M},Germany,Germany,DE,12,{}", 60, 1, "LCA", False),
        ("timestamp,MOER", "{:%Y-%m-%d %H:%M:%S+00:00},{}", 5, GRAMS_PER_POUND / 1000, "MOER", True),
        ("point_time,value,market,ba", "{:%Y-%m-%dT%H:%M:%SZ},{},RTM,CAISO_NORTH", 5, GRAMS_PER_POUND / 1000, "value", True),
        ("from,to,actual,forecast,index", "{:%Y-%m-%dT%H:%MZ},,{},1,low", 30, 1, "actual", False),
        ("time;gCO2/kWh", "{:%Y-%m-%dT%H:%M};{}", 60, 1, "gCO2/kWh", False),
        ("timestamp,WND,avg_CI", "{:%Y-%m-%d %H:%M:%S+00:00},1,{}", 60, 1, "avg_CI", False),
    ],
)  # fmt: skip
def test_public_exports(head: str, row: str, step: int, factor: float, column: str, marginal: bool, tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    times = [FIRST + timedelta(minutes=step * n) for n in range(48 * 60 // step)]
    # What the export has differs within the hour, around the hour's figure.
    within = [(time.minute - 30 + step / 2) * (step < 60) for time in times]
    rows = [row.format(time, 400 + 10 * ((time - FIRST) // timedelta(hours=1)) + more) for time, more in zip(times, within, strict=True)]
    path.write_text("\n".join([head, *rows]), encoding="utf-8")
    found = read_hours(path, Bag())
    assert (found.first, len(found.grams), found.marginal) == (FIRST, 48, marginal)
    assert column in found.column
    assert found.grams[0] == pytest.approx(400 * factor)
    assert found.grams[47] == pytest.approx(870 * factor)


def test_offsets_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("time,g/kWh\n2026-01-01T02:00+02:00,100\n2026-01-01T01:00Z,200\n")
    found = read_hours(path, Bag())
    assert (found.first, found.grams) == (FIRST, (100, 200))


def test_short_gaps_are_filled_and_said(llmspec: Command, tmp_path: Path) -> None:
    path = plain(tmp_path / "grid.csv", 240, {100, 101})
    bag = Bag()
    found = read_hours(path, bag)
    assert [d.code for d in bag.warnings] == ["LS555"] and not bag.errors
    assert "2 of 240 hours are missing, 2 in a row from 2026-01-05 04:00 UTC on; they are filled" in bag.warnings[0].message
    assert found.grams[100] == pytest.approx((2 * found.grams[99] + found.grams[102]) / 3)
    result = llmspec("estimate", SHORT, "--grid-data", path)
    assert result.code == 0 and "LS555" in result.err


@pytest.mark.parametrize("left_out", [set(range(100, 107)), set(range(1, 239, 4))])
def test_long_or_many_gaps_are_errors(left_out: set[int], tmp_path: Path) -> None:
    bag = Bag()
    with pytest.raises(CompilationError):
        read_hours(plain(tmp_path / "grid.csv", 240, left_out), bag)
    assert [d.code for d in bag.errors] == ["LS555"]


def test_data_shorter_than_the_run(llmspec: Command, tmp_path: Path) -> None:
    result = llmspec("estimate", LONG, "--grid-data", plain(tmp_path / "grid.csv", 48))
    assert result.code == 1 and result.out == ""
    assert "LS556" in result.err and re.search(r"has 48 hours, and the run takes (\d+)", result.err)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("when,carbon\n2026-01-01,3\n", ":1:1", "no column of times is known among `when`, `carbon`"),
        ("time,carbon\n2026-01-01,3\n", ":1:1", "no column of intensities"),
        ("time,g/kWh\n31/01/2026 14:00,212\n", ":2:1", "`31/01/2026 14:00` is no time"),
        ("time,g/kWh\n2026-01-31T14:00,much\n", ":2:18", "`much` is no intensity"),
        ("time,g/kWh\n2026-01-31T14:00,-3\n", ":2:18", "grids have 0 to 3,000"),
        ("time,g/kWh\n2026-01-31T14:00,\n", ":1:1", "no row"),
        ("time,g/kWh\n", ":1:1", "holds no rows"),
        ("", ":1:1", "holds no rows"),
        ("time,g/kWh\n2026-01-31T14:00\n2026-01-31T15:00,3,4\nx\n", ":4:1", "`x` is no time"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, place: str, says: str, llmspec: Command, tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(text)
    result = llmspec("estimate", SHORT, "--grid-data", path)
    assert result.code == 1 and result.out == ""
    assert "LS554" in result.err and says in result.err and f"grid.csv{place}" in result.err


def test_files_that_cannot_be_read(llmspec: Command, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", ".", "binary"):
        result = llmspec("estimate", SHORT, "--grid-data", tmp_path / name)
        assert result.code == 1 and "LS554" in result.err


def test_only_a_few_wrong_rows_are_shown(llmspec: Command, tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("time,g/kWh\n" + "soon,3\n" * 9000)
    assert "Found 5 errors" in llmspec("estimate", SHORT, "--grid-data", path).err


def test_it_takes_one_spec(llmspec: Command, tmp_path: Path) -> None:
    assert llmspec("estimate", SHORT, SHORT, "--grid-data", plain(tmp_path / "grid.csv", 48)).code == 2


def test_a_device_without_rated_power_has_no_start(tmp_path: Path) -> None:
    from llmspec.estimate import estimate

    figures = estimate(*make(GPT2, hardware={"accelerator": "cpu"}))
    hours = read_hours(plain(tmp_path / "grid.csv", 2000), Bag())
    assert best_start(figures.energy._replace(kwh=None), figures.wall_clock, hours, Bag()) is None
