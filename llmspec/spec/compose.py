"""`extends`, `preset` and `--set`: several texts to one tree, in which every value keeps the place where it was written.

Later layers win: extended files < preset < the file's own fields < overrides. Mappings merge field by field; lists and single values
are replaced. Where both sides say a different `kind`, the mapping is replaced as a whole, since the fields of one kind mean nothing
to another. null is an explicit return to the default.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from llmspec.catalog import preset_names, preset_path
from llmspec.diagnostics import Bag, CompilationError, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.spec.source import Layer, Source, parse, parse_value, read_source
from llmspec.spec.tree import Node

OVERRIDES = "--set"
MAX_CHAIN = 20
_FOUNDATIONS = (["extends"], ["preset"], ["architecture"], ["architecture", "preset"])

_STEP = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>\d{1,6})\]")


@dataclass(frozen=True, slots=True)
class Composed:
    """A spec with its layers merged; `extends` and `preset` are done with and gone.

    `layers` says who wrote each file that spans name. `source` is the spec file itself, and `directory` is where it lies: the relative
    paths in the spec refer to it. `sources` are all files that took part, the spec itself last.
    """

    tree: Node
    layers: Mapping[str, Layer]
    source: Source
    directory: Path
    overrides: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def root(self) -> Span:
        """Where to point for the spec as a whole: at its first line."""
        return Span(self.source.file, 1, 1, 1, 2)

    def node(self, path: str) -> Node | None:
        """The node at a dotted path such as `data.sources[0].path`; None where nothing is written."""
        node = self.tree
        for step in _STEP.finditer(path):
            if step["name"] is not None:
                if step["name"] not in node.mapping:
                    return None
                node = node.mapping[step["name"]]
            else:
                items = node.value if isinstance(node.value, list) else []
                if int(step["index"]) >= len(items):
                    return None
                node = items[int(step["index"])]
        return node


def compose(path: Path, overrides: Sequence[str], bag: Bag) -> Composed:
    """Read a spec file and everything that it builds on, and lay the overrides over it.

    Raises:
        CompilationError: A text cannot be read or composed; the bag says why.
    """
    composer = _Composer(bag)
    source = read_source(path, bag)
    bag.sources[source.file] = source.text
    own = parse(source, bag)
    parsed = _parse_overrides(overrides, bag)
    # Overrides may change what the file builds on: those are laid over its own fields too. All are laid over the whole afterwards, when
    # it is clear whether they have a place.
    for override in parsed:
        if [step for step, _ in override.steps] in _FOUNDATIONS:
            own = _assign(own, override, 0, Bag())
    tree = composer.expand(own, source, (_identity(source),))
    for override in parsed:
        tree = _assign(tree, override, 0, bag)
    tree = _without(tree, ("extends", "preset"))
    if "architecture" in tree.mapping:
        tree = _with(tree, "architecture", _without(tree.mapping["architecture"], ("preset",)))
    bag.raise_if_errors()
    composer.layers.update({source.file: Layer.SPEC, OVERRIDES: Layer.OVERRIDE})
    return Composed(tree, composer.layers, source, path.parent, tuple(overrides), (*composer.sources.values(), source))


def with_overrides(composed: Composed, overrides: Sequence[str], bag: Bag) -> Composed:
    """A composed spec with further overrides laid over it, without reading anything again.

    Args:
        composed: The spec.
        overrides: More `path=value`; what the spec builds on (`extends`, `preset`) can no longer be changed.
        bag: Takes the diagnostics.
    """
    tree = composed.tree
    together = (*composed.overrides, *overrides)
    for override in _parse_overrides(together, bag)[len(composed.overrides) :]:
        tree = _assign(tree, override, 0, bag)
    return replace(composed, tree=tree, layers={**composed.layers, OVERRIDES: Layer.OVERRIDE}, overrides=together)


def merge(under: Node, over: Node) -> Node:
    """Lay one node over another."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    kinds = under.value.get("kind"), over.value.get("kind")
    if kinds[0] is not None and kinds[1] is not None and kinds[1].value is not None and kinds[0].value != kinds[1].value:
        return over
    entries = dict(under.value)
    for name, node in over.value.items():
        entries[name] = merge(entries[name], node) if name in entries else node
    return Node(entries, over.span, over.key_span)


def _with(node: Node, name: str, entry: Node) -> Node:
    return Node({**node.mapping, name: entry}, node.span, node.key_span)


def _without(node: Node, names: tuple[str, ...]) -> Node:
    if not isinstance(node.value, dict):
        return node
    return Node({name: entry for name, entry in node.value.items() if name not in names}, node.span, node.key_span)


def _identity(source: Source) -> str:
    assert source.path is not None
    return os.path.realpath(source.path)


class _Composer:
    """Expands `extends` and `preset`, reading each file once."""

    def __init__(self, bag: Bag) -> None:
        self.bag = bag
        self.layers: dict[str, Layer] = {}
        self.sources: dict[str, Source] = {}
        self.expanded: dict[str, Node] = {}

    def expand(self, own: Node, source: Source, chain: tuple[str, ...]) -> Node:
        """Lay a file's own fields over what it extends and its presets."""
        tree = Node({}, own.span, own.key_span)
        for name in self.names(own, "extends"):
            if (extended := self.extended(name, source, chain)) is not None:
                tree = merge(tree, extended)
        for name in self.names(own, "preset", single=True):
            if (fragment := self.preset(name, chain)) is not None:
                tree = merge(tree, fragment)
        architecture = own.mapping.get("architecture")
        if architecture is not None:
            for name in self.names(architecture, "preset", single=True):
                fragment = self.preset(name, chain)
                if fragment is not None and "architecture" in fragment.mapping:
                    tree = merge(tree, Node({"architecture": fragment.mapping["architecture"]}, own.span))
            own = _with(own, "architecture", _without(architecture, ("preset",)))
        return merge(tree, _without(own, ("extends", "preset")))

    def names(self, node: Node, field: str, single: bool = False) -> list[Node]:
        """The texts under `extends` or `preset`."""
        entry = node.mapping.get(field)
        if entry is None or entry.value is None:
            return []
        items = entry.value if isinstance(entry.value, list) and not single else [entry]
        for item in items:
            if not (isinstance(item.value, str) and item.value):
                expected = "the name of a preset" if single else "a path, or a list of paths"
                self.bag.add(problem("LS103", f"`{field}` should be {expected}", item.place))
        return [item for item in items if isinstance(item.value, str) and item.value]

    def extended(self, name: Node, source: Source, chain: tuple[str, ...]) -> Node | None:
        """Read and expand a file that is named under `extends`."""
        assert isinstance(name.value, str) and source.path is not None
        path = source.path.parent / name.value
        file = os.path.normpath(os.path.join(os.path.dirname(source.file), name.value))  # noqa: PTH118, PTH120 - names, not files
        return self.read(path, file, Layer.SPEC, name.span, chain)

    def preset(self, name: Node, chain: tuple[str, ...]) -> Node | None:
        """Read and expand a preset of the catalog."""
        assert isinstance(name.value, str)
        path = preset_path(name.value)
        if path is not None:
            return self.read(path, f"preset {name.value}", Layer.PRESET, name.span, chain)
        near = nearest(name.value, preset_names())
        hints = (f"did you mean {choice(near)}?",) if near else ("`llmspec presets` lists them",)
        self.bag.add(problem("LS201", f"there is no preset `{name.value}`", name.span, help=hints))
        return None

    def read(self, path: Path, file: str, layer: Layer, at: Span, chain: tuple[str, ...]) -> Node | None:
        identity = os.path.realpath(path) if "\0" not in str(path) else str(path)
        if identity in chain:
            steps = " -> ".join(Path(step).name for step in (*chain[chain.index(identity) :], identity))
            self.bag.add(problem("LS203", "a spec cannot extend itself", at, label=steps))
            return None
        if len(chain) >= MAX_CHAIN:
            self.bag.add(problem("LS206", f"more than {MAX_CHAIN} files extend one another", at))
            return None
        if identity not in self.expanded:
            try:
                source = read_source(path, self.bag, file=file, layer=layer, at=at)
                tree = parse(source, self.bag)
            except CompilationError:
                return None  # the bag has the reason; what else is wrong is worth knowing at the same time
            self.layers[file] = layer
            self.sources[identity] = source
            self.expanded[identity] = self.expand(tree, source, (*chain, identity))
        return self.expanded[identity]


class _Override(NamedTuple):
    """One `--set`: the steps of its path with their places, and the value."""

    steps: tuple[tuple[str | int, Span], ...]
    value: Node
    text: str


def _parse_overrides(overrides: Sequence[str], bag: Bag) -> list[_Override]:
    """Read the overrides as lines of one text, so that each has a place of its own to point at."""
    if not overrides:
        return []
    bag.sources[OVERRIDES] = "\n".join(overrides)
    parsed = []
    line = 1
    for text in overrides:
        override = _parse_override(text, line, bag)
        if override is not None:
            parsed.append(override)
        line += len(re.split(r"\r\n|\r|\n", text))
    return parsed


def _parse_override(text: str, line: int, bag: Bag) -> _Override | None:
    path, equals, value = text.partition("=")
    steps: list[tuple[str | int, Span]] = []
    column = 0
    for part in re.split(r"(?=\[)|\.", path):
        match = _STEP.fullmatch(part)
        if match is None or (match["index"] is not None and not steps):
            steps = []
            break
        column = path.index(part, column)
        span = Span(OVERRIDES, line, column + 1, line, column + 1 + len(part))
        steps.append((match["name"] if match["name"] is not None else int(match["index"]), span))
        column += len(part)
    if not equals or not steps:
        whole = Span(OVERRIDES, line, 1, line, max(2, len(re.split(r"[\r\n]", text)[0]) + 1))
        message = "the override has no `=`" if not equals else f"`{path}` is not a dotted path" if path else "nothing stands before the `=`"
        bag.add(problem("LS204", message, whole, help=("write `--set path=value`, such as `--set training.max_steps=100`",)))
        return None
    try:
        # Blank lines and blanks before the value put it where it stands among the overrides; YAML does not mind them.
        padding = "\n" * (line - 1) + " " * (len(path) + 1)
        node = parse_value(Source(OVERRIDES, padding + value, layer=Layer.OVERRIDE), bag)
    except CompilationError:
        return None
    return _Override(tuple(steps), node, text)


def _assign(node: Node, override: _Override, depth: int, bag: Bag) -> Node:
    """Lay an override's value over the place where its path leads."""
    if depth == len(override.steps):
        return merge(node, override.value.at(override.steps[-1][1]))
    step, span = override.steps[depth]
    key_span = span if depth else node.key_span
    if isinstance(step, int):
        items = node.value if isinstance(node.value, list) else None
        if items is None or step >= len(items):
            last = len(items) - 1 if items else 0
            found = "there is no list here" if items is None else f"the list goes from [0] to [{last}]" if items else "the list is empty"
            bag.add(problem("LS205", f"`{override.text.partition('=')[0]}` leads nowhere: {found}", span))
            return node
        return Node([*items[:step], _assign(items[step], override, depth + 1, bag), *items[step + 1 :]], node.span, node.key_span)
    if isinstance(node.value, list) or (node.value is not None and not isinstance(node.value, dict)):
        found = "a list, so an index such as `[0]` has to follow" if isinstance(node.value, list) else "a single value, not a section"
        owner = override.steps[depth - 1][0]
        bag.add(problem("LS205", f"`{owner}` is {found}", span))
        return node
    below = node.mapping.get(step, Node(None, span, span))
    changed = Node({step: _assign(below, override, depth + 1, bag)}, node.span if node.value is not None else span, key_span)
    merged = merge(node, changed) if node.value is not None else changed
    return Node(merged.value, node.span if node.value is not None else span, node.key_span or key_span)
