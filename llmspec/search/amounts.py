"""How large a model and how many tokens: what a budget buys, and what a wanted loss takes."""

from collections.abc import Iterator
from math import exp, log

from llmspec.estimate.loss import LossAssumptions, expect_loss
from llmspec.estimate.parameters import count_parameters
from llmspec.ladder import SMALLEST, shape_at
from llmspec.network import describe
from llmspec.search.space import Base, Changes
from llmspec.variants import changed

# Widths to look at, as shares of the spec's own.
WIDTHS = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0)
LEAST_TOKENS, MOST_TOKENS = 1e6, 1e15
_HALVINGS = 30


def sizes(base: Base) -> Iterator[tuple[Changes, Base]]:
    """The spec's model at other widths with the same aspect, the narrowest first, and the changes that make each; its own has none."""
    own = base.resolved.spec.architecture.hidden_size
    seen: set[int] = set()
    for share in WIDTHS:
        if share == 1.0:
            seen.add(own)
            yield (), base
            continue
        width, fields = shape_at(base.composed, base.resolved, round(own * share))
        changes = tuple((name, value) for name, _, value in (field.partition("=") for field in fields))
        resolved = changed(base.composed, changes)
        if width < SMALLEST or width in seen or resolved is None:
            continue
        seen.add(width)
        yield changes, Base(base.composed, resolved, describe(resolved))


def with_tokens(base: Base, tokens: float) -> Changes:
    """The changes that make a run of so many tokens."""
    written = base.composed.node("training.max_steps")
    steps: Changes = () if written is None or written.value is None else (("training.max_steps", "null"),)
    return (*steps, ("training.max_tokens", str(int(tokens))))


def loss_at(base: Base, changes: Changes, tokens: float, assumptions: LossAssumptions) -> float | None:
    """The expected loss after so many tokens; None where that is no spec.

    Args:
        base: The model, of its own size.
        changes: What makes that size of the spec that was written.
        tokens: Tokens of the run.
        assumptions: What the loss rests on beside the spec.
    """
    resolved = changed(base.composed, (*changes, *with_tokens(base, tokens)))
    if resolved is None:
        return None
    return expect_loss(resolved, count_parameters(base.network), assumptions).expected.value


def tokens_for_loss(base: Base, changes: Changes, loss: float, assumptions: LossAssumptions) -> float | None:
    """The tokens after which a loss is expected; None where no number of them reaches it. Arguments as those of `loss_at`."""
    most = loss_at(base, changes, MOST_TOKENS, assumptions)
    if most is None or most > loss:
        return None
    low, high = log(LEAST_TOKENS), log(MOST_TOKENS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = loss_at(base, changes, exp(middle), assumptions)
        if reached is None or reached > loss:
            low = middle
        else:
            high = middle
    return exp(high)


def rounded_down(tokens: float) -> int:
    """Three digits, for people."""
    whole = int(tokens)
    unit = int(10 ** max(0, len(str(whole)) - 3))
    return max(1, whole // unit * unit)


def rounded_up(tokens: float) -> int:
    """Three digits, for people."""
    whole = int(tokens)
    unit = int(10 ** max(0, len(str(whole)) - 3))
    return -(-whole // unit) * unit
