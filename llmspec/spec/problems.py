"""Validation errors to diagnostics: where it is, what was expected, what may have been meant.

Imported only when there is something to say.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from llmspec.catalog import find_alias, find_future
from llmspec.diagnostics import Diagnostic, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.spec.compose import Composed
from llmspec.spec.examples import EXAMPLES, KINDS
from llmspec.spec.schema import Spec
from llmspec.spec.schema.launch import LAUNCHERS
from llmspec.spec.shape import Shape, annotations, bounds, choices, expected, fields, number, shape_of
from llmspec.spec.tree import Node

_LAUNCHERS = tuple(f"launch.{name}" for name in (*LAUNCHERS, "docker"))
_INDEX = re.compile(r"\[\d+\]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RANGE_ERRORS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "string_too_long", "too_long", "too_short"}
)
_OUTRIGHT_ERRORS = _RANGE_ERRORS | {"finite_number", "string_too_short", "string_pattern_mismatch"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an error is: the field's path, what is written there if anything, and what should be.

    `section` is the class around the field, `kind` its kind if it says one, and `around` its own node. `rest` is what was left of
    Pydantic's location inside a union of unlike types.
    """

    path: str
    node: Node | None
    shape: Shape | None
    section: type[BaseModel]
    kind: str | None
    around: Node
    rest: tuple[str | int, ...] = ()

    @property
    def name(self) -> str:
        """The field's own name."""
        return self.path.rpartition(".")[2]

    @property
    def section_path(self) -> str:
        """The path of the section around the field."""
        return self.path.rpartition(".")[0]

    @property
    def span(self) -> Span:
        """Where to point."""
        return (self.node or self.around).place

    @property
    def key_span(self) -> Span:
        """Where to point when it is the name that is wrong."""
        return self.node.key_span if self.node is not None and self.node.key_span is not None else self.span


def explain(composed: Composed, errors: Sequence[Any]) -> Iterator[Diagnostic]:
    """Say what is wrong with a tree.

    Args:
        composed: The tree.
        errors: What Pydantic found.
    """
    places: dict[str, list[tuple[_Place, Any]]] = {}
    for error in errors:
        place = _locate(composed.tree, error["loc"])
        places.setdefault(place.path, []).append((place, error))
    # One slip is one problem: a field that stands there under a wrong name is not missing as well.
    meant = {path for found in places.values() for place, error in found if error["type"] == "extra_forbidden" for path in _meant(place)}
    for path in meant & places.keys():
        if places[path][0][1]["type"] == "missing":
            del places[path]
    for found in places.values():
        place = found[0][0]
        unlike = place.shape is not None and place.shape.alternatives and found[0][1]["type"] not in ("missing", "extra_forbidden")
        if place.rest or unlike:
            yield from _explain_union(place, [(entry.rest, error) for entry, error in found])
        else:
            for entry, error in found:
                yield from _explain(entry, error, composed)
    yield from _explain_values(composed.tree, Shape(Spec, sections={None: Spec}), "")


def _locate(tree: Node, location: tuple[str | int, ...]) -> _Place:
    """Follow Pydantic's location through the tree; it names the kinds of sections too, which the tree does not."""
    node: Node | None = tree
    around = tree
    shape: Shape | None = Shape(Spec, sections={None: Spec})
    section: type[BaseModel] = Spec
    kind: str | None = None
    path = ""
    steps = list(location)
    while steps and shape is not None and not shape.alternatives:
        step = steps.pop(0)
        if shape.sections is not None:
            kind = str(step) if shape.tagged else None
            section = shape.sections[kind]
            if shape.tagged:
                if not steps:
                    break
                step = steps.pop(0)
            around = node if node is not None else around
            path = f"{path}.{step}" if path else str(step)
            node = node.mapping.get(str(step)) if node is not None else None
            known = annotations(section)
            shape = shape_of(known[str(step)]) if step in known else None
        elif shape.item is not None and isinstance(step, int):
            path = f"{path}[{step}]"
            node = node.value[step] if node is not None and isinstance(node.value, list) else None
            shape = shape.item
        elif shape.entry is not None:
            path = f"{path}.{step}"
            node = node.mapping.get(str(step)) if node is not None else None
            shape = shape.entry
        else:
            steps.insert(0, step)
            break
    return _Place(path, node, shape, section, kind, around, tuple(steps))


def _value_text(value: object) -> str:
    """A value as it would be written in a spec, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) or abs(value) > 10**15 else str(value)
    text = str(value)
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " "))
    return text if len(text) <= 40 else text[:37] + "..."


def _found(node: Node | None) -> str:
    """What stands there instead, for the label."""
    if node is None or node.value is None:
        return "this is nothing"
    if isinstance(node.value, dict):
        return "this is a mapping"
    if isinstance(node.value, list):
        return "this is a list"
    if isinstance(node.value, bool):
        return f"this is {_value_text(node.value)}"
    if isinstance(node.value, str):
        return "this is text"
    return "this is a number with a fraction" if isinstance(node.value, float) and not node.value.is_integer() else "this is a number"


def _shown(path: str) -> str:
    """The name of a section in a sentence."""
    return f"`{path}`" if path else "the spec"


def _explain(place: _Place, error: Any, composed: Composed) -> Iterator[Diagnostic]:
    """One error of Pydantic's, not inside a union of unlike types."""
    kind: str = error["type"]
    value = place.node.value if place.node is not None else None
    if kind == "extra_forbidden":
        yield _unknown_field(place)
    elif kind == "missing":
        yield _missing_field(place, composed)
    elif kind == "union_tag_not_found":
        yield _missing_kind(place)
    elif kind == "union_tag_invalid":
        yield _unknown_choice(_kind_place(place), list(place.shape.sections or ()) if place.shape is not None else [])
    elif kind == "literal_error":
        yield _unknown_choice(place, choices(place.shape.annotation) if place.shape is not None else [])
    elif kind in _OUTRIGHT_ERRORS:
        length = len(value) if isinstance(value, list) else 0
        # A list of items that are wrong themselves is not too short as well.
        if not (kind == "too_short" and length >= error["ctx"]["min_length"]):
            yield _outright(place, error)
    else:
        yield _wrong_type(place, error)


def _explain_union(place: _Place, errors: list[tuple[tuple[str | int, ...], Any]]) -> Iterator[Diagnostic]:
    """The errors of one field that may be of several unlike types: one member fits best, or none does."""
    value = place.node.value if place.node is not None else None
    lists = [member.item for member in place.shape.alternatives if member.item is not None] if place.shape is not None else []
    if isinstance(value, list) and lists:
        by_item: dict[int, list[tuple[tuple[str | int, ...], Any]]] = {}
        for rest, error in errors:
            if len(rest) > 1 and isinstance(rest[1], int):
                by_item.setdefault(rest[1], []).append((rest[2:], error))
        for index, inner in sorted(by_item.items()):
            item = _Place(f"{place.path}[{index}]", value[index], lists[0], place.section, place.kind, place.around)
            yield from _explain_union(item, inner)
        if by_item:
            return
    # A number in the wrong range is a number all the same: that member says what is wrong.
    fitting = [error for _, error in errors if error["type"] in _OUTRIGHT_ERRORS]
    if fitting:
        yield _outright(place, fitting[0])
        return
    future = _not_built_yet(place)
    if future is not None:
        yield future
        return
    known = choices(place.shape.annotation) if place.shape is not None else []
    if isinstance(value, str) and nearest(value, map(str, known)):
        yield _unknown_choice(place, known)
    else:
        yield _wrong_type(place, errors[0][1])


def _kind_place(place: _Place) -> _Place:
    """The place of a section's `kind`."""
    node = place.node.mapping.get("kind") if place.node is not None else None
    return _Place(f"{place.path}.kind", node, None, place.section, None, place.node or place.around)


def _not_built_yet(place: _Place) -> Diagnostic | None:
    """The diagnostic for what the language has a place for and that cannot be built yet."""
    value = place.node.value if place.node is not None else None
    future = find_future(place.path, value)
    if future is None:
        return None
    known = [text for text in map(_value_text, choices(place.shape.annotation) if place.shape is not None else ()) if text != "null"]
    if place.shape is None and place.name == "kind":
        known = [tag for tag in _kinds_at(place.section_path) if tag is not None]
    if known:
        hints = [f"what can be built today is {choice(known)}"]
    elif place.shape is not None and place.path in EXAMPLES:
        hints = [f"give a value, such as `{EXAMPLES[place.path]}`"]
    else:
        hints = [f"leave `{place.name}` out"]
    span = place.span if future.value is not None or place.shape is not None else place.key_span
    return problem("LS108", f"{future.what} is not built yet", span, help=hints)


def _kinds_at(path: str) -> list[str | None]:
    plain = _INDEX.sub("[]", path)
    for field in fields():
        shape = shape_of(field.annotation)
        if field.path == plain:
            return list(shape.sections or ())
        if f"{field.path}[]" == plain and shape.item is not None:
            return list(shape.item.sections or ())
    return []


def _unknown_field(place: _Place) -> Diagnostic:
    """A key that its section does not have: a slip, another tool's name, a field of somewhere else, or one of a later version."""
    future = _not_built_yet(place)
    if future is not None:
        return future
    name, section = place.name, place.section_path
    alias = find_alias(place.path)
    plain_section = _INDEX.sub("[]", section)
    if alias is not None and alias.path != _INDEX.sub("", place.path):
        where, _, ours = alias.path.rpartition(".")
        if where == _INDEX.sub("", section):
            advice = f"write `{ours}`"
        else:
            advice = f"write `{ours}` under `{where}`" if where else f"write `{ours}` at the top of the spec"
        notes = (alias.note,) if alias.note else ()
        return problem(
            "LS107", f"llmspec calls `{name}` `{alias.path if where and not section else ours}`", place.key_span, help=(advice, *notes)
        )
    around = f"{_shown(section)} with `kind: {place.kind}`" if place.kind is not None else _shown(section)
    message = f"`{_value_text(name)}` is not a field of {around}"
    own = annotations(place.section)
    siblings = sorted(
        {field.kind for field in fields() if field.path == f"{plain_section}.{name}" and field.kind is not None and place.kind is not None}
    )
    if siblings:
        return problem("LS101", message, place.key_span, help=(f"it belongs to {choice([f'kind: {kind}' for kind in siblings])}",))
    near = nearest(name, own)
    elsewhere = list(dict.fromkeys(field.path.replace("[]", "") for field in fields() if field.name == name and name != "kind"))
    if elsewhere and len(elsewhere) <= 4:
        parents = [path.rpartition(".")[0] for path in elsewhere]
        belongs = (
            f"`{name}` belongs under {choice(parents)}" if all(parents) else f"`{name}` belongs at the top of the spec, not in a section"
        )
        return problem("LS101", message, place.key_span, help=(belongs,))
    if near:
        return problem("LS101", message, place.key_span, help=(f"did you mean {choice(near)}?",))
    further = nearest(name, dict.fromkeys(field.name for field in fields()))
    if further:
        paths = [field.path.replace("[]", "") for field in fields() if field.name in further]
        return problem("LS101", message, place.key_span, help=(f"did you mean {choice(list(dict.fromkeys(paths))[:3])}?",))
    listed = [field for field in own if field not in ("extends", "preset")]
    hints = (f"its fields are {', '.join(f'`{field}`' for field in listed)}",) if listed and len(listed) <= 25 else ()
    return problem("LS101", message, place.key_span, help=hints)


def _meant(place: _Place) -> list[str]:
    """The paths that an unknown field most likely stands for."""
    alias = find_alias(place.path)
    if alias is not None:
        return [alias.path] if "[" not in place.path else [f"{place.section_path}.{alias.path.rpartition('.')[2]}"]
    if any(field.name == place.name for field in fields()):
        return []  # a field of another section or kind, and no slip
    near = nearest(place.name, annotations(place.section), limit=1)
    return [f"{place.section_path}.{name}" if place.section_path else name for name in near]


def _missing_field(place: _Place, composed: Composed) -> Diagnostic:
    """A field without a default that is not given."""
    plain = _INDEX.sub("[]", place.path)
    example = EXAMPLES.get(plain, f"{place.name}: ...")
    empty = place.node is not None
    span = place.key_span if empty else place.around.place if place.section_path else composed.root
    if not place.section_path:
        what = "section" if place.shape is not None and place.shape.sections is not None else "field"
        message = f"the spec's `{place.name}` is empty" if empty else f"the spec has no `{place.name}` {what}"
    else:
        message = f"`{place.path}` is empty" if empty else f"`{place.section_path}` has no `{place.name}`"
    hints = [f"write `{example}`" if empty else f"add `{example}`"]
    if place.path in ("architecture", "tokenizer", "architecture.attention", "architecture.hidden_size", "architecture.num_layers"):
        hints.append("or start from a published model with `preset`; `llmspec presets` lists them")
    return problem("LS102", message, span, help=hints)


def _missing_kind(place: _Place) -> Diagnostic:
    tags = [tag for tag in (place.shape.sections or {}) if tag is not None] if place.shape is not None else []
    example = KINDS.get(_INDEX.sub("[]", place.path), tags[0] if tags else "...")
    hints = (f"add `kind: {example}`; the kinds are {', '.join(f'`{tag}`' for tag in tags)}",)
    return problem("LS106", f"`{place.path}` does not say its `kind`", place.span, help=hints)


def _unknown_choice(place: _Place, known: Sequence[object]) -> Diagnostic:
    """A value that is not among the fixed choices."""
    future = _not_built_yet(place)
    if future is not None:
        return future
    value = place.node.value if place.node is not None else None
    if place.path == "llmspec":
        message = "the language of this release is version 1"
        hints = ("write `llmspec: 1`",) if not isinstance(value, int) or value < 2 else ("a newer llmspec may read this spec",)
        return problem("LS111", message, place.span, help=hints)
    texts = [_value_text(entry) for entry in known]
    message = f"`{place.name}` should be {choice(texts)}" if texts else f"`{place.name}` has a value that it cannot have"
    if place.shape is not None and place.shape.alternatives:
        message = f"`{place.name}` should be {expected(place.shape)}"
    if isinstance(value, dict | list):
        return problem("LS103", message, place.span, label=_found(place.node))
    near = nearest(_value_text(value), texts)
    return problem("LS105", message, place.span, help=(f"did you mean {choice(near)}?",) if near else ())


def _outright(place: _Place, error: Any) -> Diagnostic:
    """A value of the right type that lies outside what the field can hold."""
    kind: str = error["type"]
    value = place.node.value if place.node is not None else None
    name, context = place.name, error.get("ctx", {})
    if kind == "finite_number":
        return problem("LS109", f"`{name}` should be a finite number", place.span, label=f"this is {_not_a_number(value)}")
    if kind == "string_pattern_mismatch":
        message = f"`{name}` may have up to 64 letters, digits, `.`, `_` and `-`, and starts with a letter or digit"
        mended = re.sub(r"[^A-Za-z0-9._-]+", "-", str(value)).strip("-._")[:64]
        return problem("LS110", message, place.span, help=(f"such as `{mended}`",) if mended else ())
    if kind == "string_too_short":
        return problem("LS104", f"`{name}` may not be empty", place.span)
    if kind == "string_too_long":
        limit = number(context["max_length"])
        return problem("LS104", f"`{name}` may have at most {limit} characters", place.span, label=f"this has {number(len(str(value)))}")
    if kind in ("too_short", "too_long"):
        length = len(value) if isinstance(value, list) else 0
        limit, bound = (context["min_length"], "at least") if kind == "too_short" else (context["max_length"], "at most")
        return problem(
            "LS104", f"`{name}` should have {bound} {number(limit)} item{'' if limit == 1 else 's'}", place.span, label=f"this has {length}"
        )
    allowed = bounds(place.shape.annotation) if place.shape is not None else ""
    phrases = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below", "less_than_equal": "at most"}
    broken = f"{phrases[kind]} {number(next(iter(context.values())))}"
    return problem("LS104", f"`{name}` should be {allowed if broken in allowed else broken}", place.span)


def _not_a_number(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "not a number"
    return "infinity" if value in (math.inf, -math.inf) else "too large"


def _wrong_type(place: _Place, error: Any) -> Diagnostic:
    """A value of another type than the field's."""
    future = _not_built_yet(place)
    if future is not None:
        return future
    value = place.node.value if place.node is not None else None
    if isinstance(value, float) and not math.isfinite(value):
        return problem("LS109", f"`{place.name}` should be a finite number", place.span, label=f"this is {_not_a_number(value)}")
    phrase = expected(place.shape) if place.shape is not None else error["msg"]
    hints: list[str] = []
    if isinstance(value, str):
        hints.extend(_text_hints(value, phrase))
    elif place.shape is not None and place.shape.item is not None and isinstance(value, dict):
        hints.append("start each item with `- `")
    elif isinstance(value, list) and len(value) == 1 and place.shape is not None and place.shape.sections is not None:
        hints.append("leave out the `- ` or the brackets")
    elif place.shape is not None and place.shape.sections is not None and isinstance(value, str | int | float):
        plain = _INDEX.sub("[]", place.path)
        if plain in EXAMPLES:
            hints.append(f"such as `{EXAMPLES[plain]}`")
    message = f"`{place.name}` should be {phrase}"
    if error["type"] == "count" and isinstance(value, str) and "fraction" in error["msg"]:
        return problem("LS103", message, place.span, label="this has a fraction")
    return problem("LS103", message, place.span, label=_found(place.node), help=hints)


def _text_hints(value: str, phrase: str) -> Iterator[str]:
    """Help for text where something else is wanted: numbers in quotes, words for true and false."""
    from llmspec.spec.tree import parse_scalar

    read = parse_scalar(value.strip().replace(",", "").replace("_", ""))
    if phrase == "`true` or `false`" and value.lower() in ("yes", "on", "y", "no", "off", "n", "true", "false"):
        yield f"write `{'true' if value.lower() in ('yes', 'on', 'y', 'true') else 'false'}`"
    elif isinstance(read, int | float) and not isinstance(read, bool) and ("number" in phrase or "count" in phrase):
        yield f"write `{_value_text(read)}`, without quotes or separators"


def _explain_values(node: Node, shape: Shape | None, path: str) -> Iterator[Diagnostic]:
    """What Pydantic does not see: control characters in texts, and launchers with nothing behind them."""
    value = node.value
    name = path.rpartition(".")[2]
    if isinstance(value, dict):
        section = None
        if shape is not None and shape.sections is not None:
            kind = value["kind"].value if shape.tagged and "kind" in value else None
            section = shape.sections.get(kind) if kind is None or isinstance(kind, str) else None
        known = annotations(section) if section is not None else {}
        for key, entry in value.items():
            inner = shape_of(known[key]) if key in known else shape.entry if shape is not None else None
            yield from _explain_values(entry, inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _explain_values(item, shape.item if shape is not None else None, f"{path}[{index}]")
    elif isinstance(value, str):
        match = _CONTROL.search(value)
        if match is not None:
            yield problem("LS110", f"`{name}` holds the control character U+{ord(match[0]):04X}", node.span, help=("remove it",))
    elif node.implicit and path in _LAUNCHERS:
        message = f"`{name}` is empty, which would mean that it is not asked for"
        yield problem("LS103", message, node.place, help=(f"write `{name}: {{}}` for its default settings, or remove the line",))
