"""Rules on the batch and its division over devices, and on the length of the run."""

import itertools
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


@rule("LS385", "batch-warmup-out-of-order", since="0.1")
def batch_warmup_out_of_order(resolved: Resolved) -> Iterator[Finding]:
    """Stages of a batch warm-up that do not follow each other.

    ## What it checks
    In `batch_size_warmup`, `until_tokens` and the batches rise from stage to stage, the last batch is smaller than `global_batch_size`,
    and the last stage ends before the run.

    ## Why it matters
    A stage that ends before the one before it has no steps, one that ends after the run keeps the full batch from ever being used, and a
    batch that shrinks is most likely a slip.

    ## Example
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      max_tokens: 1B
      batch_size_warmup:
        - {until_tokens: 200M, global_batch_size: 32}
        - {until_tokens: 100M, global_batch_size: 16}
    ```

    Use instead:
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      max_tokens: 1B
      batch_size_warmup:
        - {until_tokens: 100M, global_batch_size: 16}
        - {until_tokens: 200M, global_batch_size: 32}
    ```
    """
    training = resolved.spec.training
    stages = training.batch_size_warmup
    for index, (stage, after) in enumerate(itertools.pairwise(stages), start=1):
        where = f"training.batch_size_warmup[{index}]"
        if after.until_tokens <= stage.until_tokens:
            label = f"{after.until_tokens:,} <= {stage.until_tokens:,}"
            yield Finding("a stage ends before it begins", f"{where}.until_tokens", label, (), ("list the stages in order",))
        if after.global_batch_size <= stage.global_batch_size:
            label = f"{after.global_batch_size} <= {stage.global_batch_size}"
            yield Finding("the batch does not grow", f"{where}.global_batch_size", label, (), ("list the stages in order",))
    if not stages:
        return
    last = f"training.batch_size_warmup[{len(stages) - 1}]"
    if stages[-1].global_batch_size >= training.global_batch_size:
        label = f"{stages[-1].global_batch_size} >= {training.global_batch_size}"
        facts = (fact(resolved, "training.global_batch_size"),)
        yield Finding("the batch does not grow", f"{last}.global_batch_size", label, facts, ("`global_batch_size` follows by itself",))
    if stages[-1].until_tokens >= resolved.total_tokens:
        label = f"{stages[-1].until_tokens:,} >= {resolved.total_tokens:,}"
        facts = (fact(resolved, "training.max_tokens"),)
        yield Finding("the run ends before its batch has grown", f"{last}.until_tokens", label, facts, ("a few percent of it are usual",))


@rule("LS386", "warmup-batch-not-divisible", since="0.1")
def warmup_batch_not_divisible(resolved: Resolved) -> Iterator[Finding]:
    """A batch of the warm-up that cannot be shared out evenly.

    ## What it checks
    The batch of each stage of `batch_size_warmup` is a multiple of `micro_batch_size * data_parallel_size`.

    ## Why it matters
    Each device processes the same number of equal micro batches in a step, in every stage.

    ## Example
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      micro_batch_size: 8
      max_tokens: 1B
      batch_size_warmup: [{until_tokens: 100M, global_batch_size: 20}]
    ```

    Use instead:
    ```yaml
    training:
      sequence_length: 1024
      global_batch_size: 64
      micro_batch_size: 8
      max_tokens: 1B
      batch_size_warmup: [{until_tokens: 100M, global_batch_size: 16}]
    ```
    """
    training, replicas = resolved.spec.training, resolved.data_parallel_size
    given = resolved.origin("training.micro_batch_size").kind is not OriginKind.DERIVED
    unit = training.micro_batch_size * replicas if given else replicas
    for index, stage in enumerate(training.batch_size_warmup):
        batch = stage.global_batch_size
        if batch % unit:
            below, above = batch // unit * unit, (batch // unit + 1) * unit
            facts = [data_parallel_fact(resolved)]
            if given:
                facts.insert(0, fact(resolved, "training.micro_batch_size"))
            yield Finding(
                "a batch of the warm-up cannot be shared out evenly",
                f"training.batch_size_warmup[{index}].global_batch_size",
                f"{batch} % {unit} = {batch % unit}",
                tuple(facts),
                (f"use {below} or {above}" if below else f"use {above}",),
            )
