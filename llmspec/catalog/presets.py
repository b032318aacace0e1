"""Published models as spec fragments. The name of a preset is its file's name."""

import re
from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "presets"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIZE_WORDS = {"small": 1, "medium": 2, "large": 3, "xl": 4}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([mb])?")


@cache
def preset_names() -> tuple[str, ...]:
    """Names of all presets, small models of a family before large ones."""
    return tuple(sorted((path.stem for path in _DIRECTORY.glob("*.yaml")), key=_order))


def preset_path(name: str) -> Path | None:
    """The file of a preset; None where there is none."""
    path = _DIRECTORY / f"{name}.yaml"
    return path if _NAME.fullmatch(name) and path.is_file() else None


def preset_title(name: str) -> str:
    """The first line of a preset's file: which model it is, by whom."""
    path = preset_path(name)
    if path is None:
        return ""
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def _order(name: str) -> list[tuple[int, float, str]]:
    """Sort words as words and sizes as sizes (360m before 1.7b, medium before large), and a family's first generation first."""
    parts: list[tuple[int, float, str]] = []
    for word in name.split("-"):
        number = _NUMBER.fullmatch(word)
        if number is None:
            parts.append((2, _SIZE_WORDS.get(word, 0), word))
        elif number[2] is None:
            parts.append((1, float(number[1]), ""))
        else:
            parts.append((0, float(number[1]) * (1000 if number[2] == "b" else 1), ""))
    return parts
