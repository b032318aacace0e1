"""Three-way merge of lines: what changed in a file by hand and what changed in its render, joined.

The method is diff3's. Lines of the base that neither side touched divide the file into stretches; within a stretch, the side that
changed wins, and where both changed differently the stretch becomes a conflict between markers.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

YOURS = "<<<<<<< yours\n"
DIVIDER = "=======\n"
NEW = ">>>>>>> new render\n"


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged text and how many conflicts stand in it."""

    text: str
    num_conflicts: int


def split_lines(text: str) -> list[str]:
    r"""The lines with their ends. Only `\n` ends a line, as for every tool that later reads the file."""
    return list(io.StringIO(text, newline="\n"))


def merge(base: str, yours: str, new: str) -> Merge:
    """Join the changes from `base` to `yours` with those from `base` to `new`."""
    base_lines, your_lines, new_lines = split_lines(base), split_lines(yours), split_lines(new)
    merged: list[str] = []
    num_conflicts = 0
    for stretch in _stretches(base_lines, your_lines, new_lines):
        original, mine, theirs = base_lines[stretch.base], your_lines[stretch.yours], new_lines[stretch.new]
        if mine in (original, theirs):
            merged += theirs
        elif theirs == original:
            merged += mine
        else:
            merged += _conflict(mine, theirs)
            num_conflicts += 1
    return Merge("".join(merged), num_conflicts)


def first_marker(text: str, base: str = "") -> int | None:
    """The line of the first conflict marker that is not in `base`, counted from 1; None where there is none."""
    ours = set(split_lines(base))
    for number, line in enumerate(split_lines(text), start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")) and line not in ours:
            return number
    return None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The same stretch of the three texts."""

    base: slice
    yours: slice
    new: slice


def _stretches(base: list[str], yours: list[str], new: list[str]) -> Iterator[_Stretch]:
    """Cut the three texts into stretches that lie between lines common to all, and stretches of those common lines."""
    at_base = at_yours = at_new = 0
    for base_start, yours_start, new_start, length in _common(base, yours, new):
        if (at_base, at_yours, at_new) != (base_start, yours_start, new_start):
            yield _Stretch(slice(at_base, base_start), slice(at_yours, yours_start), slice(at_new, new_start))
        at_base, at_yours, at_new = base_start + length, yours_start + length, new_start + length
        yield _Stretch(slice(base_start, at_base), slice(yours_start, at_yours), slice(new_start, at_new))
    yield _Stretch(slice(at_base, None), slice(at_yours, None), slice(at_new, None))


def _common(base: list[str], yours: list[str], new: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of lines that all three texts hold: where each starts in base, yours and new, and how many lines it has."""
    in_yours = SequenceMatcher(None, base, yours, autojunk=False).get_matching_blocks()
    in_new = SequenceMatcher(None, base, new, autojunk=False).get_matching_blocks()
    i = j = 0
    while i < len(in_yours) and j < len(in_new):
        mine, theirs = in_yours[i], in_new[j]
        start = max(mine.a, theirs.a)
        end = min(mine.a + mine.size, theirs.a + theirs.size)
        if start < end:
            yield start, mine.b + start - mine.a, theirs.b + start - theirs.a, end - start
        if mine.a + mine.size < theirs.a + theirs.size:
            i += 1
        else:
            j += 1


def _conflict(yours: list[str], new: list[str]) -> list[str]:
    """Both versions between markers; lines that they start or end with in common stay outside."""
    shorter = min(len(yours), len(new))
    head = next((i for i in range(shorter) if yours[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if yours[-1 - i] != new[-1 - i]), shorter - head)
    mine, theirs = yours[head : len(yours) - tail], new[head : len(new) - tail]
    return [*yours[:head], YOURS, *_ended(mine), DIVIDER, *_ended(theirs), NEW, *yours[len(yours) - tail :]]


def _ended(lines: list[str]) -> list[str]:
    """The lines, the last one with its end, so that the marker after it starts a line."""
    return lines if not lines or lines[-1].endswith("\n") else [*lines[:-1], lines[-1] + "\n"]
