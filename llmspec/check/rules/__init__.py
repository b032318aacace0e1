"""The rules, one module a theme. Importing this package registers all of them."""

from llmspec.check.rules import (
    architecture,
    batch,
    data,
    deepspeed,
    degrees,
    faults,
    hardware,
    launch,
    laws,
    layout,
    logging,
    memory,
    optimizer,
    schedule,
    tokenizer,
    unbuilt,
)

__all__ = [
    "architecture",
    "batch",
    "data",
    "deepspeed",
    "degrees",
    "faults",
    "hardware",
    "launch",
    "laws",
    "layout",
    "logging",
    "memory",
    "optimizer",
    "schedule",
    "tokenizer",
    "unbuilt",
]
