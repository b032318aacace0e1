"""Names that a spec may hold by habit or too early: those of other tools, and those of what is not built yet."""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from llmspec.catalog.table import table

_INDEX = re.compile(r"\[\d+\]")


class Alias(NamedTuple):
    """Another tool's name for something."""

    name: str
    path: str
    """Dotted path of our field. Fields of a list's items have no index: `data.sources.path`."""
    note: str | None
    """What differs, such as the unit."""


class Future(NamedTuple):
    """Something that the language has a place for and that is not built yet."""

    path: str
    """Dotted path of the field, without indices."""
    value: str | bool | None
    """The value of that field that is not built yet; `>1` for all whole numbers above one; None for the field itself."""
    what: str
    """What it is, as a phrase: `training on encoders such as BERT`."""

    def covers(self, value: object) -> bool:
        """Whether a field's value is the one that is not built yet."""
        if self.value is None:
            return True
        if self.value == ">1":
            return isinstance(value, int) and not isinstance(value, bool) and value > 1
        return value == self.value and isinstance(value, type(self.value))


@cache
def aliases() -> Mapping[str, Alias]:
    """All aliases by name. A name with dots is meant at that place only."""
    found = {}
    for name, entry in table("aliases.yaml").all().items():
        path, note = (entry, None) if isinstance(entry, str) else (entry["path"], entry["note"])
        found[name] = Alias(name, path, note)
    return found


def find_alias(path: str) -> Alias | None:
    """What another tool's name means in our language.

    Args:
        path: Dotted path as it was written, such as `optimizer.lr` or `data.sources[0].file`. The whole path is looked up first, then
            its end, down to the last name.
    """
    known = aliases()
    tail = _INDEX.sub("", path)
    while tail not in known and "." in tail:
        tail = tail.partition(".")[2]
    return known.get(tail)


@cache
def futures() -> tuple[Future, ...]:
    """Everything that is not built yet."""
    return tuple(Future(path, row.get("value"), row["what"]) for path, rows in table("future.yaml").all().items() for row in rows)


def find_future(path: str, value: object = None) -> Future | None:
    """Whether a field, or a field's value, is one that is not built yet.

    Args:
        path: Dotted path as it was written; indices do not matter.
        value: The value that was given.
    """
    plain = _INDEX.sub("", path)
    return next((future for future in futures() if future.path == plain and future.covers(value)), None)
