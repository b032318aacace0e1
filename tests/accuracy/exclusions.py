"""Rows that are left out of the score: each by a rule that says why, none by hand.

A rule looks at a row's columns and at what the row could be lowered to, never at how well it is predicted. The first that holds counts.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from llmspec.catalog import Accelerator
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.constants import memory_constants
from llmspec.estimate.memory_model import peak_parts
from llmspec.estimate.workload import Configuration

# States beyond this share of the memory were not held as the row says.
HELD = 1.5


class Rule(NamedTuple):
    """Why rows are left out, and which."""

    name: str
    reason: str
    holds: "Callable[[Subject], bool]"


class Subject(NamedTuple):
    """A row as the rules see it."""

    values: dict[str, str]
    accelerator: Accelerator | None
    configuration: Configuration | None

    def says(self, pattern: str) -> bool:
        """Whether the notes say so."""
        return re.search(pattern, self.values.get("notes") or "") is not None

    def has(self, *names: str) -> bool:
        """Whether any of these columns is filled."""
        return any((self.values.get(name) or "").strip() for name in names)


def _layout_not_stated(row: Subject) -> bool:
    """No degree and no sharding, and the plain layout that would be assumed does not hold the model's weights."""
    if row.has("tp", "pp", "dp_or_shard_kind") or row.configuration is None:
        return False
    shape = row.configuration.shape
    parameters = shape.layers * (shape.attention_entries + shape.matrices * shape.hidden * shape.ffn)
    return bool(16 * parameters * shape.trained + 2 * parameters > row.configuration.machine.memory) or not row.has("global_batch_seqs")


def _size_contradicts(row: Subject) -> bool:
    """A dense model whose stated number of parameters is far from what its dimensions give."""
    stated = row.values.get("params") or ""
    if not stated.replace(".", "").isdigit() or row.configuration is None or row.configuration.shape.experts:
        return False
    shape = row.configuration.shape
    counted = shape.layers * (shape.attention_entries + shape.matrices * shape.hidden * shape.ffn) + shape.vocabulary * shape.hidden
    return not 0.6 < float(stated) / counted < 1.6


def _does_not_fit(row: Subject) -> bool:
    """Parameters, gradients and the optimizer's state, without any activation, are far more than the device holds."""
    if row.configuration is None or row.configuration.layout.offload:
        return False
    peak = peak_parts(SCALARS, row.configuration, memory_constants())
    return bool(peak["parameters"] + peak["gradients"] + peak["optimizer"] > HELD * row.configuration.machine.memory)


RULES = (
    Rule("out-of-memory", "the source reports that it ran out of memory", lambda row: row.says(r"\bOOM\b(?!.*passed)")),
    Rule("device-unknown", "the device is not named, or two are", lambda row: row.accelerator is None or row.says("GPU stated")),
    Rule(
        "variable-length",
        "sequences of different lengths, whose number of tokens is not told",
        lambda row: row.says("variable-length|variable length"),
    ),
    Rule("encoder", "an encoder, or an encoder and decoder, without dimensions", lambda row: row.says(r"encoder\(-decoder\)")),
    Rule("hybrid", "state space layers beside attention, whose widths are not told", lambda row: row.says(r"hybrid|Mamba")),
    Rule("four-bit-base", "a frozen base in 4 bit, which the language cannot say", lambda row: row.says(r"Q-LoRA|bnb\.|qlora")),
    Rule("rounded", "the source gives one digit", lambda row: row.says("value published as ~")),
    Rule("contradictory", "the layout contradicts the number of devices", lambda row: row.says("conflicts with")),
    Rule(
        "no-dimensions",
        "the model's dimensions are not told, or the layout does not divide the devices",
        lambda row: row.configuration is None,
    ),
    Rule("size-contradicts-dimensions", "the model's size is not that of its dimensions", _size_contradicts),
    Rule("batch-not-stated", "neither the batch nor the micro batch is told", lambda row: not row.has("micro_batch", "global_batch_seqs")),
    Rule(
        "precision-not-stated",
        "the number format is not told, on a device that has several",
        lambda row: not row.has("precision") and row.accelerator is not None and row.accelerator.supports("fp8"),
    ),
    Rule("layout-not-stated", "neither degrees nor sharding are told, and one device does not hold the model", _layout_not_stated),
    Rule("layout-does-not-fit", "the layout that is told, which lacks a degree, does not hold the model's states", _does_not_fit),
)


def excluded_by(subject: Subject) -> str | None:
    """The name of the first rule that leaves a row out; None where it counts."""
    return next((rule.name for rule in RULES if rule.holds(subject)), None)
