"""Several estimates beside each other, variations of one, and what the tables, JSON and CSV say of those that do not work."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html import escape
from pathlib import Path
from typing import Any

import pytest

from llmspec.cli.estimate_page import estimate_page
from llmspec.compile import analyze
from llmspec.diagnostics import Bag, CompilationError
from llmspec.estimate import cheapest_fix
from llmspec.report import Bar, Bars, Chart, Series, bars_svg, svg, terminal_chart
from llmspec.variants import _single_changes, analyze_case, best_change, on_other_accelerators, over_nodes, variations
from tests.cli.conftest import ROOT, Run

QUICKSTART = ROOT / "specs/quickstart.yaml"
LLAMA = ROOT / "specs/llama-3.2-1b.yaml"


def entries(llmspec: Run, *arguments: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(llmspec("estimate", *arguments, "--format", "json").stdout)
    return found


def rows(llmspec: Run, *arguments: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(llmspec("estimate", *arguments, "--format", "csv").stdout)))


def test_specs_side_by_side_agree_with_each_alone(llmspec: Run) -> None:
    together = entries(llmspec, QUICKSTART, LLAMA)
    assert [entry["spec"] for entry in together] == [str(QUICKSTART), str(LLAMA)]
    for entry, spec in zip(together, (QUICKSTART, LLAMA), strict=True):
        alone = json.loads(llmspec("estimate", spec, "--format", "json").stdout)
        alone.pop("helps_most")
        assert entry["estimate"] == alone and entry["errors"] == [] and entry["changes"] == {}
    finished = llmspec("estimate", QUICKSTART, LLAMA, "--diagnostics", "concise")
    assert finished.returncode == 0 and "LS330" in finished.stderr and str(LLAMA) in finished.stderr
    table = finished.stdout.splitlines()
    assert table[0].split() == ["quickstart", "llama-3.2-1b"]
    speed = next(line for line in table if line.startswith("tokens/s"))
    first, second = (entry["estimate"]["throughput"]["tokens_per_second"] for entry in together)
    assert second > first and speed.endswith(f"{second:,.0f}*") and f"{first:,.0f} " in speed


def test_the_best_of_each_figure_is_marked(llmspec: Run) -> None:
    table = llmspec("estimate", QUICKSTART, "--what-if", "training.micro_batch_size=1,2,4").stdout.splitlines()
    header = next(index for index, line in enumerate(table) if line.startswith("micro_batch_size"))
    found = entries(llmspec, QUICKSTART, "--what-if", "training.micro_batch_size=1,2,4")
    memory = [entry["estimate"]["memory"]["peak_gib"] for entry in found]
    shown = [line.split("GiB")[1].startswith("*") for line in table[header + 1 : header + 5]]
    assert shown == [value == min(memory) for value in memory] and len(set(memory)) > 1


def test_one_broken_spec_leaves_the_others_alone(llmspec: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(QUICKSTART.read_text().replace("num_layers", "num_layrs"))
    finished = llmspec("estimate", broken, QUICKSTART, "--diagnostics", "concise")
    assert finished.returncode == 1
    assert "LS101" in finished.stderr and "LS101" in finished.stdout and "quickstart" in finished.stdout
    first, second = entries(llmspec, broken, QUICKSTART)
    assert first["estimate"] is None and [error["code"] for error in first["errors"]] == ["LS101"]
    assert second["estimate"]["parameters"]["total"] == 3_148_224
    codes = [row["code"] for row in rows(llmspec, broken, QUICKSTART)]
    assert codes == ["LS101", ""]


def test_many_specs_have_a_row_each(llmspec: Run) -> None:
    table = llmspec("estimate", *[QUICKSTART] * 4, LLAMA).stdout.splitlines()
    assert [line.split()[0] for line in table[1:6]] == ["quickstart"] * 4 + ["llama-3.2-1b"]


def test_what_if_shows_codes_in_place_of_figures(llmspec: Run) -> None:
    options = ("--what-if", "training.micro_batch_size=4,3,x", "--what-if", "architecture.num_layers=2,4")
    finished = llmspec("estimate", QUICKSTART, *options)
    assert finished.returncode == 0 and finished.stderr == ""
    lines = finished.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("micro_batch_size"))
    assert [line.split()[:2] for line in lines[start + 1 : start + 8]] == [
        ["8", "6"],
        ["4", "2"],
        ["4", "4"],
        ["3", "2"],
        ["3", "4"],
        ["x", "2"],
        ["x", "4"],
    ]
    assert all("LS302" in line for line in lines[start + 4 : start + 6]) and all("LS103" in line for line in lines[start + 6 : start + 8])
    found = entries(llmspec, QUICKSTART, *options)
    assert [entry["errors"][0]["code"] if entry["errors"] else "" for entry in found] == ["", "", "", "LS302", "LS302", "LS103", "LS103"]
    assert found[1]["changes"] == {"training.micro_batch_size": "4", "architecture.num_layers": "2"}
    assert found[1]["estimate"]["parameters"]["total"] < found[2]["estimate"]["parameters"]["total"]
    same = json.loads(llmspec("estimate", QUICKSTART, "--format", "json", "--set", "training.micro_batch_size=4", "--set",
                              "architecture.num_layers=2").stdout)  # fmt: skip
    assert found[1]["estimate"]["time"] == same["time"]


def test_what_if_on_a_spec_that_does_not_fit(llmspec: Run) -> None:
    """The table is what shows the way out, so the base may be the misfit."""
    finished = llmspec("estimate", LLAMA, "--set", "training.micro_batch_size=32", "--what-if", "training.micro_batch_size=16,1")
    assert finished.returncode == 0 and "LS401" in finished.stderr
    misfit, same, fits = finished.stdout.splitlines()[3:6]
    assert "LS401 the run needs" in misfit and "LS401 the run needs" in same and "LS401" not in fits and "tokens" not in fits
    assert [line.split()[0] for line in (misfit, same, fits)] == ["as", "16", "1"] and fits.count("GiB") == 1


def test_csv_is_the_json_flattened(llmspec: Run) -> None:
    (row,) = rows(llmspec, QUICKSTART)
    alone = json.loads(llmspec("estimate", QUICKSTART, "--format", "json").stdout)
    assert row["name"] == "quickstart" and float(row["time.step_seconds"]) == alone["time"]["step_seconds"]
    low, high = alone["intervals"]["memory.peak_gib"]
    assert (float(row["intervals.memory.peak_gib.low"]), float(row["intervals.memory.peak_gib.high"])) == (low, high)
    assert row["memory.fits"] == "true" and int(row["parameters.total"]) == 3_148_224
    varied = rows(llmspec, QUICKSTART, "--what-if", "training.max_steps=10,20")
    assert [row["training.max_steps"] for row in varied] == ["", "10", "20"]


def test_values_may_hold_commas_in_brackets_and_quotes() -> None:
    found = variations(["a=[1,2],{b: 1, c: 2}", "d='x,y',z"], Bag())
    assert [dict(one)["a"] for one in found] == ["[1,2]"] * 2 + ["{b: 1, c: 2}"] * 2
    assert [dict(one)["d"] for one in found] == ["'x,y'", "z"] * 2


@pytest.mark.parametrize(("what_if", "code"), [("a", "LS524"), ("=1", "LS524"), ("a=", "LS524"), ("a=1,,2", "LS524")], ids=str)
def test_what_if_without_values(what_if: str, code: str) -> None:
    bag = Bag()
    with pytest.raises(CompilationError):
        variations([what_if], bag)
    assert [error.code for error in bag.errors] == [code]


def test_problems_of_what_if_are_diagnostics(llmspec: Run) -> None:
    many = ",".join(map(str, range(1, 22)))
    for options, code in (
        (["--what-if", f"a={many}", "--what-if", f"b={many}"], "LS525"),
        (["--what-if", "training.micro_batch_sise=1,2"], "LS101"),
        (["--what-if", "training..x=1"], "LS204"),
    ):
        finished = llmspec("estimate", QUICKSTART, *options, "--diagnostics", "concise")
        assert finished.returncode == 1 and code in finished.stderr and "Traceback" not in finished.stderr, options


def test_a_run_that_does_not_fit_is_shown(llmspec: Run, tmp_path: Path) -> None:
    large, page = ROOT / "specs/llama-3.1-8b.yaml", tmp_path / "page.html"
    finished = llmspec("estimate", large, "--set", "parallelism.data=ddp", "--html", page)
    assert finished.returncode == 1 and "LS401" in finished.stderr
    shown = finished.stdout
    assert ": does not fit" in shown and "time of a step" in shown and "helps most" not in shown
    fix = re.search(r"to make it fit +parallelism.data: (\w+) needs ([\d.]+) of", shown)
    assert fix is not None, shown
    assert "It does not fit" in page.read_text()
    fitting = llmspec("estimate", large, "--set", f"parallelism.data={fix[1]}", "--format", "json")
    assert fitting.returncode == 0
    assert json.loads(fitting.stdout)["memory"]["peak_gib"] == pytest.approx(float(fix[2]), abs=0.051)


@pytest.mark.parametrize(
    "options",
    [
        [str(LLAMA), "--what-if", "training.seed=1,2"],
        [str(LLAMA), "--explain"],
        ["--what-if", "training.seed=1,2", "--explain"],
        ["--explain", "--format", "csv"],
    ],
)
def test_options_that_take_one_spec(options: list[str], llmspec: Run) -> None:
    assert llmspec("estimate", QUICKSTART, *options).returncode == 2


@pytest.mark.parametrize(("spec", "given"), [(QUICKSTART, ["--set", "training.micro_batch_size=1"]), (LLAMA, [])])
def test_the_change_that_helps_most_holds_what_it_promises(spec: Path, given: list[str], llmspec: Run) -> None:
    base = json.loads(llmspec("estimate", spec, "--format", "json", *given).stdout)
    change = base["helps_most"]
    changed = [*given, "--set", f"{change['field']}={change['value']}"]
    applied = json.loads(llmspec("estimate", spec, "--format", "json", *changed).stdout)
    assert applied["time"]["step_seconds"] == change["step_seconds"] < base["time"]["step_seconds"]
    assert applied["memory"]["fits"] and applied["memory"]["peak_gib"] == change["memory_gib"]
    assert change["saves"] == pytest.approx(1 - change["step_seconds"] / base["time"]["step_seconds"])
    assert llmspec("validate", spec, *changed).returncode == 0
    table = llmspec("estimate", spec, *given).stdout
    assert f"{change['field']}: {change['value']}" in table and f"saves {change['saves']:.0%}" in table


def test_compiling_for_a_cpu_is_not_advised(llmspec: Run) -> None:
    """It takes half a minute, which a step's time does not show."""
    change = json.loads(llmspec("estimate", QUICKSTART, "--format", "json").stdout)["helps_most"]
    assert change is None or change["field"] != "training.compile"


def test_following_the_changes_ends_where_none_helps() -> None:
    taken: dict[str, str] = {}
    before = float("inf")
    for _ in range(8):
        bag = Bag()
        analysis = analyze(LLAMA, [f"{field}={value}" for field, value in taken.items()], bag, to_build=False)
        seconds = analysis.estimate.step_time.step.value
        assert seconds < before * 0.99 and analysis.estimate.memory.fits
        before = seconds
        change = best_change(analysis)
        if change is None:
            return
        taken[change.field] = change.value
    raise AssertionError(taken)


@pytest.mark.parametrize(
    ("layout", "field"), [("{data: ddp}", "parallelism.data: fsdp"), ("{engine: deepspeed, zero_stage: 1}", "parallelism.zero_stage: ")]
)
def test_what_makes_it_fit_may_be_sharding(layout: str, field: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(LARGE_SPEC.format(layout=f"parallelism: {layout}", nodes=1))
    misfit = Bag()
    small = ("hardware.accelerators_per_node=2", "training.sequence_length=2048")
    analysis = analyze(spec, small, Bag(), to_build=False, misfit=misfit)
    assert not analysis.estimate.memory.fits
    assert [error.code for error in misfit.errors] == ["LS401"]
    assert field in misfit.errors[0].help[0]
    own = analysis.resolved.spec.parallelism
    assert cheapest_fix(analysis.resolved, analysis.network, lambda variant: variant.spec.parallelism == own) is None


LARGE_SPEC = """\
llmspec: 1
name: large
preset: llama-3.1-8b
tokenizer: {{kind: bpe, vocab_size: 128256}}
data: {{sources: [{{name: text, kind: text, path: "*.nothing"}}]}}
training: {{sequence_length: 8192, global_batch_size: 512, micro_batch_size: 1, max_steps: 1000}}
optimizer: {{learning_rate: 3.0e-4}}
hardware: {{accelerator: h100-sxm, nodes: {nodes}, accelerators_per_node: 8}}
{layout}
"""
LARGE = {
    "fsdp": "parallelism: {data: fsdp, tensor: 8, activation_checkpointing: full}",
    "deepspeed": "parallelism: {engine: deepspeed, zero_stage: 3, activation_checkpointing: selective}",
    "pipeline": "parallelism: {data: fsdp, tensor: 4, pipeline: 4, pipeline_schedule: gpipe, activation_checkpointing: full}",
    "hsdp": "parallelism: {data: hsdp, tensor: 2, sequence_parallel: false, activation_checkpointing: full}",
}


@pytest.mark.parametrize("layout", LARGE)
def test_changes_of_layouts_are_those_of_the_whole_compiler(layout: str, tmp_path: Path) -> None:
    """Ranking on a copy of the spec finds what estimating every change from its text finds."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(LARGE_SPEC.format(layout=LARGE[layout], nodes=8))
    base = analyze(spec, (), Bag(), to_build=False)
    now = base.estimate.step_time.step.value
    found: dict[str, float] = {}
    for field, value in _single_changes(base.resolved, on_cpu=False):
        case = analyze_case(spec, (), [(field, str(value).lower())])
        if case.estimate is not None and (base.estimate.memory.tight or not case.estimate.memory.tight):
            found[f"{field}={str(value).lower()}"] = case.estimate.step_time.step.value
    assert len(found) >= 5
    change = best_change(base)
    if min(found.values()) >= now * 0.99:
        assert change is None
    else:
        assert change is not None and change.estimate.step_time.step.value == min(found.values())
        assert found[f"{change.field}={change.value}"] == min(found.values())
    assert layout == "deepspeed" or change is not None


def test_page_stands_alone_and_holds_what_the_json_says(llmspec: Run, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    finished = llmspec("estimate", QUICKSTART, "--html", target)
    assert finished.returncode == 0 and finished.stdout.endswith(f"wrote {target}\n")
    html = target.read_text()
    assert not re.search(r"""\s(src|href|on\w+)\s*=|url\(|@import|<script|<link""", html)
    assert "prefers-color-scheme: dark" in html and "max-width: 40rem" in html
    pictures = [ElementTree.fromstring(picture) for picture in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]
    titles = [picture.attrib["aria-label"] for picture in pictures]
    assert titles == [
        "Memory of a device",
        "Time of a step",
        "Cost by provider",
        "Step over devices",
        "Cost over devices",
        "Time against money",
    ]
    estimate = json.loads(llmspec("estimate", QUICKSTART, "--format", "json", "--explain").stdout)
    for name in estimate["time"]["step_by_component"]:
        assert name.replace("_", " ") in html
    for key, derivation in estimate["derivations"].items():
        assert f"<summary>{key} = " in html
        assert escape(" ".join(derivation["formula"].split())[:60]) in html
    curve = pictures[titles.index("Step over devices")]
    labels = [element.text or "" for element in curve.iter() if element.tag.endswith("title")]
    four = json.loads(llmspec("estimate", QUICKSTART, "--format", "json", "--set", "hardware.nodes=4").stdout)
    hours = four["time"]["total_hours"]
    assert any(label.startswith(f"4 x Two CPU cores: {hours * 60:.1f} min") for label in labels)
    marks = [circle for circle in curve.iter() if circle.tag.endswith("circle")]
    assert [mark.attrib["class"] for mark in marks].count("here") == 1
    assert [mark.attrib["class"] for mark in marks].count("mark") == 4


def test_page_escapes_what_a_spec_says(llmspec: Run, tmp_path: Path) -> None:
    hostile = '</title><script>alert("1")</script>&'
    spec = tmp_path / "<img src=x onerror=alert(1)>.yaml"
    text = re.sub(r"(?m)^description:.*$", f"description: {json.dumps(hostile)}", QUICKSTART.read_text())
    spec.write_text(text)
    assert llmspec("estimate", spec, "--html", tmp_path / "page.html").returncode == 0
    html = (tmp_path / "page.html").read_text()
    assert "<script" not in html and "<img" not in html and escape(hostile) in html
    assert html.count("</title>") == html.count("<title>")


def test_page_that_cannot_be_written(llmspec: Run, tmp_path: Path) -> None:
    finished = llmspec("estimate", QUICKSTART, "--html", tmp_path, "--diagnostics", "concise")
    assert finished.returncode == 1 and "LS523" in finished.stderr and finished.stdout == ""
    assert llmspec("estimate", QUICKSTART, LLAMA, "--html", tmp_path / "page.html").returncode == 2


def test_nothing_beats_the_frontier() -> None:
    analysis = analyze(LLAMA, (), Bag(), to_build=False)
    nodes = over_nodes(LLAMA, (), analysis)
    assert [case.estimate.devices for case in nodes if case.estimate is not None] == sorted({8, 16, 32, 64, 128})
    others = on_other_accelerators(LLAMA, (), analysis)
    assert len({case.estimate.device for case in others if case.estimate is not None}) > 5
    html = estimate_page(LLAMA, (), analysis, None)
    picture = ElementTree.fromstring(
        next(p for p in re.findall(r"<svg.*?</svg>", html, re.DOTALL) if 'aria-label="Time against money"' in p)
    )
    circles = [element.attrib for element in picture.iter() if element.tag.endswith("circle")]
    places = {kind: [(float(c["cx"]), float(c["cy"])) for c in circles if c["class"] == kind] for kind in ("faint", "mark", "here")}
    assert len(places["here"]) == 1 and len(places["mark"]) >= 2 and len(places["faint"]) > 10
    for x, y in places["faint"] + places["here"]:
        # Further left is faster, further down is cheaper.
        assert any(best_x <= x and best_y >= y for best_x, best_y in places["mark"])


@pytest.mark.parametrize("points", [[(1.0, 5.0)], [(1.0, 2.0), (1e6, 2.0)], [(1e-9, 1e-3), (3.0, 1e12)]], ids=str)
def test_logarithmic_charts_show_every_point(points: list[tuple[float, float]]) -> None:
    here = Series("here", (points[0],), ("<&>",), "here")
    chart = Chart("Curve", "x", "y", (Series("line", tuple(points)), here), logarithmic=True)
    picture = ElementTree.fromstring(svg(chart, width=480))
    texts = [element.text for element in picture.iter() if element.tag.endswith("}text")]
    assert len(texts) >= 4
    line = next(element for element in picture.iter() if element.tag.endswith("polyline"))
    drawn = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert len(drawn) == len(points) and all(64 < x < 464 and 54 < y < 258 for x, y in drawn)
    assert all(len(row) <= 70 for row in terminal_chart(chart, width=40, height=6).splitlines())


def test_bars_hold_their_labels() -> None:
    bars = (Bar("a very long name of a component", 1.0), Bar("<b>", 0.0), Bar("most", 2.0, here=True, low=1.0, high=3.0))
    picture = ElementTree.fromstring(bars_svg(Bars("<Title>", "GiB", bars, "{:.2f} GiB".format, ("capacity", 2.5))))
    rectangles = [element.attrib for element in picture.iter() if element.tag.endswith("rect")]
    widths = [float(rectangle["width"]) for rectangle in rectangles]
    assert widths[1] == 0 and widths[2] == pytest.approx(2 * widths[0], abs=0.2)
    assert all(float(rectangle["x"]) + float(rectangle["width"]) < 480 - 60 for rectangle in rectangles)
    assert [rectangle["class"] for rectangle in rectangles] == ["bar", "bar", "bar here"]
