"""Rules on the shape of the network."""

from collections.abc import Iterator

from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import OriginKind, Resolved
from llmspec.spec.schema.architecture import LearnedPosition, Llama3Scaling, NtkScaling, Rope, SinusoidalPosition, YarnScaling


def divisors_near(number: int, wanted: int, count: int = 2) -> list[int]:
    """The divisors of a number that lie nearest to a wanted one, in ascending order."""
    divisors = [size for low in range(1, int(number**0.5) + 1) if number % low == 0 for size in {low, number // low}]
    return sorted(sorted(divisors, key=lambda size: (abs(size - wanted), size))[:count])


def either(numbers: list[int]) -> str:
    """Numbers as a phrase: `8 or 16`."""
    return " or ".join(str(number) for number in numbers)


@rule("LS301", "heads-not-dividing-hidden-size", since="0.1")
def heads_not_dividing_hidden_size(resolved: Resolved) -> Iterator[Finding]:
    """Heads whose width would not be a whole number.

    ## What it checks
    Without a `head_dim`, `num_heads` divides `hidden_size`: each head gets an equal share.

    ## Why it matters
    A head of 85.3 elements cannot be made. With `head_dim` given, heads may have any width.

    ## Example
    ```yaml
    architecture:
      hidden_size: 256
      attention: {kind: mha, num_heads: 3}
    ```

    Use instead:
    ```yaml
    architecture:
      hidden_size: 256
      attention: {kind: mha, num_heads: 4}
    ```
    """
    architecture = resolved.spec.architecture
    hidden, heads = architecture.hidden_size, architecture.attention.num_heads
    if resolved.origin("architecture.attention.head_dim").kind is OriginKind.DERIVED and hidden % heads:
        yield Finding(
            "`num_heads` does not divide `hidden_size`",
            "architecture.attention.num_heads",
            f"{hidden} % {heads} = {hidden % heads}",
            (fact(resolved, "architecture.hidden_size"),),
            (f"use {either(divisors_near(hidden, heads))} heads, or say the width of a head with `head_dim`",),
        )


@rule("LS303", "kv-heads-not-dividing-heads", since="0.1")
def kv_heads_not_dividing_heads(resolved: Resolved) -> Iterator[Finding]:
    """Groups of query heads of unequal size.

    ## What it checks
    `num_kv_heads` divides `num_heads`.

    ## Why it matters
    Each key and value head serves a group of query heads, and all groups have the same size.

    ## Example
    ```yaml
    architecture:
      attention: {kind: gqa, num_heads: 8, num_kv_heads: 3}
    ```

    Use instead:
    ```yaml
    architecture:
      attention: {kind: gqa, num_heads: 8, num_kv_heads: 2}
    ```
    """
    attention = resolved.spec.architecture.attention
    heads, kv_heads = attention.num_heads, attention.key_value_heads
    if heads % kv_heads:
        yield Finding(
            "`num_kv_heads` does not divide `num_heads`",
            "architecture.attention.num_kv_heads",
            f"{heads} % {kv_heads} = {heads % kv_heads}",
            (fact(resolved, "architecture.attention.num_heads"),),
            (f"use {either(divisors_near(heads, kv_heads))} key and value heads",),
        )


@rule("LS304", "odd-head-dim", since="0.1")
def odd_head_dim(resolved: Resolved) -> Iterator[Finding]:
    """Heads that rotary positions cannot turn.

    ## What it checks
    With `rope`, `head_dim` is even; with its `ntk` scaling it is more than 2.

    ## Why it matters
    Rotary position embedding turns the elements of a head in pairs. The base of `ntk` is raised to head_dim / (head_dim - 2).

    ## Example
    ```yaml
    architecture:
      attention: {kind: mha, num_heads: 4, head_dim: 33}
      position: {kind: rope}
    ```

    Use instead:
    ```yaml
    architecture:
      attention: {kind: mha, num_heads: 4, head_dim: 32}
      position: {kind: rope}
    ```
    """
    architecture = resolved.spec.architecture
    width = architecture.attention.head_dim
    facts = (fact(resolved, "architecture.position.kind"),)
    given = resolved.origin("architecture.attention.head_dim").kind is not OriginKind.DERIVED
    # A width that is no whole number is another rule's problem.
    if not isinstance(architecture.position, Rope) or not (given or architecture.hidden_size % architecture.attention.num_heads == 0):
        return
    if width % 2:
        path = "architecture.attention.head_dim" if given else "architecture.attention.num_heads"
        help_line = f"use {max(2, width - 1)} or {width + 1}" if given else "choose `num_heads` so that `hidden_size / num_heads` is even"
        yield Finding("`rope` needs an even `head_dim`", path, f"head_dim is {width}", facts, (help_line, "or another kind of `position`"))
    elif width == 2 and isinstance(architecture.position.scaling, NtkScaling):
        yield Finding("`ntk` scaling needs a `head_dim` above 2", "architecture.position.scaling", "", facts, ("use `linear` scaling",))


@rule("LS307", "sequence-beyond-positions", since="0.1")
def sequence_beyond_positions(resolved: Resolved) -> Iterator[Finding]:
    """Sequences longer than the position table.

    ## What it checks
    With `learned` or `sinusoidal` positions, `training.sequence_length` is at most `num_positions`.

    ## Why it matters
    The position table has no row for the tokens beyond it.

    ## Example
    ```yaml
    architecture:
      position: {kind: learned, num_positions: 1024}
    training:
      sequence_length: 2048
    ```

    Use instead:
    ```yaml
    architecture:
      position: {kind: learned, num_positions: 2048}
    training:
      sequence_length: 2048
    ```
    """
    position, length = resolved.spec.architecture.position, resolved.spec.training.sequence_length
    if isinstance(position, LearnedPosition | SinusoidalPosition) and length > position.num_positions:
        yield Finding(
            "`sequence_length` goes beyond the position table",
            "training.sequence_length",
            f"{length} > {position.num_positions}",
            (fact(resolved, "architecture.position.num_positions"),),
            (f"use at most {position.num_positions}, or a larger `architecture.position.num_positions`",),
        )


@rule("LS308", "window-beyond-sequence", since="0.1", severity=Severity.WARNING)
def window_beyond_sequence(resolved: Resolved) -> Iterator[Finding]:
    """A window that hides nothing in training.

    ## What it checks
    A sliding window is shorter than `training.sequence_length`.

    ## Why it matters
    A window as long as the sequence hides nothing during training: the model never learns to do without what lies before it.

    ## Example
    ```yaml
    architecture:
      attention: {kind: mha, num_heads: 8, window: 4096}
    training:
      sequence_length: 1024
    ```

    Use instead:
    ```yaml
    architecture:
      attention: {kind: mha, num_heads: 8, window: 256}
    training:
      sequence_length: 1024
    ```
    """
    window, length = resolved.spec.architecture.attention.window, resolved.spec.training.sequence_length
    entries = {"": window} if isinstance(window, int) else {f"[{index}]": entry for index, entry in enumerate(window or ())}
    for suffix, entry in entries.items():
        if isinstance(entry, int) and entry >= length:
            yield Finding(
                "the sliding window is not shorter than the sequence",
                f"architecture.attention.window{suffix}",
                f"{entry} >= {length}",
                (fact(resolved, "training.sequence_length"),),
                ("use a shorter window, or `full`" if suffix else "use a shorter window, or leave `window` out",),
            )


@rule("LS309", "window-pattern-beyond-layers", since="0.1", severity=Severity.WARNING)
def window_pattern_beyond_layers(resolved: Resolved) -> Iterator[Finding]:
    """Windows for layers that are not there.

    ## What it checks
    A pattern of windows has no more entries than the network has layers.

    ## Why it matters
    The entries beyond the last layer are never used, so the network is most likely not the one that was meant.

    ## Example
    ```yaml
    architecture:
      num_layers: 2
      attention: {kind: mha, num_heads: 8, window: [256, 256, full]}
    ```

    Use instead:
    ```yaml
    architecture:
      num_layers: 6
      attention: {kind: mha, num_heads: 8, window: [256, 256, full]}
    ```
    """
    window, layers = resolved.spec.architecture.attention.window, resolved.spec.architecture.num_layers
    if isinstance(window, tuple) and len(window) > layers:
        yield Finding(
            "the pattern of windows has more entries than the network has layers",
            "architecture.attention.window",
            f"{len(window)} > {layers}",
            (fact(resolved, "architecture.num_layers"),),
            (f"keep the first {layers}",),
        )


@rule("LS311", "rope-scaling-out-of-order", since="0.1")
def rope_scaling_out_of_order(resolved: Resolved) -> Iterator[Finding]:
    """Bounds of a rope scaling in the wrong order.

    ## What it checks
    The two bounds of frequency-wise scaling are in order: `low_frequency_factor` below `high_frequency_factor` (`llama3`),
    `beta_slow` below `beta_fast` (`yarn`).

    ## Why it matters
    Between the bounds frequencies are blended. Swapped bounds stretch what should be kept, and equal ones divide by zero.

    ## Example
    ```yaml
    architecture:
      position:
        kind: rope
        scaling: {kind: llama3, factor: 8, original_sequence_length: 8192, low_frequency_factor: 4, high_frequency_factor: 1}
    ```

    Use instead:
    ```yaml
    architecture:
      position:
        kind: rope
        scaling: {kind: llama3, factor: 8, original_sequence_length: 8192, low_frequency_factor: 1, high_frequency_factor: 4}
    ```
    """
    position = resolved.spec.architecture.position
    scaling = position.scaling if isinstance(position, Rope) else None
    if isinstance(scaling, Llama3Scaling):
        low, high, names = scaling.low_frequency_factor, scaling.high_frequency_factor, ("low_frequency_factor", "high_frequency_factor")
    elif isinstance(scaling, YarnScaling):
        low, high, names = scaling.beta_slow, scaling.beta_fast, ("beta_slow", "beta_fast")
    else:
        return
    if low >= high:
        yield Finding(
            f"`{names[0]}` should be below `{names[1]}`",
            f"architecture.position.scaling.{names[0]}",
            f"{low:g} >= {high:g}",
            (fact(resolved, f"architecture.position.scaling.{names[1]}"),),
        )


@rule("LS312", "sequence-beyond-scaling", since="0.1", severity=Severity.WARNING)
def sequence_beyond_scaling(resolved: Resolved) -> Iterator[Finding]:
    """Sequences longer than the rope scaling reaches.

    ## What it checks
    `training.sequence_length` is at most `original_sequence_length * factor` of the rope scaling.

    ## Why it matters
    The scaling stretches the frequencies for that many tokens; beyond them positions are as unknown to it as without scaling.

    ## Example
    ```yaml
    architecture:
      position: {kind: rope, scaling: {kind: yarn, factor: 2, original_sequence_length: 4096}}
    training:
      sequence_length: 16384
    ```

    Use instead:
    ```yaml
    architecture:
      position: {kind: rope, scaling: {kind: yarn, factor: 4, original_sequence_length: 4096}}
    training:
      sequence_length: 16384
    ```
    """
    position, length = resolved.spec.architecture.position, resolved.spec.training.sequence_length
    scaling = position.scaling if isinstance(position, Rope) else None
    if isinstance(scaling, Llama3Scaling | YarnScaling) and length > scaling.original_sequence_length * scaling.factor:
        reach = scaling.original_sequence_length * scaling.factor
        needed = -(-length // scaling.original_sequence_length)
        yield Finding(
            "`sequence_length` goes beyond what the rope scaling stretches to",
            "training.sequence_length",
            f"{length} > {reach:g}",
            (
                fact(resolved, "architecture.position.scaling.original_sequence_length"),
                fact(resolved, "architecture.position.scaling.factor"),
            ),
            (f"a `factor` of {needed} reaches that far",),
        )
