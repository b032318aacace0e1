"""Rules on checkpoints and on what happens to a run that goes wrong."""

from collections.abc import Iterator
from math import lcm

from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import Resolved


@rule("LS310", "keep-every-between-checkpoints", since="0.1", severity=Severity.WARNING)
def keep_every_between_checkpoints(resolved: Resolved) -> Iterator[Finding]:
    """Checkpoints are to stay of steps at which none is written.

    ## What it checks
    `checkpoint.keep_every` is a multiple of `checkpoint.every`.

    ## Why it matters
    Only what is written can stay. With checkpoints every 400 steps, those of each 1000 steps that stay are those of steps 2000, 4000
    and so on: fewer than was asked for.

    ## Example
    ```yaml
    checkpoint: {every: 400, keep_every: 1000}
    ```

    Use instead:
    ```yaml
    checkpoint: {every: 500, keep_every: 1000}
    ```
    """
    checkpoint = resolved.spec.checkpoint
    if checkpoint.keep_every is None or checkpoint.keep_every % checkpoint.every == 0:
        return
    meet = lcm(checkpoint.keep_every, checkpoint.every)
    below = max(1, checkpoint.keep_every // checkpoint.every) * checkpoint.every
    yield Finding(
        "no checkpoint is written at some of the steps of `keep_every`",
        "checkpoint.keep_every",
        f"only those of each {meet} steps would stay",
        (fact(resolved, "checkpoint.every"),),
        (f"use {below} or {below + checkpoint.every}",),
    )


@rule("LS313", "skips-never-too-many", since="0.1", severity=Severity.WARNING)
def skips_never_too_many(resolved: Resolved) -> Iterator[Finding]:
    """A run that no number of skipped steps can stop.

    ## What it checks
    `training.guard.max_skipped_steps` is smaller than `training.guard.window`.

    ## Why it matters
    A run stops when more than `max_skipped_steps` of the last `window` steps were skipped. Of 64 steps no more than 64 can be: a model
    whose loss is not finite any more would go on to the end and learn nothing.

    ## Example
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      max_steps: 1000
      guard: {window: 64, max_skipped_steps: 64}
    ```

    Use instead:
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      max_steps: 1000
      guard: {window: 64, max_skipped_steps: 8}
    ```
    """
    guard = resolved.spec.training.guard
    if guard.max_skipped_steps < guard.window:
        return
    yield Finding(
        "no number of skipped steps stops the run",
        "training.guard.max_skipped_steps",
        f"{guard.max_skipped_steps} >= {guard.window}",
        (fact(resolved, "training.guard.window"),),
        (f"use {max(1, guard.window // 8)}, or a larger `window`",),
    )
