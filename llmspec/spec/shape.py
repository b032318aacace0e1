"""The schema seen from outside: which sections, fields and kinds there are. For messages, documentation and suggestions only."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from llmspec.spec.schema import Spec
from llmspec.spec.schema.base import parse_count, parse_duration

# Bounds from here on only keep arithmetic from overflowing; to name them would be noise.
_UNBOUNDED = 1e12


@dataclass(frozen=True, slots=True)
class Shape:
    """What a field holds, with `| None` taken off.

    `sections` are the classes that a mapping may be, by kind (None where there is only one and it needs no kind). `item` is what
    a list holds, `entry` what a mapping of free names holds, `alternatives` the members of a union of unlike types, such as a count or
    a list of counts.
    """

    annotation: Any
    sections: "dict[str | None, type[BaseModel]] | None" = None
    item: "Shape | None" = None
    entry: "Shape | None" = None
    alternatives: "tuple[Shape, ...]" = ()

    @property
    def tagged(self) -> bool:
        """Whether the section says which kind it is."""
        return self.sections is not None and None not in self.sections


@cache
def annotations(section: type[BaseModel]) -> dict[str, Any]:
    """The annotations of a section's fields, as they are written."""
    hints = typing.get_type_hints(section, include_extras=True)
    return {name: hints[name] for name in section.model_fields}


def strip(annotation: Any) -> Any:
    """The type without its constraints."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def metadata(annotation: Any) -> list[Any]:
    """The constraints and validators of a type, those of `Field` unfolded."""
    found: list[Any] = []
    for entry in typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ():
        found.extend(entry.metadata if isinstance(entry, FieldInfo) else [entry])
    return found


def members(annotation: Any) -> list[Any]:
    """The members of a union but None; the type itself where it is no union."""
    plain = strip(annotation)
    if typing.get_origin(plain) in (Union, types.UnionType):
        return [member for inner in typing.get_args(plain) if inner is not type(None) for member in members(inner)]
    return [annotation]


def shape_of(annotation: Any) -> Shape:
    """Look at an annotation."""
    unlike = members(annotation)
    plain = [strip(member) for member in unlike]
    if all(isinstance(member, type) and issubclass(member, BaseModel) for member in plain):
        kinds: dict[str | None, type[BaseModel]] = {}
        for member in plain:
            field = member.model_fields.get("kind")
            tags = typing.get_args(field.annotation) if field is not None and field.is_required() else (None,)
            kinds.update(dict.fromkeys(tags, member))
        return Shape(annotation, sections=kinds)
    if len(unlike) > 1:
        return Shape(annotation, alternatives=tuple(shape_of(member) for member in unlike))
    if typing.get_origin(plain[0]) is tuple:
        return Shape(annotation, item=shape_of(typing.get_args(plain[0])[0]))
    if typing.get_origin(plain[0]) is dict:
        return Shape(annotation, entry=shape_of(typing.get_args(plain[0])[1]))
    return Shape(unlike[0])


def choices(annotation: Any) -> list[object]:
    """The fixed values that a type allows."""
    return [
        value for member in members(annotation) if typing.get_origin(strip(member)) is Literal for value in typing.get_args(strip(member))
    ]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the language. `path` has `[]` for list items; `kind` is the kind of the section it belongs to, where it has one."""

    path: str
    name: str
    section: type[BaseModel]
    kind: str | None
    annotation: Any
    info: FieldInfo

    @property
    def rule(self) -> str | None:
        """How the value is derived when it is left out; None where it is not derived."""
        extra = self.info.json_schema_extra
        rule = extra.get("derived") if isinstance(extra, dict) else None
        return rule if isinstance(rule, str) else None


@cache
def fields() -> tuple[Field, ...]:
    """Every field of the language, sections before their fields."""
    return tuple(_fields_of(Spec, "", None))


def _fields_of(section: type[BaseModel], prefix: str, kind: str | None) -> Iterator[Field]:
    for name, annotation in annotations(section).items():
        path = f"{prefix}{name}"
        yield Field(path, name, section, kind, annotation, section.model_fields[name])
        shape = shape_of(annotation)
        item = shape.item
        inner = item if item is not None else shape
        inner_path = f"{path}[]." if item is not None else f"{path}."
        for tag, inner_section in (inner.sections or {}).items():
            yield from _fields_of(inner_section, inner_path, tag)


def number(value: object) -> str:
    """A number as people write it: 10,000 rather than 10000, 1e+15 as 1,000,000,000,000,000."""
    if isinstance(value, float):
        return f"{int(value):,}" if value.is_integer() and abs(value) < 1e16 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _bounds(annotation: Any) -> str:
    low = high = ""
    for constraint in metadata(annotation):
        if isinstance(constraint, Ge):
            low = f"at least {number(constraint.ge)}"
        elif isinstance(constraint, Gt):
            low = f"above {number(constraint.gt)}"
        elif isinstance(constraint, Le) and float(str(constraint.le)) < _UNBOUNDED:
            high = f"at most {number(constraint.le)}"
        elif isinstance(constraint, Lt):
            high = f"below {number(constraint.lt)}"
        elif isinstance(constraint, MinLen) and constraint.min_length > 1:
            low = f"at least {number(constraint.min_length)} long"
        elif isinstance(constraint, MaxLen):
            high = f"at most {number(constraint.max_length)} long"
    return " and ".join(filter(None, (low, high)))


def bounds(annotation: Any) -> str:
    """The bounds of a number, as a phrase; empty where there are none. Of several alternatives, those of the first with any."""
    return next(filter(None, (_bounds(member) for member in [annotation, *members(annotation)])), "")


def type_name(annotation: Any) -> str:
    """A type in a few words, for people: `whole number`, `text`, `list of ...`, the choices, the kinds of a section."""
    shape = shape_of(annotation)
    if shape.sections is not None:
        return " | ".join(tag for tag in shape.sections if tag is not None) or "section"
    if shape.alternatives:
        return " | ".join(dict.fromkeys(type_name(member.annotation) for member in shape.alternatives))
    if shape.item is not None:
        inner = type_name(shape.item.annotation)
        return f"list of ({inner})" if " | " in inner else f"list of {inner}"
    if shape.entry is not None:
        return f"mapping of names to {type_name(shape.entry.annotation)}"
    plain = strip(shape.annotation)
    if typing.get_origin(plain) is Literal:
        return " | ".join(_literal(value) for value in typing.get_args(plain))
    validators = [entry.func for entry in metadata(shape.annotation) if isinstance(entry, BeforeValidator)]
    if parse_duration in validators:
        return "duration"
    if parse_count in validators:
        return "count"
    return {int: "whole number", float: "number", bool: "true | false", str: "text"}[plain]


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_EXPECTED = {
    "duration": ("a duration such as 36h, 1h30m or 90s",),
    "count": ("a count",),
    "whole number": ("a whole number",),
    "number": ("a number",),
    "true | false": ("`true`", "`false`"),
    "text": ("text",),
}
# Said in full where it is the only possibility.
_EXPECTED_LONG = {"a count": "a whole number such as 4096, 300k or 2B"}


def expected(shape: Shape) -> str:
    """What a value should be, as the end of a sentence that begins with `should be`."""
    if shape.alternatives:
        return _any_of([phrase for member in shape.alternatives for phrase in _phrases(member)])
    phrases = _phrases(shape)
    return _EXPECTED_LONG.get(phrases[0], phrases[0]) if len(phrases) == 1 else _any_of(phrases)


def _phrases(shape: Shape) -> list[str]:
    """What a value may be, each possibility for itself."""
    if shape.sections is not None:
        return ["a mapping of fields"]
    if shape.item is not None:
        return ["a list of mappings" if shape.item.sections is not None else f"a list, each item {expected(shape.item)}"]
    if shape.entry is not None:
        return ["a mapping of names to values"]
    if shape.alternatives:
        return [phrase for member in shape.alternatives for phrase in _phrases(member)]
    values = choices(shape.annotation)
    return [f"`{_literal(value)}`" for value in values] if values else list(_EXPECTED[type_name(shape.annotation)])


def _any_of(phrases: list[str]) -> str:
    unique = list(dict.fromkeys(phrases))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} or {unique[-1]}"
