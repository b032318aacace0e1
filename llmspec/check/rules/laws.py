"""Rules on what published laws say of the learning rate and the batch."""

from collections.abc import Callable, Iterator

from llmspec.catalog.loss_laws import loss_effect
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import OriginKind, Resolved, laws

FACTOR = 5
_LAWS = ("step_law", "deepseek_llm", "olmo_ladder")
# Optimizers whose rates are AdamW's. Muon's are with the scaling that makes its steps as large as AdamW's (Liu et al. 2025).
_LIKE_ADAMW = ("adam", "adamw", "adamw_8bit")


def _has_laws(resolved: Resolved) -> bool:
    optimizer = resolved.spec.optimizer
    return optimizer.kind in _LIKE_ADAMW or getattr(optimizer, "scaling", "") == "match_rms_adamw"


@rule("LS387", "not-for-optimizer", since="0.1")
def not_for_optimizer(resolved: Resolved) -> Iterator[Finding]:
    """What was worked out for AdamW, with another optimizer.

    ## What it checks
    Where `learning_rate` or `global_batch_size` is left to a law, the optimizer is `adam`, `adamw`, `adamw_8bit`, or `muon` with
    `scaling: match_rms_adamw`. With `architecture.mup` it is `adamw` or `adamw_8bit`.

    ## Why it matters
    The published laws were fitted on runs with AdamW, and the scales of muP follow from how AdamW moves weights. Other optimizers move
    them by other amounts at the same rate: Lion by three to ten times as much, SGD by next to nothing.

    ## Example
    ```yaml
    optimizer: {kind: sgd, learning_rate: auto}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: adamw, learning_rate: auto}
    ```
    """
    optimizer = resolved.spec.optimizer
    if resolved.spec.architecture.mup is not None and optimizer.kind not in ("adamw", "adamw_8bit"):
        message = f"muP is not known for `{optimizer.kind}` here"
        yield Finding(message, "architecture.mup", "", (fact(resolved, "optimizer.kind"),), ("use `adamw`, or leave `mup` out",))
    if _has_laws(resolved):
        return
    for path in ("optimizer.learning_rate", "training.global_batch_size"):
        if resolved.origin(path).kind is not OriginKind.DERIVED:
            continue
        value = optimizer.learning_rate if path.startswith("optimizer") else resolved.spec.training.global_batch_size
        help_line = f"give a number; for AdamW the law says {value:g}"
        if optimizer.kind == "lion" and path.startswith("optimizer"):
            help_line = f"give a number; Lion takes a third to a tenth of AdamW's rate, here {value / 10:.2g} to {value / 3:.2g}"
        yield Finding(f"no published law says this for `{optimizer.kind}`", path, "", (fact(resolved, "optimizer.kind"),), (help_line,))


@rule("LS319", "law-without-tokens", since="0.1")
def law_without_tokens(resolved: Resolved) -> Iterator[Finding]:
    """A batch that is to come from a law, in a run whose length is given in steps.

    ## What it checks
    Where `global_batch_size` is left to a law, `max_tokens` is given.

    ## Why it matters
    The laws tell the batch from the tokens of the whole run, and the tokens of so many steps depend on the batch.

    ## Example
    ```yaml
    training: {sequence_length: 1024, global_batch_size: auto, max_steps: 1000}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 1024, global_batch_size: auto, max_tokens: 1B}
    ```
    """
    if resolved.origin("training.global_batch_size").kind is not OriginKind.DERIVED:
        return
    if resolved.origin("training.max_tokens").kind is OriginKind.DERIVED:
        message = "`global_batch_size` is left to a law, which needs `max_tokens`"
        yield Finding(message, "training.global_batch_size", "", (), ("give max_tokens in place of max_steps, or a number of sequences",))


@rule("LS388", "learning-rate-far-from-laws", since="0.1", severity=Severity.WARNING)
def learning_rate_far_from_laws(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that is far from what all published laws say.

    ## What it checks
    With AdamW and its like, `learning_rate` is at most five times the largest, and at least a fifth of the smallest rate that StepLaw,
    DeepSeek LLM's law and the OLMo ladder suggest for the run. With `architecture.mup` the laws are asked for the model at the base
    width, whose rate the spec gives. Models below 10 million parameters and runs below 100 million tokens, which no law was fitted on,
    are not checked.

    ## Why it matters
    A rate that is far too high makes the loss diverge, one that is far too low wastes most of the run. Within a factor of two around the
    best rate little is lost. The laws differ by up to a factor of ten, and published recipes lie up to 4.5 times below all of them
    (GPT-3, Pythia and Cerebras-GPT at billions of parameters), so only what is farther is said to be far.

    ## Example
    ```yaml
    architecture: {hidden_size: 768, num_layers: 12, attention: {kind: mha, num_heads: 12}}
    training: {sequence_length: 1024, global_batch_size: 256, max_tokens: 10B}
    optimizer: {learning_rate: 1e-5}
    ```

    Use instead:
    ```yaml
    architecture: {hidden_size: 768, num_layers: 12, attention: {kind: mha, num_heads: 12}}
    training: {sequence_length: 1024, global_batch_size: 256, max_tokens: 10B}
    optimizer: {learning_rate: auto}
    ```
    """
    run = laws.rate_scale(resolved.spec, resolved.spec.training.max_tokens)
    if not _has_laws(resolved) or not _in_reach(run):
        return
    suggested = [laws.learning_rate(run, law) for law in _LAWS]
    path, rate = "optimizer.learning_rate", resolved.spec.optimizer.learning_rate
    far = _far(path, rate, suggested, lambda value: f"{value:.3g}")
    if far is None:
        return
    auto = laws.learning_rate(run, "auto").value
    low, high = _range(suggested)
    yield far._replace(help=(f"set `{path}` to `auto`, {auto:g}, or to a number from {low:.2g} to {high:.2g}", *far.help))


@rule("LS389", "batch-far-from-laws", since="0.1", severity=Severity.WARNING)
def batch_far_from_laws(resolved: Resolved) -> Iterator[Finding]:
    """A batch that is far from what all published laws say.

    ## What it checks
    With AdamW and its like, the tokens of a step are at most five times the largest, and at least a fifth of the smallest batch that
    StepLaw, DeepSeek LLM's law and the OLMo ladder suggest for the run. Models below 10 million parameters and runs below 100 million
    tokens, which no law was fitted on, are not checked.

    ## Why it matters
    Beyond the critical batch size more sequences a step no longer mean proportionally fewer steps (McCandlish et al. 2018), so their
    tokens are wasted. Far below it, devices wait for each other and for the optimizer most of the time.

    ## Example
    ```yaml
    architecture: {hidden_size: 768, num_layers: 12, attention: {kind: mha, num_heads: 12}}
    training: {sequence_length: 1024, global_batch_size: 16384, max_tokens: 10B}
    ```

    Use instead:
    ```yaml
    architecture: {hidden_size: 768, num_layers: 12, attention: {kind: mha, num_heads: 12}}
    training: {sequence_length: 1024, global_batch_size: auto, max_tokens: 10B}
    ```
    """
    run = laws.scale(resolved.spec, resolved.spec.training.max_tokens)
    if not _has_laws(resolved) or not _in_reach(run):
        return
    suggested = [laws.batch_tokens(run, law) for law in _LAWS]
    path = "training.global_batch_size"
    far = _far(path, resolved.tokens_per_step, suggested, lambda value: f"{value:,.0f} tokens")
    if far is None:
        return
    length = resolved.spec.training.sequence_length
    low, high = (max(1.0, end / length) for end in _range(suggested))
    label = f"{resolved.tokens_per_step:,} tokens"
    yield far._replace(label=label, help=(f"set `{path}` to `auto`, or to a number from {low:,.0f} to {high:,.0f} sequences", *far.help))


@rule("LS413", "batch-beyond-critical", since="0.1", severity=Severity.WARNING)
def batch_beyond_critical(resolved: Resolved) -> Iterator[Finding]:
    """A batch so large that much of its data is wasted.

    ## What it checks
    With AdamW and its like, the tokens of a step are at most three times the critical batch of the run's tokens, 512 * 22.91 * (D /
    1M)^0.47 (Zhang et al. 2024). Models below 10 million parameters and runs below 100 million tokens are not checked, nor what LS389
    says already.

    ## Why it matters
    At the critical batch a run needs a fifth more tokens than with small batches to come as low, and the waste grows in proportion
    (McCandlish et al. 2018): at five times it, half of the tokens are wasted. It grows with the tokens of the run and hardly with the
    model. Others measured critical batches up to three times as large (Merrill et al. 2025, OLMo 1B and 7B), so only more is said.

    ## Example
    ```yaml
    architecture: {hidden_size: 2048, num_layers: 16, attention: {kind: mha, num_heads: 16}}
    training: {sequence_length: 2048, global_batch_size: 1024, max_tokens: 1B}
    ```

    Use instead:
    ```yaml
    architecture: {hidden_size: 2048, num_layers: 16, attention: {kind: mha, num_heads: 16}}
    training: {sequence_length: 2048, global_batch_size: 256, max_tokens: 1B}
    ```
    """
    run = laws.scale(resolved.spec, resolved.spec.training.max_tokens)
    if not _has_laws(resolved) or not _in_reach(run):
        return
    batch, law, effect = resolved.tokens_per_step, laws.critical_batch(run), loss_effect("critical_batch")
    path, most = "training.global_batch_size", effect["highest"] * law.value
    if batch <= most or batch > FACTOR * max(laws.batch_tokens(run, name).value for name in _LAWS):
        return
    wasted = batch / law.value / effect["noise"]
    message = f"`global_batch_size` is {batch / law.value:.1f} times the critical batch of {law.value:,.0f} tokens"
    sequences = max(1, int(most / resolved.spec.training.sequence_length))
    help = (
        f"set `{path}` to at most {sequences:,} sequences, or train on more tokens: the critical batch grows with them",
        f"by McCandlish et al. 2018 the run needs {wasted:.0%} more tokens than with a small batch to come as low",
        law.formula,
    )
    yield Finding(message, path, f"{batch:,} tokens", (fact(resolved, "training.max_tokens"),), help)


def _in_reach(run: laws.Scale) -> bool:
    return run.parameters >= laws.FITTED_PARAMETERS and run.tokens >= laws.FITTED_TOKENS


def _range(suggested: list[laws.Suggestion]) -> tuple[float, float]:
    """What is not far from the laws."""
    values = [law.value for law in suggested]
    return min(values) / FACTOR, max(values) * FACTOR


def _far(path: str, value: float, suggested: list[laws.Suggestion], shown: Callable[[float], str]) -> Finding | None:
    """The finding about a value that is far from all laws: how many times off it is, from which law, and what the others say."""
    low, high = _range(suggested)
    if low <= value <= high:
        return None
    ordered = sorted(suggested)
    nearest = ordered[-1] if value > high else ordered[0]
    off = f"{value / nearest.value:.0f} times as high as" if value > high else f"{nearest.value / value:.0f} times below"
    message = (
        f"`{path.rpartition('.')[2]}` is {off} what any published law says: {shown(ordered[0].value)} by {ordered[0].law} to "
        f"{shown(ordered[-1].value)} by {ordered[-1].law}"
    )
    return Finding(message, path, "", (), tuple(law.formula for law in suggested))
