"""Reading of catalog files: a table is a YAML mapping with one entry a key at column 0."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_DIRECTORY = Path(__file__).parent
_KEY = re.compile(r"^(\w[\w.-]*):", re.MULTILINE)
_NEXT_ENTRY = re.compile(r"^(?=\w)", re.MULTILINE)


class Table:
    """One catalog file.

    A whole table takes some twenty milliseconds to parse, most uses want one entry: `entry` cuts the entry's text out first.
    """

    def __init__(self, text: str) -> None:
        """Make a table of a file's text."""
        self.text = text
        self.names = tuple(_KEY.findall(text))
        self._known = frozenset(self.names)

    def entry(self, name: str) -> Any:
        """The value under a name; None where there is no such name."""
        if name not in self._known:
            return None
        start = re.compile(rf"^{re.escape(name)}:", re.MULTILINE).search(self.text)
        assert start is not None
        end = _NEXT_ENTRY.search(self.text, start.end())
        return _parse(self.text[start.start() : end.start() if end else len(self.text)])[name]

    def all(self) -> dict[str, Any]:
        """The whole table."""
        entries: dict[str, Any] = _parse(self.text)
        return entries


@cache
def table(file: str) -> Table:
    """The table in a file of this directory."""
    return Table((_DIRECTORY / file).read_text(encoding="utf-8"))


def _parse(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # a safe loader, in C where PyYAML has it
