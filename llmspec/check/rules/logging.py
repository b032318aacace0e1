"""What is reported while the run trains."""

from collections.abc import Iterator

from llmspec.catalog import find_accelerator
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import Resolved


@rule("LS325", "profiler-beyond-run", since="0.1")
def profiler_beyond_run(resolved: Resolved) -> Iterator[Finding]:
    """The profiler would start after the last step.

    ## What it checks
    `logging.profiler` traces steps that the run has: `start + steps - 1` is at most `training.max_steps`.

    ## Why it matters
    The trace is written after the last of its steps. A run that ends before that gives none.

    ## Example
    ```yaml
    logging: {profiler: {start: 20000}}
    ```

    Use instead:
    ```yaml
    logging: {profiler: {start: 20}}
    ```
    """
    profiler, max_steps = resolved.spec.logging.profiler, resolved.spec.training.max_steps
    if profiler is None:
        return
    last = profiler.start + profiler.steps - 1
    if last > max_steps:
        yield Finding(
            f"the profiler traces up to step {last:,}, and the run has {max_steps:,}",
            "logging.profiler.start",
            facts=tuple(fact(resolved, path) for path in ("logging.profiler.steps", "training.max_steps")),
            help=(f"start at {max(1, max_steps - profiler.steps + 1)} or before",),
        )


@rule("LS326", "memory-history-without-gpu", since="0.1", severity=Severity.WARNING)
def memory_history_without_gpu(resolved: Resolved) -> Iterator[Finding]:
    """Allocations are to be recorded on a device whose allocator cannot.

    ## What it checks
    `logging.memory_history` is set only where the devices are GPUs that PyTorch drives through CUDA or ROCm.

    ## Why it matters
    Only their allocator records what was allocated where. On other devices the field has no effect.

    ## Example
    ```yaml
    logging: {memory_history: true}
    ```

    Use instead:
    ```yaml
    logging: {memory_history: false}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.logging.memory_history and accelerator is not None and accelerator.device_type != "cuda":
        yield Finding(
            f"`{accelerator.id}` does not record its allocations",
            "logging.memory_history",
            facts=(fact(resolved, "hardware.accelerator"),),
            help=("remove it",),
        )
