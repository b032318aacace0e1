"""Every layout that the language can say is estimated, in the direction that it should go, and what cannot be is refused."""

import itertools
from typing import Any

import numpy as np
import pytest

from llmspec.catalog import find_accelerator
from llmspec.check import SPEC_RULES
from llmspec.estimate import Estimate, estimate
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.configuration import configuration_of, layout_of, shape_of
from llmspec.estimate.constants import step_constants
from llmspec.estimate.legal import CONDITIONS, legal
from llmspec.estimate.step_model import step_seconds
from llmspec.estimate.workload import Layout
from tests.estimate.specs import LLAMA_31_8B, LLAMA_31_405B, make

NODE = {"accelerator": "h100-sxm", "nodes": 8, "accelerators_per_node": 8}
RUN = {"sequence_length": 4096, "global_batch_size": 256, "micro_batch_size": 1, "compile": True}


def figures(architecture: dict[str, Any] = LLAMA_31_8B, **fields: Any) -> Estimate:
    settings: dict[str, Any] = {"hardware": NODE, "precision": "bf16", "training": RUN} | fields
    return estimate(*make(architecture, **settings))


LAYOUTS: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {"data": "fsdp"},
    "fsdp, kept": {"data": "fsdp", "reshard_after_forward": False},
    "hsdp": {"data": "hsdp"},
    "zero 0": {"engine": "deepspeed", "data": "zero", "zero_stage": 0},
    "zero 1": {"engine": "deepspeed", "data": "zero", "zero_stage": 1},
    "zero 2": {"engine": "deepspeed", "data": "zero", "zero_stage": 2},
    "zero 3": {"engine": "deepspeed", "data": "zero", "zero_stage": 3},
    "offload": {"engine": "deepspeed", "data": "zero", "zero_stage": 3, "offload": {"optimizer": "cpu", "parameters": "cpu"}},
    "tensor": {"tensor": 8},
    "tensor without sequence": {"tensor": 8, "sequence_parallel": False},
    "gpipe": {"pipeline": 4, "pipeline_schedule": "gpipe"},
    "1f1b": {"pipeline": 4},
    "interleaved": {"pipeline": 4, "pipeline_schedule": "interleaved_1f1b", "stages_per_device": 4},
    "zero bubble": {"pipeline": 4, "pipeline_schedule": "zero_bubble"},
    "context": {"context": 4},
    "all": {"data": "fsdp", "tensor": 4, "pipeline": 2, "context": 2, "activation_checkpointing": "full"},
}


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8", "fp32"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_a_whole_estimate(name, precision):
    result = figures(parallelism=LAYOUTS[name], precision=precision)
    values = result.to_json(derivations=True)
    assert sum(values["time"]["step_by_component"].values()) == pytest.approx(values["time"]["step_seconds"])
    assert sum(values["memory"]["by_component"].values()) == pytest.approx(values["memory"]["peak_gib"])
    assert 0 < values["throughput"]["mfu"] < 1
    low, high = values["intervals"]["time.step_seconds"]
    assert low < values["time"]["step_seconds"] < high
    assert all(entry["inputs"] and entry["formula"] and entry["source"] for entry in values["derivations"].values())


@pytest.mark.parametrize("accelerator", ["v100-sxm-32", "mi300x", "tpu-v5p", "trainium2", "gaudi3", "gb300-nvl72", "rtx4090", "cpu"])
def test_every_layout_on_every_kind_of_device(accelerator):
    for layout in LAYOUTS.values():
        result = figures(parallelism=layout, hardware=NODE | {"accelerator": accelerator})
        assert 0 < result.step_time.step.value < float("inf")


def test_devices_that_nobody_measured_have_wider_intervals():
    def width(accelerator: str) -> float:
        step = figures(hardware=NODE | {"accelerator": accelerator}).step_time.step
        assert step.low is not None and step.high is not None
        return step.high / step.low

    assert width("tpu-v5p") > width("h100-sxm")


def test_sharding_more_needs_less_memory():
    peaks = [figures(parallelism=LAYOUTS[f"zero {stage}"]).memory.peak_bytes for stage in range(4)]
    assert peaks == sorted(peaks, reverse=True)
    assert figures(parallelism=LAYOUTS["offload"]).memory.peak_bytes < peaks[3]
    plain, sharded, kept = (figures(parallelism=LAYOUTS[name]).memory.peak_bytes for name in ("ddp", "fsdp", "fsdp, kept"))
    assert sharded < kept < plain


def test_states_of_fsdp_by_hand():
    memory = figures(parallelism={"data": "fsdp"}).memory
    assert memory.by_component["parameters"] == pytest.approx(4 * 8_030_261_248 / 64, abs=1)
    assert memory.by_component["optimizer"] == pytest.approx(8 * 8_030_261_248 / 64, abs=1)


def test_pipelines_wait_as_their_schedules_say():
    seconds = {
        name: figures(parallelism=LAYOUTS[name]).step_time.parts["pipeline_bubble"] for name in ("1f1b", "interleaved", "zero bubble")
    }
    assert seconds["interleaved"] == pytest.approx(seconds["1f1b"] / 4)
    assert seconds["zero bubble"] == pytest.approx(seconds["1f1b"] / 3)
    held = {name: figures(parallelism=LAYOUTS[name]).memory.by_component["activations"] for name in ("gpipe", "1f1b")}
    assert held["gpipe"] > held["1f1b"]


def test_tensor_parallelism_splits_activations_and_leaves_the_node_at_a_price():
    one, split, whole = (figures(parallelism=layout).memory for layout in ({}, LAYOUTS["tensor"], LAYOUTS["tensor without sequence"]))
    assert split.by_component["activations"] < whole.by_component["activations"] < one.by_component["activations"]
    wide = {**LLAMA_31_8B, "attention": {"kind": "mha", "num_heads": 32, "head_dim": 128}}
    inside, outside = (figures(wide, parallelism={"tensor": degree}).step_time.parts["tensor_parallel"] for degree in (8, 16))
    assert outside > 1.5 * inside


def test_narrow_formats_are_faster_but_not_as_much_as_their_peaks():
    plain, narrow = (figures(LLAMA_31_405B, parallelism={"tensor": 8, "pipeline": 8}, precision=name) for name in ("bf16", "fp8"))
    assert 1.1 < plain.step_time.step.value / narrow.step_time.step.value < 1.9


def test_llama_405b_on_16384_devices():
    """The Llama 3 report has 41% for this layout, of causal FLOPs; these count all pairs, 3% more at this length."""
    layout = {
        "data": "fsdp", "reshard_after_forward": False, "tensor": 8, "pipeline": 16, "pipeline_schedule": "interleaved_1f1b",
        "stages_per_device": 7, "activation_checkpointing": "selective",
    }  # fmt: skip
    training = {"sequence_length": 8192, "global_batch_size": 2048, "micro_batch_size": 1, "compile": True}
    result = figures(LLAMA_31_405B, parallelism=layout, training=training, hardware=NODE | {"nodes": 2048})
    assert result.step_time.mfu.value == pytest.approx(0.42, rel=0.15)
    assert result.memory.peak.value == pytest.approx(78, rel=0.15)


def _errors(resolved: Any) -> set[str]:
    return {code for code in CONDITIONS if any(True for _ in SPEC_RULES[code].function(resolved))}


def test_the_predicate_refuses_what_the_rules_refuse():
    degrees = {"tensor": (1, 3, 8), "pipeline": (1, 5, 64), "context": (1, 3), "virtual": (1, 2), "expert": (1, 2)}
    for tensor, pipeline, context, virtual, expert in itertools.product(*degrees.values()):
        if virtual > 1 and pipeline == 1:
            continue
        schedule = {"pipeline_schedule": "interleaved_1f1b", "stages_per_device": virtual} if virtual > 1 else {}
        layout = {"tensor": tensor, "pipeline": pipeline, "context": context, "expert": expert} | schedule
        resolved, network = make(LLAMA_31_8B, parallelism=layout, hardware=NODE, training=RUN, precision="bf16")
        possible = legal(SCALARS, shape_of(resolved, network), layout_of(resolved, network))
        assert bool(possible) is not bool(_errors(resolved)), layout


def test_the_predicate_takes_columns():
    resolved, network = make(LLAMA_31_8B, hardware=NODE, training=RUN, precision="bf16")
    base = layout_of(resolved, network)
    columns = Layout(*(np.full(4, value) for value in base))._replace(tensor=np.array([1.0, 2.0, 3.0, 16.0]))
    assert legal(np, shape_of(resolved, network), columns).tolist() == [True, True, False, False]


def test_a_column_of_layouts_is_scored_at_once():
    resolved, network = make(LLAMA_31_8B, hardware=NODE, training=RUN, precision="bf16")
    accelerator = find_accelerator("h100-sxm")
    assert accelerator is not None
    configuration = configuration_of(resolved, network, accelerator)
    layouts = Layout(*(np.full(1000, value) for value in configuration.layout))._replace(tensor=np.resize([1.0, 2.0, 4.0, 8.0], 1000))
    seconds = step_seconds(np, configuration._replace(layout=layouts), step_constants())
    assert seconds.shape == (1000,)
    assert seconds[0] == pytest.approx(step_seconds(SCALARS, configuration, step_constants()))


def test_optimizers_remember_and_compute_what_they_do():
    def run(**optimizer: Any) -> Estimate:
        return figures(optimizer={"learning_rate": 1e-3} | optimizer)

    adamw, lion, muon = run(), run(kind="lion"), run(kind="muon")
    parameters = 8_030_261_248
    assert adamw.memory.by_component["optimizer"] == 8 * parameters
    assert lion.memory.by_component["optimizer"] == 4 * parameters
    assert lion.memory.by_component["optimizer"] < muon.memory.by_component["optimizer"] < adamw.memory.by_component["optimizer"]
    assert muon.step_time.parts["optimizer"] > adamw.step_time.parts["optimizer"] > lion.step_time.parts["optimizer"]
    # Five steps of Newton-Schulz on each matrix are 666 TFLOP: two squares of 4096 a layer, two of 1024 by 4096, three of 4096 by 14336.
    assert muon.step_time.parts["optimizer"] - adamw.step_time.parts["optimizer"] == pytest.approx(666 / 726, rel=0.05)
