"""What plans are made of: configuration values and emitted files. Values only; whatever is decided is decided before."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigInstance:
    """An instance of an emitted config class. Its literal is the call that makes it."""

    class_name: str
    arguments: tuple[tuple[str, object], ...]

    def __repr__(self) -> str:
        return f"{self.class_name}({', '.join(f'{name}={value!r}' for name, value in self.arguments)})"


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One line of the emitted config.py: `name: type = value  # comment`.

    `value` is any literal: None, bool, number, str, ConfigInstance or a tuple of these. A `required` field has no default: whoever
    makes an instance of its class gives the value.
    """

    name: str
    type: str
    value: object
    comment: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class ConfigClass:
    """One frozen dataclass of the emitted config.py."""

    name: str
    doc: str
    fields: tuple[ConfigField, ...]

    @property
    def complete(self) -> bool:
        """Whether an instance can be made without giving values."""
        return not any(field.required for field in self.fields)


@dataclass(frozen=True, slots=True)
class EmittedFile:
    """One file of the project: rendered from `template`, or, where that is None, exactly `text`."""

    path: str
    template: str | None
    text: str = ""
    executable: bool = False
