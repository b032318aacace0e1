"""Rules on what a run loses to failures and checkpoints."""

from collections.abc import Iterator

from llmspec.check.registry import Finding, Run, fact, run_rule
from llmspec.diagnostics import Fact, Severity

# What another interval has to save before it is worth a word: a share of the wall-clock, and hours of it.
WASTE = 0.02
WASTED_HOURS = 1.0


@run_rule("LS550", "checkpoint-interval-wasteful", since="0.1", severity=Severity.WARNING)
def checkpoint_interval_wasteful(run: Run) -> Iterator[Finding]:
    """Checkpoints far more or far less often than pays.

    ## What it checks
    Failures and checkpoints take at most 2% of the wall-clock more with `checkpoint.every` than with the best interval, or less than an
    hour.

    ## Why it matters
    A failure costs the steps since the last checkpoint, and of many devices one fails often: 16,384 of them once in three hours. A
    checkpoint costs the time for which training waits. The best interval follows from both (Young 1974, Daly 2006);
    `llmspec estimate --explain` derives it.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2048, accelerators_per_node: 8}
    checkpoint: {every: 1000}      # three hours
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2048, accelerators_per_node: 8}
    checkpoint: {every: 20}
    ```
    """
    goodput, step = run.estimate.wall_clock.goodput, run.estimate.step_time.step.value
    waste = goodput.lost - goodput.least_lost
    if waste <= WASTE or waste * run.estimate.wall_clock.total_hours.value < WASTED_HOURS:
        return
    best = int(goodput.best_every.value)
    seldom = goodput.every > best
    yield Finding(
        f"checkpoints every {goodput.every:,} steps and failures take {goodput.lost:.0%} of the wall-clock, where "
        f"{goodput.least_lost:.1%} would do",
        "checkpoint.every",
        f"every {goodput.every * step / 60:,.3g} minutes",
        (
            Fact("time between failures", f"{goodput.between.value:,.3g} h", f"estimated for {run.resolved.world_size:,} devices"),
            Fact("training waits at each for", f"{goodput.stall.value:,.3g} s", "estimated"),
            fact(run.resolved, "checkpoint.asynchronous"),
        ),
        (f"save {'more' if seldom else 'less'} often: `every: {best}`",),
    )
