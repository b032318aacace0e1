"""Near names: what somebody may have meant by a name that does not exist."""

from collections.abc import Iterable, Sequence


def edit_distance(first: str, second: str) -> int:
    """Count the insertions, deletions, replacements and swaps of neighbours that turn one text into the other."""
    before_last: list[int] = []
    last = list(range(len(second) + 1))
    for row, character in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second, start=1):
            cost = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + (character != other))
            swapped = row > 1 and column > 1 and character == second[column - 2] and first[row - 2] == other
            if swapped:
                cost = min(cost, before_last[column - 2] + 1)
            current.append(cost)
        before_last, last = last, current
    return last[-1]


def fold(name: str) -> str:
    """Forget what people vary without meaning to: case and separators."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "").replace(".", "")


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates near enough to be what was meant, nearest first.

    Near is an edit distance of a third of the longer name at most, or a name that contains the other (`head` in `num_heads`).
    """
    # A name of thousands of characters is no slip of the finger, and the distance is quadratic in its length.
    if not name or len(name) > 100:
        return []
    scored: list[tuple[float, str]] = []
    folded = fold(name)
    for candidate in dict.fromkeys(candidates):
        other = fold(candidate)
        distance: float = edit_distance(folded, other)
        if distance > max(1, max(len(folded), len(other)) // 3):
            if len(folded) < 4 or (folded not in other and other not in folded):
                continue
            distance = 10.0 + distance
        scored.append((distance, candidate))
    scored.sort()
    # Names within a slip of what was written leave no doubt; those that merely resemble it would only distract.
    if scored and scored[0][0] <= 1:
        scored = [entry for entry in scored if entry[0] <= 1]
    return [candidate for _, candidate in scored[:limit]]


def choice(names: Sequence[str]) -> str:
    """Names as a phrase: `` `a` ``, `` `a` or `b` ``, `` `a`, `b` or `c` ``."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
