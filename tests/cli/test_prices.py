"""Whose prices an estimate takes: the catalog's, a file's, one's own; what is wrong with a file; how old a quote is."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llmspec.cli.price_options import today
from llmspec.estimate.price_age import last_day
from tests.cli.in_process import Command, command

SPEC = Path(__file__).parents[2] / "specs/llama-3.1-8b.yaml"
OWN = """\
h100-sxm:
  quotes:
  - {provider: our-cloud, on_demand: 2.10, date: '2026-01', accelerators: 8}
  - {provider: our-cloud, on_demand: 1.60, reserved: true, accelerators: 8}
  - {provider: other, on_demand: 9, spot: [1.1, 1.4], date: '2026-11-02'}
"""


@pytest.fixture
def llmspec(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys)


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795392000")  # 2026-11-23


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(OWN)
    return path


def figures(llmspec: Command, *options: object) -> dict[str, Any]:
    result = llmspec("estimate", SPEC, "--format", "json", *options)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_every_provider_in_every_market(llmspec: Command) -> None:
    values = figures(llmspec, "--explain")
    cost, hours = values["cost"], values["time"]["device_hours"]
    assert set(cost["by_market"]) == {"on_demand", "spot", "reserved"}
    assert cost["by_market"]["on_demand"] == cost["by_provider"]
    assert {"aws", "gcp", "azure", "lambda", "oci"} <= set(cost["by_market"]["on_demand"])
    assert cost["by_market"]["spot"]["verda"] == pytest.approx(0.8015 * hours)
    assert cost["by_market"]["reserved"]["lambda"] == pytest.approx(1.85 * hours)
    prices = [offer["usd_per_device_hour"] for offer in cost["offers"]]
    assert prices == sorted(prices) and len(prices) > 15
    text = llmspec("estimate", SPEC, "--explain").out
    for offer in cost["offers"]:
        assert offer["provider"] in text and offer["instance"] in text


def test_the_screen_has_the_cheapest_few(llmspec: Command) -> None:
    text = llmspec("estimate", SPEC).out
    assert "on demand verda" in text and "spot verda" in text and "reserved lambda" in text
    assert "azure" not in text


def test_markets_of_the_spec(llmspec: Command) -> None:
    hours = figures(llmspec)["time"]["device_hours"]
    spot = figures(llmspec, "--set", "hardware.price=spot")["cost"]
    assert (spot["provider"], spot["usd"]) == ("nebius", pytest.approx(1.25 * hours))  # the cheapest with machines of eight
    reserved = figures(llmspec, "--set", "hardware.price=reserved")["cost"]
    assert (reserved["provider"], reserved["usd"]) == ("lambda", pytest.approx(1.85 * hours))


def test_a_price_of_ones_own(llmspec: Command) -> None:
    values = figures(llmspec, "--price", "1.5")
    assert values["cost"]["usd"] == pytest.approx(1.5 * values["time"]["device_hours"])
    assert values["cost"]["provider"] is None
    same = figures(llmspec, "--set", "hardware.price=1.5")
    assert same == values
    assert llmspec("estimate", SPEC, "--price", "0").code == 2


def test_a_file_of_ones_own(llmspec: Command, prices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prices.parent)
    values = figures(llmspec, "--prices", "prices.yaml")
    hours = values["time"]["device_hours"]
    assert values["cost"]["by_market"]["on_demand"] == {"our-cloud": pytest.approx(2.1 * hours), "other": pytest.approx(9 * hours)}
    assert values["cost"]["by_market"]["spot"] == {"other": pytest.approx(1.25 * hours)}
    assert values["cost"]["by_market"]["reserved"] == {"our-cloud": pytest.approx(1.6 * hours)}
    assert values["cost"]["provider"] == "our-cloud"
    text = llmspec("estimate", SPEC, "--prices", prices).out
    assert "prices.yaml:3: our-cloud" in text
    # In a spec the path is relative to the spec.
    inside = prices.parent / "spec.yaml"
    inside.write_text(SPEC.read_text().replace("{accelerator: h100-sxm,", "{accelerator: h100-sxm, prices: prices.yaml,"))
    monkeypatch.chdir("/")
    assert json.loads(llmspec("estimate", inside, "--format", "json").out)["cost"]["provider"] == "our-cloud"


def test_other_accelerators_keep_the_catalogs_quotes(llmspec: Command, prices: Path) -> None:
    result = llmspec("estimate", SPEC, "--prices", prices, "--set", "hardware.accelerator=h200-sxm", "--format", "json")
    assert result.code == 0
    assert "LS553" in result.err and "no `h200-sxm`" in result.err
    assert json.loads(result.out)["cost"]["provider"] not in ("our-cloud", None)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("h100-sxm:\n  quotes:\n  - {provider: a, price: 2}\n", ":3:19", "there is no column `price`"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demnd: 2}\n", ":3:19", "did you mean `on_demand`?"),
        ("h100-sxm:\n  quotes:\n  - {provider: a}\n", ":3:5", "a quote has a price"),
        ("h100-sxm:\n  quotes:\n  - {on_demand: 2}\n", ":3:5", "names its `provider`"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demand: -2}\n", ":3:30", "above 0"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demand: true}\n", ":3:30", "above 0"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, spot: [3, 2]}\n", ":3:19", "the lowest and the highest"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demand: 2, date: soon}\n", ":3:39", "a day, a month or a year"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demand: 2, accelerators: 0}\n", ":3:47", "1 or more"),
        ("h100-sxm:\n  quotes:\n  - {provider: a, on_demand: 2, reserved: 1}\n", ":3:43", "true or false"),
        ("h100-sxm:\n  quotes:\n  - 2.5\n", ":3:5", "a mapping of columns"),
        ("h100-sxm: {quotes: 3}\n", ":1:1", "no list of `quotes`"),
        ("h100-sxm: 3\n", ":1:11", "no list of `quotes`"),
        ("h100-sxm: {quotes: [], discount: 3}\n", ":1:24", "no `discount`"),
        ("h100-smx:\n  quotes: []\n", ":1:1", "did you mean `h100-sxm`?"),
        ("- 1\n", ":1:1", "no mapping"),
        ("# none\n", ":1:1", "no mapping"),
        ("h100-sxm: [\n", ":2:1", "LS010"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, place: str, says: str, llmspec: Command, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    result = llmspec("estimate", SPEC, "--prices", path)
    assert result.code == 1
    assert result.out == ""
    assert says in result.err
    assert f"prices.yaml{place}" in result.err


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(name: str, llmspec: Command, tmp_path: Path) -> None:
    result = llmspec("estimate", SPEC, "--prices", tmp_path / name)
    assert result.code == 1
    assert "LS552" in result.err and "--set:1:17" in result.err


def test_old_quotes_are_said_and_change_no_figure(llmspec: Command, prices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    young = llmspec("estimate", SPEC, "--prices", prices, "--format", "json")
    assert "LS551" not in young.err
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1801440000")  # 2027-02-01, a year and a day after the end of that January
    old = llmspec("estimate", SPEC, "--prices", prices, "--format", "json")
    assert "LS551" in old.err and "the price is our-cloud's of 2026-01, more than a year before 2027-02-01" in old.err
    assert old.out == young.out and old.code == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1830297600")
    assert "our-cloud" in llmspec("estimate", SPEC, SPEC, "--prices", prices).err
    assert "LS551" not in llmspec("estimate", SPEC, "--price", "2").err
    assert "LS551" not in llmspec("validate", SPEC).err


def test_what_a_date_may_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_day("2026-09-06") == "2026-09-06"
    assert last_day("2026-02") == "2026-02-31"
    assert last_day("2026") == last_day("2025-26") == "2026-12-31"
    assert last_day("last year") is None
    assert today() == "2026-11-23"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert today() == date.today().isoformat()
