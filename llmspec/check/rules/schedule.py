"""Rules on the learning rate, its schedule and evaluation."""

from collections.abc import Iterator
from math import floor

from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import OriginKind, Resolved
from llmspec.spec.schema.schedule import ConstantSchedule, WsdSchedule

LARGE_LEARNING_RATE = 0.1


@rule("LS343", "warmup-longer-than-run", since="0.1")
def warmup_longer_than_run(resolved: Resolved) -> Iterator[Finding]:
    """A warm-up that never ends.

    ## What it checks
    `warmup_steps` is less than the number of steps of the run.

    ## Why it matters
    The learning rate would never reach its peak.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine, warmup_steps: 2000}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine, warmup_steps: 10}
    ```
    """
    warmup, steps = resolved.spec.schedule.warmup_steps, resolved.spec.training.max_steps
    if warmup >= steps:
        yield Finding(
            "the warm-up is not shorter than the run",
            "schedule.warmup_steps",
            f"{warmup} >= {steps}",
            (fact(resolved, "training.max_steps"),),
            (f"use {steps // 100}, 1% of the run, or leave `warmup_steps` out for the same",),
        )


@rule("LS344", "min-above-peak", since="0.1")
def min_above_peak(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that would rise at the end.

    ## What it checks
    `min_learning_rate` is at most `optimizer.learning_rate`.

    ## Why it matters
    The learning rate would rise where it should fall.

    ## Example
    ```yaml
    optimizer: {learning_rate: 3e-4}
    schedule: {kind: linear, min_learning_rate: 1e-3}
    ```

    Use instead:
    ```yaml
    optimizer: {learning_rate: 3e-4}
    schedule: {kind: linear, min_learning_rate: 3e-5}
    ```
    """
    schedule, peak = resolved.spec.schedule, resolved.spec.optimizer.learning_rate
    if not isinstance(schedule, ConstantSchedule) and schedule.min_learning_rate > peak:
        yield Finding(
            "`min_learning_rate` is above the peak",
            "schedule.min_learning_rate",
            f"{schedule.min_learning_rate:g} > {peak:g}",
            (fact(resolved, "optimizer.learning_rate"),),
            (f"a tenth of the peak, {peak / 10:g}, is usual",),
        )


@rule("LS345", "warmup-meets-decay", since="0.1")
def warmup_meets_decay(resolved: Resolved) -> Iterator[Finding]:
    """A decay that begins before the warm-up has ended.

    ## What it checks
    With the `wsd` schedule, warm-up and decay together fit into the run.

    ## Why it matters
    The decay would begin before the warm-up has ended.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: wsd, warmup_steps: 200, decay_fraction: 0.9}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: wsd, warmup_steps: 200, decay_fraction: 0.1}
    ```
    """
    schedule, steps = resolved.spec.schedule, resolved.spec.training.max_steps
    if not isinstance(schedule, WsdSchedule) or schedule.warmup_steps >= steps:
        return
    decay = schedule.decay_fraction * steps
    if schedule.warmup_steps + decay > steps:
        largest = floor((1 - schedule.warmup_steps / steps) * 1000) / 1000
        yield Finding(
            "warm-up and decay together are longer than the run",
            "schedule.decay_fraction",
            f"{schedule.warmup_steps} + {decay:g} > {steps}",
            (fact(resolved, "schedule.warmup_steps"), fact(resolved, "training.max_steps")),
            (f"use at most {largest:g}",),
        )


@rule("LS346", "learning-rate-large", since="0.1", severity=Severity.WARNING)
def learning_rate_large(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that is most likely a slip.

    ## What it checks
    `learning_rate` is at most 0.1.

    ## Why it matters
    AdamW moves each weight by about the learning rate in a step; rates for transformers lie between 1e-5 and 1e-2. A larger one is
    most often a slip of the exponent, and makes the loss diverge.

    ## Example
    ```yaml
    optimizer: {kind: adamw, learning_rate: 3e-1}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: adamw, learning_rate: 3e-4}
    ```
    """
    rate = resolved.spec.optimizer.learning_rate
    if rate > LARGE_LEARNING_RATE:
        yield Finding(
            "`learning_rate` is unusually large", "optimizer.learning_rate", help=("rates from 1e-5 to 1e-2 are usual for AdamW",)
        )


@rule("LS347", "evaluation-without-validation", since="0.1", severity=Severity.WARNING)
def evaluation_without_validation(resolved: Resolved) -> Iterator[Finding]:
    """An evaluation with nothing to score.

    ## What it checks
    Where `evaluation` is described, `data.validation_fraction` is above 0.

    ## Why it matters
    No document is kept for validation, so nothing can be scored on text that was not trained on, and no evaluation is emitted.

    ## Example
    ```yaml
    data: {validation_fraction: 0, sources: [{name: stdlib, kind: python_stdlib}]}
    evaluation: {every: 100}
    ```

    Use instead:
    ```yaml
    data: {validation_fraction: 0.01, sources: [{name: stdlib, kind: python_stdlib}]}
    evaluation: {every: 100}
    ```
    """
    written = [
        path
        for path, origin in resolved.origins.items()
        if path.startswith("evaluation.") and origin.kind in (OriginKind.SPEC, OriginKind.OVERRIDE)
    ]
    if written and resolved.spec.data.validation_fraction == 0:
        message = "there is an `evaluation`, and no document is kept for it"
        help_line = "give `data.validation_fraction` a share such as 0.01, or leave `evaluation` out"
        yield Finding(message, written[0], "", (fact(resolved, "data.validation_fraction"),), (help_line,))
