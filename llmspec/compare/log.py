"""The log of a run: run/metrics.jsonl, read whatever state the run left it in."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from llmspec.compare.problems import bad_line, no_metrics
from llmspec.diagnostics import Bag

# The first lines of a process measure compilation and warm-up more than training.
_LONGEST_LOG = 10**9


class Log(NamedTuple):
    """The lines of a run, by step. Values are what the run wrote, or NaN where it wrote none."""

    lines: tuple[dict[str, Any], ...]

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return int(self.lines[-1]["step"])

    def series(self, name: str) -> list[tuple[float, float]]:
        """A value over the steps, where there is one."""
        return [(line["step"], line[name]) for line in self.lines if _is_number(line.get(name))]

    def last(self, name: str) -> float | None:
        """The last finite value."""
        values = self.series(name)
        return values[-1][1] if values else None

    def most(self, name: str) -> float | None:
        """The largest finite value."""
        return max((value for _, value in self.series(name)), default=None)

    def usual(self, name: str) -> float | None:
        """The median, without the first line: the first step compiles and warms up."""
        values = [value for _, value in self.series(name)]
        return median(values[1:] or values) if values else None

    def end(self, name: str) -> float | None:
        """The mean over the last twentieth of the lines, since one step's value is noise."""
        values = [value for _, value in self.series(name)]
        return fmean(values[-max(1, len(values) // 20) :]) if values else None

    def text(self, name: str) -> str | None:
        """The last value that is a text."""
        return next((line[name] for line in reversed(self.lines) if isinstance(line.get(name), str)), None)


def read_log(path: Path, bag: Bag) -> Log | None:
    """Read a log. A line that was cut off or is no line of a log is reported and left out; None where nothing is left.

    Args:
        path: The file.
        bag: Takes the diagnostics.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        bag.add(no_metrics(path, "is not there"))
        return None
    except OSError as error:
        bag.add(no_metrics(path, f"cannot be read: {(error.strerror or str(error)).lower()}"))
        return None
    bag.sources[str(path)] = text
    lines: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        reason = _fault(line)
        if reason is None:
            record = json.loads(line)
            lines[record["step"]] = record  # a resumed run writes lost steps again
        else:
            bag.add(bad_line(path, number, line, reason))
    if not lines:
        bag.add(no_metrics(path, "has no line of a run yet"))
        return None
    return Log(tuple(lines[step] for step in sorted(lines)))


def _fault(line: str) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return "was cut off or is not JSON"
    if not isinstance(record, dict):
        return "is not an object"
    step = record.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 < step < _LONGEST_LOG:
        return "has no `step`"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def count_lost(log: Log, names: Iterable[str]) -> int:
    """How many lines have a value that is no finite number where one should be."""
    return sum(any(name in line and line[name] is not None and not _is_number(line[name]) for name in names) for line in log.lines)
