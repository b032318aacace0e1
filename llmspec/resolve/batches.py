"""Batches that grow during a run: which step has which, and what all steps together see."""

from math import gcd
from typing import NamedTuple

from llmspec.spec.schema import Spec


class Stage(NamedTuple):
    """So many steps of so many sequences."""

    steps: int
    batch: int


def warmup_stages(spec: Spec) -> tuple[Stage, ...]:
    """The stages before the full batch, each of whole steps."""
    stages: list[Stage] = []
    seen = 0
    for stage in spec.training.batch_size_warmup:
        tokens = stage.global_batch_size * spec.training.sequence_length
        steps = max(0, -(-(stage.until_tokens - seen) // tokens))
        stages.append(Stage(steps, stage.global_batch_size))
        seen += steps * tokens
    return tuple(stages)


def samples_of(spec: Spec, steps: int) -> int:
    """Sequences in the first `steps` steps."""
    samples = 0
    for stage in warmup_stages(spec):
        taken = min(stage.steps, steps)
        samples, steps = samples + taken * stage.batch, steps - taken
    return samples + steps * spec.training.global_batch_size


def steps_for(spec: Spec, tokens: int) -> int:
    """Steps until so many tokens have been seen, rounded up."""
    length, steps = spec.training.sequence_length, 0
    for stage in warmup_stages(spec):
        if stage.steps * stage.batch * length >= tokens:
            return steps + -(-tokens // (stage.batch * length))
        steps, tokens = steps + stage.steps, tokens - stage.steps * stage.batch * length
    return steps + -(-tokens // (spec.training.global_batch_size * length))


def common_batch(spec: Spec) -> int:
    """The largest number that divides the batch of every stage."""
    return gcd(spec.training.global_batch_size, *(stage.global_batch_size for stage in spec.training.batch_size_warmup))
