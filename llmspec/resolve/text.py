"""`spec.resolved.yaml`: every value of a run, with a comment that says who decided it."""

import posixpath
from collections.abc import Iterator

from pydantic import BaseModel

from llmspec.resolve.resolved import Origin, OriginKind, Resolved
from llmspec.spec.standalone import scalar_text

_COMMENT_COLUMN = 48
_GONE = ("extends", "preset")


def resolved_yaml(resolved: Resolved) -> str:
    """The resolved spec as a spec that needs no other, resolves to the same values and says where each came from."""
    lines = [
        f"# {resolved.spec.name} with nothing left open: every value, and who decided it.",
        "# Paths of origins are relative to the spec file.",
    ]
    for text, comment in _section(resolved, resolved.spec, "", ""):
        lines.append(f"{text:<{_COMMENT_COLUMN}}  # {comment}" if comment else text)
    return "\n".join([*lines, ""])


def _section(resolved: Resolved, section: BaseModel, path: str, indent: str) -> Iterator[tuple[str, str]]:
    for name in _ordered(section):
        value = getattr(section, name)
        field = f"{path}.{name}" if path else name
        if isinstance(value, BaseModel):
            inner = list(_section(resolved, value, field, indent + "  "))
            if inner:
                yield f"{indent}{name}:", ""
                yield from inner
            else:
                yield f"{indent}{name}: {{}}", _origin_text(resolved, field)
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            yield f"{indent}{name}:", ""
            for index, item in enumerate(value):
                assert isinstance(item, BaseModel)
                for number, (text, comment) in enumerate(_section(resolved, item, f"{field}[{index}]", indent + "    ")):
                    yield (f"{indent}  - {text.lstrip()}" if number == 0 else text), comment
        else:
            line = f"{name}: {_value_text(value)}"
            # Either of the two decides the other, so only the one that was given can be read back.
            other = {"training.max_tokens": "training.max_steps", "training.max_steps": "training.max_tokens"}.get(field)
            if other is not None and resolved.origin(field).kind is OriginKind.DERIVED:
                line = f"# {line}"
            yield f"{indent}{line}", _origin_text(resolved, field)


def _ordered(section: BaseModel) -> list[str]:
    """The section's fields, its kind and name first."""
    names = [name for name in type(section).model_fields if name not in _GONE]
    return sorted(names, key=lambda name: (name not in ("llmspec", "name", "kind"), names.index(name) if name not in ("kind",) else -1))


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value_text(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar_text(name)}: {_value_text(entry)}" for name, entry in value.items()) + "}"
    assert value is None or isinstance(value, str | int | float)
    return scalar_text(value)


def _origin_text(resolved: Resolved, path: str) -> str:
    origin = resolved.origin(path)
    if origin.kind is OriginKind.SPEC and origin.span is not None:
        return _relative(origin, resolved.root.file)
    return " ".join(origin.text.split())


def _relative(origin: Origin, root: str) -> str:
    """The place in a spec file, by its path from the root spec, so that it does not depend on where llmspec was started."""
    assert origin.span is not None
    file = origin.span.file.replace("\\", "/")
    name = posixpath.relpath(file, posixpath.dirname(root.replace("\\", "/")) or ".")
    return f"{' '.join(name.split())}:{origin.span.line}"
