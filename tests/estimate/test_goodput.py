"""Goodput: against a simulation of failing runs, published runs, and the interval that a search finds best."""

import math
import random

import pytest

from llmspec.catalog import reliability
from llmspec.catalog.table import table
from llmspec.estimate import estimate
from llmspec.estimate.goodput import Saving, checkpoint_bytes
from tests.estimate.specs import GPT2, LLAMA_31_8B, LLAMA_31_405B, make

BLOOM = LLAMA_31_8B | {
    "vocab_size": 250_880,
    "hidden_size": 14_336,
    "num_layers": 70,
    "attention": {"kind": "mha", "num_heads": 112, "head_dim": 128, "qkv_bias": True, "output_bias": True},
    "feed_forward": {"kind": "gelu", "ffn_hidden_size": 57_344, "bias": True},
    "norm": {"kind": "layernorm"},
    "tie_embeddings": True,
}
SHARDED = {"data": "fsdp"}
SPLIT = {"data": "fsdp", "tensor": 8, "pipeline": 16}
CLUSTER = {"accelerator": "h100-sxm", "nodes": 2048, "accelerators_per_node": 8}


def goodput(architecture, hardware, checkpoint=None, parallelism=None, **training):
    run = {"sequence_length": 4096, "global_batch_size": 4096, "micro_batch_size": 1, "max_steps": 100_000} | training
    resolved, network = make(
        architecture, training=run, precision="bf16", hardware=hardware, checkpoint=checkpoint or {}, parallelism=parallelism or {}
    )
    return estimate(resolved, network).wall_clock.goodput


def simulated(saving: Saving, interval: float, hours: float, seed: int) -> float:
    """Share of the wall-clock in steps that count, of a run that is played through failure by failure."""
    dice = random.Random(seed)
    clock, done = 0.0, 0.0
    fails = dice.expovariate(1 / saving.between)
    while done < hours:
        if clock + interval + saving.stall <= fails:
            clock += interval + saving.stall
            done += interval
            continue
        clock = fails
        while True:
            fails = clock + dice.expovariate(1 / saving.between)
            if clock + saving.restart <= fails:
                clock += saving.restart
                break
            clock = fails
    return done / clock


@pytest.mark.parametrize("interval", [0.1, 0.5, 2.0, 6.0])
def test_availability_is_that_of_simulated_runs(interval: float) -> None:
    saving = Saving(stall=0.02, write=0.02, asynchronous=False, restart=0.15, between=3.0)
    measured = [simulated(saving, interval, 20_000, seed) for seed in range(4)]
    assert saving.availability(interval) == pytest.approx(sum(measured) / len(measured), rel=0.01)


@pytest.mark.parametrize("stall", [1e-4, 1e-3, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("between", [1.0, 3.0, 100.0])
def test_no_interval_is_much_better_than_the_best(stall: float, between: float) -> None:
    saving = Saving(stall, stall, False, 0.15, between)
    best = saving.best_interval()
    found = max((best * 10 ** (n / 50 - 1) for n in range(101)), key=saving.availability)
    assert saving.availability(best) >= saving.availability(found) - 0.002
    # Young's rule where failures are rare, which Daly's goes over into.
    if stall * 100 < between:
        assert best == pytest.approx((2 * stall * between) ** 0.5, rel=0.1)


def test_an_asynchronous_checkpoint_is_not_begun_before_the_last_is_written() -> None:
    saving = Saving(stall=0.001, write=1.0, asynchronous=True, restart=0.1, between=5.0)
    assert saving.best_interval() == 1.0
    assert saving.availability(0.1) < saving.availability(1.0)
    waiting = saving._replace(asynchronous=False, stall=1.0)
    assert waiting.availability(1.0) < saving.availability(1.0)


def test_one_device_for_minutes_has_what_published_short_runs_have() -> None:
    share = goodput(GPT2, {"accelerator": "h100-sxm"}, max_steps=2000, global_batch_size=8, sequence_length=1024)
    assert 0.87 < share.goodput.value <= 0.90
    assert share.goodput.low is not None and share.goodput.high is not None
    assert share.goodput.low < 0.87 < 0.91 < share.goodput.high
    assert share.between.value > 24 * 365
    assert share.best_every.value == 2000


def test_thousands_of_devices_fail_as_those_of_llama_3_did() -> None:
    every = goodput(LLAMA_31_405B, CLUSTER, {"every": 1000}, SPLIT)
    often = goodput(LLAMA_31_405B, CLUSTER, {"every": int(every.best_every.value)}, SPLIT)
    # 419 in 54 days
    assert every.between.low is not None and every.between.high is not None
    assert every.between.low < 54 * 24 / 419 < every.between.high
    assert often.lost == pytest.approx(every.least_lost)
    assert often.goodput.value > every.goodput.value
    # More than 90% of the time was effective training, validation and stalls of data not counted as lost.
    assert often.availability.value > 0.9
    # The days that the GPU-hours of the model card make of step times at the paper's utilisation of 38 to 43% are 0.81 to 0.91 steps.
    assert 0.78 < often.goodput.value < 0.91


def test_more_devices_less_goodput() -> None:
    shares = [goodput(LLAMA_31_8B, CLUSTER | {"nodes": nodes}, {"every": 100}, SHARDED).goodput.value for nodes in (1, 8, 64, 512)]
    assert shares == sorted(shares, reverse=True)


def test_a_synchronous_checkpoint_costs_its_writing() -> None:
    hardware = CLUSTER | {"nodes": 4}
    waits = goodput(LLAMA_31_8B, hardware, {"every": 100, "asynchronous": False}, SHARDED)
    goes_on = goodput(LLAMA_31_8B, hardware, {"every": 100, "asynchronous": True}, SHARDED)
    assert waits.stall.value > 5 * goes_on.stall.value
    assert waits.goodput.value < goes_on.goodput.value
    assert waits.best_every.value > goes_on.best_every.value


def test_size_of_a_checkpoint() -> None:
    """BLOOM's weighs 2.3 TB with 16-bit weights beside fp32 ones and AdamW's moments (bigscience.notion.site, its training's page)."""
    resolved, network = make(BLOOM, precision="bf16", hardware={"accelerator": "a100-80-sxm"})
    assert checkpoint_bytes(resolved, network) / network.num_parameters == 12
    assert checkpoint_bytes(resolved, network) * 14 / 12 == pytest.approx(2.3 * 2**40, rel=0.05)


def test_figures_of_the_catalog_are_those_of_its_sources() -> None:
    rows = table("reliability.yaml").all()
    known = rows.pop("figures")
    ends = {
        "failures": [[row["count"] / (row["devices"] * row["hours"])] for row in rows["failures"]],
        "restart": [[row["minutes"] / 60] for row in rows["restart"]],
        "storage": [[row["low"] * 1e9, row["high"] * 1e9] for row in rows["storage"]],
        "host_copy": [[row["low"] * 1e9, row["high"] * 1e9] for row in rows["host_copy"]],
        "pause": [[row["low"], row["high"]] for row in rows["pause"]],
    }
    assert set(ends) == set(rows) and set(known) == {*ends, "stepping"}
    for name, pairs in ends.items():
        assert all(row["source"] for row in rows[name])
        lows, highs = [pair[0] for pair in pairs], [pair[-1] for pair in pairs]
        figure = known[name]
        assert (figure["low"], figure["high"]) == (pytest.approx(min(lows), rel=1e-3), pytest.approx(max(highs), rel=1e-3))
        assert figure["value"] == pytest.approx(math.exp(sum(map(math.log, lows + highs)) / len(lows + highs)), rel=1e-3)
        assert all(row["run"] in figure["source"] for row in rows[name])
    failures = reliability().failures
    assert failures.low < 419 / (16_384 * 54 * 24) < failures.high
