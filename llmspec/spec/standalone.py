"""A spec as one file that needs no other: what is kept beside the emitted code."""

import json
import re
from collections.abc import Iterator

from llmspec.spec.compose import Composed
from llmspec.spec.schema import Spec
from llmspec.spec.source import Layer
from llmspec.spec.tree import Node, Scalar, parse_scalar

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
_ESCAPES = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def standalone_text(composed: Composed) -> str:
    """The spec's own text, comments and all, where it says everything; else the composed tree.

    Presets come with llmspec, so a spec that names one stands alone; one that extends files or was overridden does not.
    """
    extends = any(composed.layers[source.file] is Layer.SPEC for source in composed.sources if source is not composed.source)
    # A file of prices is asked for the estimate alone.
    prices = composed.tree.mapping.get("hardware", composed.tree).mapping.get("prices")
    if not extends and not composed.overrides and prices is None:
        text = re.sub(r"\r\n?", "\n", composed.source.text)
        return text if text.endswith("\n") else f"{text}\n"
    fields = list(Spec.model_fields)
    tree = dict(composed.tree.mapping)
    if prices is not None:
        tree["hardware"] = tree["hardware"]._replace(value={k: v for k, v in tree["hardware"].mapping.items() if k != "prices"})
    ordered = sorted(tree.items(), key=lambda entry: fields.index(entry[0]))
    return "\n".join([*_block(Node(dict(ordered), composed.tree.span), 0), ""])


def scalar_text(value: Scalar) -> str:
    """A scalar that is read back as the same value by YAML 1.2."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and isinstance(parse_scalar(value), str):
        return value
    return '"' + "".join(_ESCAPES.get(character) or _escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(node: Node, indent: int) -> Iterator[str]:
    """Mappings in block style, a line a field; lists of mappings with a dash, all else on one line."""
    pad = "  " * indent
    for name, entry in node.mapping.items():
        key = f"{pad}{scalar_text(name)}:"
        if isinstance(entry.value, dict) and entry.value:
            yield key
            yield from _block(entry, indent + 1)
        elif isinstance(entry.value, list) and any(isinstance(item.value, dict) for item in entry.value):
            yield key
            yield from (f"{pad}  - {_flow(item)}" for item in entry.value)
        else:
            yield f"{key} {_flow(entry)}"


def _flow(node: Node) -> str:
    if isinstance(node.value, dict):
        return "{" + ", ".join(f"{scalar_text(name)}: {_flow(entry)}" for name, entry in node.value.items()) + "}"
    if isinstance(node.value, list):
        return "[" + ", ".join(_flow(item) for item in node.value) + "]"
    return scalar_text(node.value)
