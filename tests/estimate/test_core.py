"""The analytic core on its own: one arithmetic for numbers and columns, sane in its limits, near to what was measured."""

import json
import random

import numpy as np
import pytest

from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.constants import memory_constants, step_constants
from llmspec.estimate.memory_model import peak_parts
from llmspec.estimate.step_model import step_parts, step_seconds
from llmspec.estimate.workload import EAGER, FUSED
from tests.accuracy.__main__ import families, frozen, main, scores
from tests.accuracy.exclusions import RULES
from tests.accuracy.rows import ROWS, accelerator_of, read_row, read_rows
from tests.accuracy.table import columns


@pytest.fixture(scope="module")
def rows():
    return read_rows()


@pytest.fixture(scope="module")
def counted(rows):
    return [row for row in rows if row.excluded is None and row.seconds]


def test_numbers_and_columns_give_the_same(counted):
    some = counted[:: len(counted) // 60]
    table = columns(some)
    parts, memory = step_parts(np, table, step_constants()), peak_parts(np, table, memory_constants())
    for index, row in enumerate(some):
        alone = step_parts(SCALARS, row.configuration, step_constants())
        assert alone == pytest.approx({name: np.broadcast_to(value, len(some))[index] for name, value in parts.items()}), row.id
        peak = peak_parts(SCALARS, row.configuration, memory_constants())
        assert peak == pytest.approx({name: np.broadcast_to(value, len(some))[index] for name, value in memory.items()}), row.id


def test_every_part_of_every_row_is_a_time(counted):
    for name, seconds in step_parts(np, columns(counted), step_constants()).items():
        assert np.isfinite(seconds).all(), name
        assert (np.asarray(seconds) >= 0).all(), name


@pytest.mark.parametrize(
    ("change", "slower"),
    [
        ({"micro_batches": 2.0}, True),
        ({"recompute": 2.0}, True),
        ({"flash": 0.0}, True),
        ({"pipeline": 4.0, "micro_batches": 4.0}, True),
        ({"overlapped": 0.0}, True),
    ],
)
def test_what_costs_time_costs_time(counted, change, slower):
    base = next(row for row in counted if row.source == "mosaic23" and row.values["act_ckpt"] == "none").configuration
    base = base._replace(layout=base.layout._replace(micro_batches=1.0, shard_stage=0.0, devices=8.0))
    changed = base._replace(layout=base.layout._replace(**change))
    seconds = [step_seconds(SCALARS, configuration, step_constants()) for configuration in (base, changed)]
    assert (seconds[1] > seconds[0]) is slower


def test_adding_gradients_of_micro_batches_costs_passes_over_whole_ones(counted):
    base = next(row for row in counted if row.source == "mosaic23" and row.values["act_ckpt"] == "none").configuration

    def elementwise(stage: float, micro_batches: float) -> float:
        layout = base.layout._replace(shard_stage=stage, micro_batches=micro_batches)
        return step_parts(SCALARS, base._replace(layout=layout), step_constants())["elementwise"] / micro_batches

    once, sharded, whole = elementwise(1.0, 1.0), elementwise(3.0, 4.0), elementwise(1.0, 4.0)
    assert once == pytest.approx(sharded)
    shape, machine, constants = base.shape, base.machine, step_constants()
    entries = shape.layers * (shape.attention_entries + shape.matrices * shape.hidden * shape.ffn)
    seconds = constants.accumulation * 2 * base.layout.gradient_bytes * entries / (machine.bandwidth * constants.bandwidth)
    assert whole - once == pytest.approx(seconds)


def test_attention_of_libraries_is_faster_than_pytorchs(counted):
    base = next(row for row in counted if row.source == "mosaic23").configuration
    eager, fused = (
        step_parts(SCALARS, base._replace(layout=base.layout._replace(kernels=float(kernels))), step_constants())["attention"]
        for kernels in (EAGER, FUSED)
    )
    assert fused == pytest.approx(eager * step_constants().attention / step_constants().fused_attention)


def test_sources_that_repeat_each_other_are_left_out_together(counted):
    together = {row.source: str(family) for row, family in zip(counted, families(counted), strict=True)}
    assert together["mosaic22"] == together["mosaic23"]
    assert len(set(together.values())) == len(together) - 1


def test_memory_falls_with_sharding_and_recomputation(counted):
    base = next(row for row in counted if row.source == "mosaic23" and row.values["act_ckpt"] == "none").configuration
    peaks = []
    for stage in (0.0, 1.0, 2.0, 3.0):
        layout = base.layout._replace(shard_stage=stage, recompute=2.0)
        peaks.append(sum(peak_parts(SCALARS, base._replace(layout=layout), memory_constants()).values()))
    assert peaks == sorted(peaks, reverse=True)
    whole = sum(
        peak_parts(SCALARS, base._replace(layout=base.layout._replace(shard_stage=3.0, recompute=0.0)), memory_constants()).values()
    )
    assert whole > peaks[-1]


def test_every_rule_of_exclusion_says_why_and_holds_for_some_row(rows):
    used = {row.excluded for row in rows if row.excluded}
    assert used == {rule.name for rule in RULES}
    assert all(rule.reason for rule in RULES)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("A100-SXM-80GB", "a100-80-sxm"),
        ("H100-PCIe-80GB", "h100-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("GB300", "gb300-nvl72"),
        ("B300", "b300"),
        ("MI355X", "mi355x"),
        ("TPU-v5p", "tpu-v5p"),
        ("Trn2", "trainium2"),
        ("L4", "l4"),
    ],
)
def test_devices_by_the_names_of_sources(name, identifier):
    accelerator = accelerator_of(name)
    assert accelerator is not None and accelerator.id == identifier


def test_frozen_constants_are_near_what_was_measured(counted):
    _, overall = scores(counted, *frozen(counted))
    errors = {line.name: line.mean_error for line in overall}
    assert errors["dense bf16/fp16"] < 0.10
    assert errors["dense fp8"] < 0.12
    assert errors["experts fp8"] < 0.20


def test_another_file_is_scored_with_frozen_constants(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.csv"
    text = ROWS.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([text[0], *(line for line in text if line.startswith("narayanan21-"))]) + "\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["accuracy", "--rows", str(file), "--format", "json"])
    main()
    values = json.loads(capsys.readouterr().out)
    assert [line["name"] for line in values["by_source"]] == ["narayanan21 dense bf16/fp16"]
    assert values["by_source"][0]["rows"] == 10
    assert values["by_source"][0]["mean_error"] < 0.05


def test_rows_with_broken_columns_are_lowered_as_far_as_they_go(rows):
    generator = random.Random(0)
    broken = []
    for row in generator.choices(rows, k=400):
        values = dict(row.values)
        for name in generator.sample([name for name in values if name not in ("id", "gpu")], 3):
            values[name] = generator.choice(["", "nan", "x", "0", "-1", "7.5", "~8"])
        broken.append(read_row(values))
    usable = [row for row in broken if row.excluded is None and row.seconds]
    assert len(usable) > 100
    predicted, low, high = frozen(usable)
    assert np.isfinite(predicted).all() and (predicted > 0).all()
    assert (low < predicted).all() and (predicted < high).all()
