"""Laws of the loss, and the constants of named data sets."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from llmspec.catalog.table import table

# Of dense models in 16 bits; data_constrained also where tokens repeat. Others are asked by what they are about.
LAWS = ("data_constrained", "epoch", "chinchilla", "farseer", "kaplan")
EXPERTS, PRECISION, INFERENCE = "experts_law", "precision", "inference_aware"


class LossLaw(NamedTuple):
    """A published law of the loss in size and tokens."""

    name: str
    form: str
    coefficients: Mapping[str, float]
    parameters: tuple[float, float]
    """The smallest and the largest model behind it."""
    tokens: tuple[float, float]
    """The fewest and the most tokens behind it."""
    error: float
    """How far 90% of runs on other data sets are off once the constant is right, as a share."""
    source: str
    verified: bool
    tokens_per_parameter: float
    """The fewest that it is meant for."""


class LossData(NamedTuple):
    """A data set with its tokenizer, on which public runs have shown the constant."""

    name: str
    irreducible: float
    spread: float
    text: str
    tokenizer: str
    source: str


_FACTS = ("form", "parameters", "tokens", "error", "source", "verified", "meeting", "tokens_per_parameter")


@cache
def loss_law(name: str) -> LossLaw:
    """A law by its name in loss_laws.yaml."""
    entry = table("loss_laws.yaml").entry(name)
    return LossLaw(
        name,
        entry["form"],
        {key: float(value) for key, value in entry.items() if key not in _FACTS},
        (entry["parameters"][0], entry["parameters"][1]),
        (entry["tokens"][0], entry["tokens"][1]),
        entry["error"],
        entry["source"],
        entry.get("verified", True),
        float(entry.get("tokens_per_parameter", 0.0)),
    )


@cache
def loss_effect(name: str) -> dict[str, Any]:
    """The constants of `experts`, `precision` or `tuning`."""
    effect: dict[str, Any] = table("loss_laws.yaml").entry(name)
    return effect


@cache
def loss_data(name: str) -> LossData:
    """A named data set."""
    entry = table("loss_data.yaml").entry(name)
    return LossData(name, entry["E"], entry["spread"], entry["text"], entry["tokenizer"], entry["source"])


def loss_data_names() -> tuple[str, ...]:
    """All named data sets."""
    return table("loss_data.yaml").names
