"""The fields of the language with their documentation, read from the schema's own source."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmspec.spec.schema import Spec
from llmspec.spec.schema.base import parse_duration


@dataclass(frozen=True, slots=True)
class Field:
    """One field as a spec writes it. `kinds` are the variants that have it, where the section has several."""

    path: str
    type: str
    doc: str
    section_doc: str
    kinds: tuple[str, ...]


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field of a section, those of its base classes included."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                docs[statement.target.id] = inspect.cleandoc(str(after.value.value))
    return docs


def sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that an annotation speaks of, through unions, lists and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in sections(argument)]


def kind_of(model: type[BaseModel]) -> str | None:
    """The value that a section's `kind` must have; None where it has no kind or a choice of them."""
    info = model.model_fields.get("kind")
    values = () if info is None else get_args(info.annotation)
    return str(values[0]) if len(values) == 1 else None


@cache
def all_fields() -> tuple[Field, ...]:
    """Every field of the language, in the order of the schema; fields of a list's items are written `data.sources.path`."""
    found: dict[tuple[str, str], Field] = {}
    for path, model, name, info in _walk("", [Spec]):
        doc, kind = field_docs(model)[name], kind_of(model)
        before = found.get((path, doc))
        kinds = (*(before.kinds if before else ()), *((kind,) if kind else ()))
        found[path, doc] = Field(path, type_text(info), doc, inspect.cleandoc(model.__doc__ or ""), kinds)
    return tuple(found.values())


def _walk(prefix: str, models: list[type[BaseModel]]) -> Iterator[tuple[str, type[BaseModel], str, FieldInfo]]:
    inner: dict[str, list[type[BaseModel]]] = {}
    for model in models:
        for name, info in model.model_fields.items():
            path = f"{prefix}{name}"
            yield path, model, name, info
            for section in sections(info.annotation):
                if section not in inner.setdefault(path, []):
                    inner[path].append(section)
    for path, below in inner.items():
        yield from _walk(f"{path}.", below)


def type_text(info: FieldInfo) -> str:
    """What may be written for a field, in a few words."""
    words = list(dict.fromkeys(_type_words(info.annotation)))
    if any(getattr(m, "func", None) is parse_duration for m in info.metadata) or "parse_duration" in str(info.annotation):
        words[words.index("number")] = "seconds or a duration such as `36h` or `1h30m`"
    kinds = [kind for section in sections(info.annotation) if (kind := kind_of(section))]
    if kinds:
        words.insert(0, f"{_list_of(info)}section of kind " + " or ".join(f"`{kind}`" for kind in kinds))
    text = " or ".join(words)
    lower = [f"at least {m.ge:,}" for m in info.metadata if hasattr(m, "ge")] + [
        f"above {m.gt:,}" for m in info.metadata if hasattr(m, "gt")
    ]
    upper = [f"at most {m.le:,}" for m in info.metadata if hasattr(m, "le")] + [
        f"below {m.lt:,}" for m in info.metadata if hasattr(m, "lt")
    ]
    # Where an alias such as Count is bounded once more, the last bound is the field's own.
    return ", ".join([text, *lower[-1:], *upper[-1:]])


def _list_of(info: FieldInfo) -> str:
    return "a list, each a " if "tuple" in str(info.annotation) else "a "


def _type_words(annotation: Any) -> Iterator[str]:
    simple = {int: "whole number", float: "number", str: "text", bool: "true or false", NoneType: "null"}
    if annotation in simple:
        yield simple[annotation]
    elif get_origin(annotation) is Literal:
        yield from (f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in get_args(annotation))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not kind_of(annotation):
            yield "a section"
    elif get_origin(annotation) is tuple:
        inner = list(dict.fromkeys(_type_words(get_args(annotation)[0])))
        if inner:
            yield "a list of " + " or ".join(inner)
    elif get_origin(annotation) is dict:
        yield "a mapping of names to " + " or ".join(_type_words(get_args(annotation)[1]))
    elif hasattr(annotation, "__metadata__"):
        yield from _type_words(annotation.__origin__)
    else:
        for argument in get_args(annotation):
            yield from _type_words(argument)
