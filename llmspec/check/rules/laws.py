"""Rules on what published laws say of the learning rate and the batch."""

from collections.abc import Iterator

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
    DeepSeek LLM's law and the OLMo ladder suggest for the run. Models below 10 million parameters and runs below 100 million tokens,
    which no law was fitted on, are not checked.

    ## Why it matters
    A rate that is far too high makes the loss diverge, one that is far too low wastes most of the run. Within a factor of two around the
    best rate little is lost.

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
    run = laws.scale(resolved.spec, resolved.spec.training.max_tokens)
    if not _has_laws(resolved) or not _in_reach(run):
        return
    suggested = [laws.learning_rate(run, law) for law in _LAWS]
    rate = resolved.spec.optimizer.learning_rate
    yield from _far("learning_rate", "optimizer.learning_rate", rate, suggested, "")


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
    yield from _far("global_batch_size", "training.global_batch_size", resolved.tokens_per_step, suggested, " tokens")


def _in_reach(run: laws.Scale) -> bool:
    return run.parameters >= laws.FITTED_PARAMETERS and run.tokens >= laws.FITTED_TOKENS


def _far(name: str, path: str, value: float, suggested: list[laws.Suggestion], unit: str) -> Iterator[Finding]:
    lowest, highest = min(law.value for law in suggested), max(law.value for law in suggested)
    if lowest / FACTOR <= value <= highest * FACTOR:
        return
    high = value > highest
    far = f"{value / highest:.0f} times as high as" if high else f"{lowest / value:.0f} times below"
    label = f"{value:,}{unit}" if unit else ""
    yield Finding(f"`{name}` is {far} what any published law says", path, label, (), tuple(law.formula for law in suggested))
