"""What plans are made of: configuration values and emitted files. Values only; whatever is decided is decided before."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One line of the emitted config.py: `name: type = value  # comment`. `value` is any literal (None, bool, number, str, tuple)."""

    name: str
    type: str
    value: object
    comment: str


@dataclass(frozen=True, slots=True)
class ConfigClass:
    """One frozen dataclass of the emitted config.py."""

    name: str
    doc: str
    fields: tuple[ConfigField, ...]


@dataclass(frozen=True, slots=True)
class EmittedFile:
    """One file of the project: rendered from `template`, or, where that is None, exactly `text`."""

    path: str
    template: str | None
    text: str = ""
    executable: bool = False
