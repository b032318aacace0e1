"""Rules on what a run needs, which the estimate says."""

from collections.abc import Iterator

from llmspec.check.registry import BUILD_RULES, SPEC_RULES, Finding, Run, fact, run_rule
from llmspec.diagnostics import Fact, Severity
from llmspec.estimate import cheapest_fix
from llmspec.resolve import Resolved

GIB = 2**30


def _component_facts(run: Run) -> tuple[Fact, ...]:
    """The largest components of the memory, and what there is."""
    memory = run.estimate.memory
    largest = sorted(memory.by_component.items(), key=lambda entry: -entry[1])[:5]
    parts = [Fact(name.replace("_", " "), f"{size / GIB:.2f} GiB", "estimated") for name, size in largest if size > 0]
    capacity = Fact(
        "memory of the accelerator", f"{memory.capacity_bytes / GIB:.2f} GiB", fact(run.resolved, "hardware.accelerator").origin
    )
    return (*parts, capacity)


@run_rule("LS401", "does-not-fit", since="0.1")
def does_not_fit(run: Run) -> Iterator[Finding]:
    """A run that does not fit the memory.

    ## What it checks
    The estimated peak of a device's memory is within what the accelerator has.

    ## Why it matters
    The run would end at its first step with an out-of-memory error, after the machines were rented and the data prepared.

    ## Example
    ```yaml
    preset: llama-3.1-8b
    hardware: {accelerator: rtx-4090}
    ```

    Use instead:
    ```yaml
    preset: llama-3.2-1b
    training: {micro_batch_size: 1}
    parallelism: {activation_checkpointing: full}
    hardware: {accelerator: h100-sxm}
    ```
    """
    memory = run.estimate.memory
    if memory.peak_bytes <= memory.capacity_bytes:
        return
    accelerator = run.resolved.spec.hardware.accelerator
    fix = cheapest_fix(run.resolved, run.network, lambda variant: _is_sound(variant, run))
    tried = "micro batch, checkpointing and sharding" if run.resolved.data_parallel_size > 1 else "micro batch and checkpointing"
    yield Finding(
        f"the run needs {memory.peak_bytes / GIB:.1f} GiB on each device, and `{accelerator}` has {memory.capacity_bytes / GIB:.1f} GiB",
        "hardware.accelerator",
        f"{memory.peak_bytes / GIB:.1f} > {memory.capacity_bytes / GIB:.1f} GiB",
        _component_facts(run),
        (fix if fix is not None else f"no {tried} fits: use a smaller model, more devices or an accelerator with more memory",),
    )


def _is_sound(variant: Resolved, run: Run) -> bool:
    """Whether no rule speaks against a variant of a run that could be built, or estimated, as it was."""
    rules = [*SPEC_RULES.values()]
    if not any(True for rule in BUILD_RULES.values() for _ in rule.diagnostics(run.resolved, run.resolved)):
        rules += BUILD_RULES.values()
    return not any(found.severity is Severity.ERROR for rule in rules for found in rule.diagnostics(variant, variant))


@run_rule("LS402", "fits-barely", since="0.1", severity=Severity.WARNING)
def fits_barely(run: Run) -> Iterator[Finding]:
    """A run that may not fit the memory.

    ## What it checks
    The estimated peak of a device's memory fits with the error of the estimate added.

    ## Why it matters
    The estimate may be wrong by some percent, and so little is left that the run may not fit.

    ## Example
    ```yaml
    training: {micro_batch_size: 8}      # 78 of 80 GiB
    ```

    Use instead:
    ```yaml
    training: {micro_batch_size: 4}
    ```
    """
    memory = run.estimate.memory
    if memory.tight:
        peak, capacity = memory.peak_bytes / GIB, memory.capacity_bytes / GIB
        message = f"the run needs about {peak:.1f} of {capacity:.1f} GiB, which is within the error of the estimate"
        help_line = "a smaller `micro_batch_size`, or more `activation_checkpointing`, leaves room"
        yield Finding(message, "hardware.accelerator", "", _component_facts(run), (help_line,))
