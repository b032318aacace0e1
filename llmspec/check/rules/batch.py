"""Rules on the batch and its division over devices, and on the length of the run."""

from collections.abc import Iterator

from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Fact
from llmspec.resolve import OriginKind, Resolved


def data_parallel_fact(resolved: Resolved) -> Fact:
    """The number of replicas and how it came about."""
    hardware = resolved.spec.hardware
    rule = f"derived: {hardware.nodes} nodes * {hardware.accelerators_per_node} accelerators"
    return Fact("data_parallel_size", str(resolved.data_parallel_size), rule)


@rule("LS302", "batch-not-divisible", since="0.1")
def batch_not_divisible(resolved: Resolved) -> Iterator[Finding]:
    """A batch that cannot be shared out evenly.

    ## What it checks
    `global_batch_size` is a multiple of `micro_batch_size * data_parallel_size`, and at least as large.

    ## Why it matters
    Each device processes the same number of micro batches in a step. With a remainder some sequences would be dropped or some devices
    would wait, and the batch would not be the one that was asked for.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 1000, micro_batch_size: 2, max_steps: 1000}
    hardware: {accelerator: h100-sxm, nodes: 6, accelerators_per_node: 8}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 960, micro_batch_size: 2, max_steps: 1000}
    hardware: {accelerator: h100-sxm, nodes: 6, accelerators_per_node: 8}
    ```
    """
    training, replicas = resolved.spec.training, resolved.data_parallel_size
    batch = training.global_batch_size
    given = resolved.origin("training.micro_batch_size").kind is not OriginKind.DERIVED
    # A derived micro batch divides the device's share, so that only the share itself can have a remainder.
    unit = training.micro_batch_size * replicas if given else replicas
    product = "`micro_batch_size * data_parallel_size`" if given else "`data_parallel_size`"
    if batch % unit == 0:
        return
    facts = [data_parallel_fact(resolved)]
    if given:
        facts.insert(0, fact(resolved, "training.micro_batch_size"))
    below, above = batch // unit, batch // unit + 1
    if given:
        steps = f"{above * unit} ({above} accumulation step{'s' if above > 1 else ''})"
        help_line = f"use {below * unit} ({below} accumulation steps) or {above * unit} ({above})" if below > 1 else f"use {steps}"
    else:
        help_line = f"use {below * unit} or {above * unit}" if below else f"use {unit}"
    if batch < unit:
        message, label = f"`global_batch_size` is smaller than {product}", f"{batch} < {unit}"
    else:
        message, label = f"`global_batch_size` is not divisible by {product}", f"{batch} % {unit} = {batch % unit}"
    yield Finding(message, "training.global_batch_size", label, tuple(facts), (help_line,))


@rule("LS341", "run-without-length", since="0.1")
def run_without_length(resolved: Resolved) -> Iterator[Finding]:
    """A run without an end.

    ## What it checks
    One of `max_steps` and `max_tokens` is given.

    ## Why it matters
    How long a run should be, only its author can say: it decides what it costs and what it learns.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_tokens: 1B}
    ```
    """
    kinds = {resolved.origin(f"training.{name}").kind for name in ("max_steps", "max_tokens")}
    if kinds == {OriginKind.DERIVED}:
        message = "`training` does not say how long the run is"
        yield Finding(message, "training", help=("add `max_tokens: 1B` or `max_steps: 10000`, with your number",))


@rule("LS342", "run-with-two-lengths", since="0.1")
def run_with_two_lengths(resolved: Resolved) -> Iterator[Finding]:
    """A run whose length is given twice.

    ## What it checks
    Not both of `max_steps` and `max_tokens` are given.

    ## Why it matters
    Each follows from the other, by the tokens of a step. Two would sooner or later disagree.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_steps: 10000, max_tokens: 1B}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: 64, max_tokens: 1B}
    ```
    """
    training = resolved.spec.training
    kinds = {resolved.origin(f"training.{name}").kind for name in ("max_steps", "max_tokens")}
    if OriginKind.DERIVED not in kinds:
        same = f"`max_steps: {training.max_steps}` is {training.max_steps * resolved.tokens_per_step} tokens"
        facts = (
            fact(resolved, "training.max_steps"),
            Fact("tokens_per_step", str(resolved.tokens_per_step), "derived: global_batch_size * sequence_length"),
        )
        yield Finding("`max_steps` and `max_tokens` are both given", "training.max_tokens", same, facts, ("keep one of them",))
