"""Rules on the learning rate, its schedule and evaluation."""

from collections.abc import Iterator
from math import floor

from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import OriginKind, Resolved
from llmspec.spec.schema.optimizer import Adam, AdamW, RmsProp, Sgd
from llmspec.spec.schema.schedule import (
    CosineRestartsSchedule,
    CyclicalSchedule,
    MultiStepSchedule,
    OneCycleSchedule,
    StepSchedule,
    WarmedUp,
    WsdSchedule,
)

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
    schedule, steps = resolved.spec.schedule, resolved.spec.training.max_steps
    if isinstance(schedule, WarmedUp) and schedule.warmup_steps >= steps:
        yield Finding(
            "the warm-up is not shorter than the run",
            "schedule.warmup_steps",
            f"{schedule.warmup_steps} >= {steps}",
            (fact(resolved, "training.max_steps"),),
            (f"use {steps // 100}, 1% of the run, or leave `warmup_steps` out for the same",),
        )


@rule("LS344", "min-above-peak", since="0.1")
def min_above_peak(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that would rise at the end.

    ## What it checks
    `min_learning_rate` is at most `optimizer.learning_rate`, and so is `initial_learning_rate` where the schedule has one.

    ## Why it matters
    The learning rate would rise where it should fall, or fall where it should rise.

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
    for name, divisor in (("initial_learning_rate", 25), ("min_learning_rate", 10)):
        rate = getattr(schedule, name, 0.0)
        if rate > peak:
            yield Finding(
                f"`{name}` is above the peak",
                f"schedule.{name}",
                f"{rate:g} > {peak:g}",
                (fact(resolved, "optimizer.learning_rate"),),
                (f"a {'tenth' if divisor == 10 else 'twenty-fifth'} of the peak, {peak / divisor:g}, is usual",),
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


@rule("LS316", "cycle-longer-than-run", since="0.1")
def cycle_longer_than_run(resolved: Resolved) -> Iterator[Finding]:
    """A schedule whose first cycle or first fall lies behind the last step.

    ## What it checks
    With the schedules `cosine_restarts`, `cyclical` and `step`, at least one restart, peak or fall comes before the last step.

    ## Why it matters
    The schedule would be another one than its name says: without restarts, without a peak, without a fall.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine_restarts, cycle_steps: 5000}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine_restarts, warmup_steps: 0, cycle_steps: 250}
    ```
    """
    schedule, steps = resolved.spec.schedule, resolved.spec.training.max_steps
    left = steps - (schedule.warmup_steps if isinstance(schedule, WarmedUp) else 0)
    if left < 1:
        return
    match schedule:
        case CosineRestartsSchedule(cycle_steps=length) if length >= left:
            name, message, best = "cycle_steps", "the first cycle is not shorter than the run", -(-left // 4)
        case CyclicalSchedule(rise_steps=length) if length >= left:
            name, message, best = "rise_steps", "the first rise is not shorter than the run", max(1, left // 8)
        case StepSchedule(decay_every=length) if length >= left:
            name, message, best = "decay_every", "the first fall comes after the last step", max(1, left // 3)
        case _:
            return
    help_line = f"use {best}, or leave `{name}` out for one that fits"
    yield Finding(message, f"schedule.{name}", f"{length} >= {left}", (fact(resolved, "training.max_steps"),), (help_line,))


@rule("LS317", "fall-before-peak", since="0.1")
def fall_before_peak(resolved: Resolved) -> Iterator[Finding]:
    """Falls that are out of order, or come before the warm-up has ended.

    ## What it checks
    With the schedule `multi_step`, the shares in `decay_at` rise, and the first lies after the warm-up.

    ## Why it matters
    A rate that falls before it has reached its peak never reaches it, and the same share given twice is most likely a slip.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: multi_step, warmup_steps: 100, decay_at: [0.9, 0.8]}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: multi_step, warmup_steps: 100, decay_at: [0.8, 0.9]}
    ```
    """
    schedule, steps = resolved.spec.schedule, resolved.spec.training.max_steps
    if not isinstance(schedule, MultiStepSchedule) or schedule.warmup_steps >= steps:
        return
    if list(schedule.decay_at) != sorted(set(schedule.decay_at)):
        ordered = ", ".join(f"{share:g}" for share in sorted(set(schedule.decay_at)))
        yield Finding("the shares in `decay_at` do not rise", "schedule.decay_at", "", (), (f"use [{ordered}]",))
    elif round(schedule.decay_at[0] * steps) < schedule.warmup_steps:
        first = round(schedule.decay_at[0] * steps)
        yield Finding(
            "the first fall comes before the warm-up has ended",
            "schedule.decay_at",
            f"step {first} < {schedule.warmup_steps}",
            (fact(resolved, "schedule.warmup_steps"), fact(resolved, "training.max_steps")),
            (f"use shares above {schedule.warmup_steps / steps:g}",),
        )


@rule("LS318", "ends-within-cycle", since="0.1", severity=Severity.WARNING)
def ends_within_cycle(resolved: Resolved) -> Iterator[Finding]:
    """A run that ends while the learning rate is high.

    ## What it checks
    With the schedules `cosine_restarts` and `cyclical`, the last cycle is at least half-way down when the run ends.

    ## Why it matters
    The gain of a cycle comes from the low rates at its end. A run that ends in the first half of a fall keeps the noise of a high rate.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine_restarts, warmup_steps: 100, cycle_steps: 400}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 1000}
    schedule: {kind: cosine_restarts, warmup_steps: 100, cycle_steps: 450}
    ```
    """
    schedule, steps = resolved.spec.schedule, resolved.spec.training.max_steps
    if isinstance(schedule, CosineRestartsSchedule):
        done, length = schedule.warmup_steps, schedule.cycle_steps
        while done + length < steps:
            done += length
            length *= schedule.cycle_growth
        high, name = steps - done < length / 2, "cycle_steps"
    elif isinstance(schedule, CyclicalSchedule):
        length = schedule.rise_steps + schedule.fall_steps
        done = (steps - 1) // length * length
        position = steps - done - 1
        high, name = 2 * position > schedule.rise_steps and 2 * (position - schedule.rise_steps) < schedule.fall_steps, "rise_steps"
    else:
        return
    first = schedule.cycle_steps if isinstance(schedule, CosineRestartsSchedule) else schedule.rise_steps
    if high and first < steps - (schedule.warmup_steps if isinstance(schedule, WarmedUp) else 0):
        yield Finding(
            "the run ends within a cycle, at a high learning rate",
            f"schedule.{name}",
            f"the last cycle would end at step {done + length}",
            (fact(resolved, "training.max_steps"),),
            (f"end the run at step {done} or {done + length}, or leave `{name}` out for one that fits",),
        )


@rule("LS346", "learning-rate-large", since="0.1", severity=Severity.WARNING)
def learning_rate_large(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that is most likely a slip.

    ## What it checks
    `learning_rate` is at most 0.1. SGD and Adafactor, whose steps are of another size, may have any.

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
    if rate > LARGE_LEARNING_RATE and resolved.spec.optimizer.kind not in ("sgd", "adafactor"):
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


@rule("LS348", "momentum-cannot-cycle", since="0.1")
def momentum_cannot_cycle(resolved: Resolved) -> Iterator[Finding]:
    """A momentum that cannot move against the learning rate.

    ## What it checks
    Where `schedule.momentum_at_peak` is given, `optimizer.kind` is adam, adamw, sgd or rmsprop, and its `beta1` or `momentum` is larger.

    ## Why it matters
    Momentum is to be low while the rate is high (Smith 2018), and to come back to what the optimizer has. Other optimizers have none, or
    two of them, or use it for something else as well.

    ## Example
    ```yaml
    optimizer: {kind: adamw, beta1: 0.9}
    schedule: {kind: one_cycle, momentum_at_peak: 0.95}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: adamw, beta1: 0.95}
    schedule: {kind: one_cycle, momentum_at_peak: 0.85}
    ```
    """
    schedule, optimizer = resolved.spec.schedule, resolved.spec.optimizer
    if not isinstance(schedule, CyclicalSchedule | OneCycleSchedule) or schedule.momentum_at_peak is None:
        return
    if not isinstance(optimizer, Adam | AdamW | Sgd | RmsProp):
        what = f"{optimizer.kind} has no momentum that could move against the learning rate"
        help_line = "use adam, adamw, sgd or rmsprop, or leave `momentum_at_peak` out"
        yield Finding(what, "schedule.momentum_at_peak", facts=(fact(resolved, "optimizer.kind"),), help=(help_line,))
        return
    name = "beta1" if isinstance(optimizer, Adam | AdamW) else "momentum"
    highest = getattr(optimizer, name)
    if schedule.momentum_at_peak >= highest:
        usual = 0.85 if isinstance(schedule, OneCycleSchedule) else 0.8
        yield Finding(
            f"the optimizer's `{name}` is not larger than `momentum_at_peak`",
            "schedule.momentum_at_peak",
            f"{schedule.momentum_at_peak:g} >= {highest:g}",
            (fact(resolved, f"optimizer.{name}"),),
            (f"use {usual:g} with `{name}` {usual + 0.1:g}, or leave `momentum_at_peak` out",),
        )
