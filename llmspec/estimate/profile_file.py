"""The file of a profile: YAML that a person can read, with a check of each run so that an edit is noticed.

`profile_text` writes it, the same bytes for the same runs; `read_profile` reads it and says of what is wrong where it stands.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from llmspec import __version__
from llmspec.catalog.table import table
from llmspec.diagnostics import Bag, CompilationError, Diagnostic, Span
from llmspec.estimate.likeness import KINDS, SIZES
from llmspec.estimate.profile import Measured, Profile, Run
from llmspec.estimate.profile_problems import bad_profile, no_profile, other_constants
from llmspec.spec.tree import Node, parse_yaml

FORMAT = 1
DIRECTORY = "llmspec-profiles"
MOST_BYTES = 1_000_000
MOST_RUNS = 200
# What stands in the file for the numbers of a kind.
_WORDS: Mapping[str, tuple[Any, ...]] = {
    "several_nodes": (False, True),
    "sharded": ("nothing", "optimizer", "gradients", "parameters"),
    "recomputed": ("nothing", "selective", "full"),
    "kernels": ("eager", "compiled", "fused"),
    "fused_attention": (False, True),
}
_MEASURED = ("measured", "estimated", "low", "high", "noise")
_RUN = ("name", "log", "engine", "precision", "sizes", "kinds", "counted", "step_seconds", "memory_gib", "stepping", "check")
_HEAD = ("llmspec_profile", "name", "accelerator", "constants", "runs", "check")


@cache
def constants_in_use() -> str:
    """What tells one version of the estimator from another: its own and that of its fitted constants."""
    return hashlib.sha256(f"{__version__}\n{table('efficiency.yaml').text}".encode()).hexdigest()[:12]


def profile_text(profile: Profile) -> str:
    """The file."""
    entries = [_entry(run) for run in profile.runs]
    head = _head(profile.name, profile.accelerator, constants_in_use())
    lines = [
        f"# What {len(entries)} run{'s' if len(entries) > 1 else ''} on {profile.accelerator} taught. "
        "`llmspec estimate SPEC --profile` uses it.",
        "# Written by `llmspec estimate --calibrate`; edits are noticed and refused. low and high bound the estimate at",
        "# 80%, noise is the standard error of ln(measured).",
        *(f"{name}: {_scalar(value)}" for name, value in head.items()),
        "runs:",
    ]
    for entry in entries:
        for index, (name, value) in enumerate(entry.items()):
            lines.append(f"{'- ' if index == 0 else '  '}{name}: {_scalar(value)}")
    lines.append(f"check: {_scalar(_check({**head, 'runs': [entry['check'] for entry in entries]}))}")
    return "\n".join(lines) + "\n"


def _head(name: str, accelerator: str, constants: str) -> dict[str, Any]:
    return {"llmspec_profile": FORMAT, "name": name, "accelerator": accelerator, "constants": constants}


def _entry(run: Run) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": run.name,
        "log": run.log,
        "engine": run.engine,
        "precision": run.precision,
        "sizes": {name: _short(value, 12) for name, value in zip(SIZES, run.sizes, strict=True)},
        "kinds": {name: _word(name, value) for name, value in zip(KINDS, run.kinds, strict=True)},
        "counted": {"steps": run.steps, "intervals": run.intervals},
        "step_seconds": _figures(run.step_seconds),
        "memory_gib": None if run.memory_gib is None else _figures(run.memory_gib),
        "stepping": None if run.stepping is None else {"share": _short(run.stepping), "noise": _short(run.stepping_noise)},
    }
    return {**entry, "check": _check(entry)}


def _figures(value: Measured) -> dict[str, Any]:
    return {name: _short(number) for name, number in zip(_MEASURED, value, strict=True)}


def _short(value: float, digits: int = 6) -> float | int:
    """A number to so many digits, whole where it is."""
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _word(name: str, value: float) -> Any:
    return _WORDS[name][int(value)] if name in _WORDS else _short(value)


def _scalar(value: Any) -> str:
    """A value in YAML's flow style, of which JSON is a part but for keys without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_scalar(one)}" for name, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _check(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


class _Fault(Exception):
    """What is wrong, and where."""

    def __init__(self, span: Span, message: str) -> None:
        super().__init__(message)
        self.span = span


def read_profile(path: Path, name: str, others: Sequence[str], bag: Bag) -> Profile | None:
    """Read a profile; None, and a diagnostic, where there is none or it is not as it was written.

    Args:
        path: The file.
        name: As it was asked for.
        others: Names of the profiles beside it.
        bag: Takes the diagnostics.
    """
    start = Span(str(path), 1, 1, 1, 2)
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        bag.add(no_profile(path, name, others))
        return None
    except UnicodeDecodeError as error:
        bag.add(bad_profile(start, f"`{path}` is not UTF-8 from byte {error.start + 1} on"))
        return None
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        bag.add(bad_profile(start, f"`{path}` cannot be read: {reason}"))
        return None
    bag.sources[str(path)] = text
    if len(content) > MOST_BYTES:
        bag.add(bad_profile(start, f"`{path}` has more than 1 MB; a profile has a kilobyte a run"))
        return None
    own = Bag()
    try:
        root = parse_yaml(str(path), text, own)
    except CompilationError:
        root = None
    if own.errors:
        first: Diagnostic = own.errors[0]
        bag.add(bad_profile(first.span, first.message))
        return None
    try:
        return _profile(root, path, bag, start)
    except _Fault as fault:
        bag.add(bad_profile(fault.span, str(fault)))
        return None


def _profile(root: Node | None, path: Path, bag: Bag, start: Span) -> Profile | None:
    if root is None or "llmspec_profile" not in root.mapping:
        raise _Fault(start, f"`{path}` is not a profile")
    version = root.mapping["llmspec_profile"]
    if version.value != FORMAT:
        raise _Fault(version.span, f"the profile has format {version.value}; this llmspec knows {FORMAT}")
    fields = _fields(root, _HEAD, "the profile")
    head = {name: _text(fields[name]) for name in ("name", "accelerator", "constants")}
    runs = fields["runs"].value
    if not isinstance(runs, list) or not 1 <= len(runs) <= MOST_RUNS:
        raise _Fault(fields["runs"].place, f"`runs` is a list of 1 to {MOST_RUNS} runs")
    read = [_run(node) for node in runs]
    if _text(fields["check"]) != _check({"llmspec_profile": FORMAT, **head, "runs": [_text(node.mapping["check"]) for node in runs]}):
        raise _Fault(fields["check"].span, "the profile was edited: its check does not fit its head and the checks of its runs")
    if head["constants"] != constants_in_use():
        bag.add(other_constants(fields["constants"].span, head["name"]))
        return None
    return Profile(head["name"], head["accelerator"], read, str(path))


def _run(node: Node) -> Run:
    fields = _fields(node, _RUN, "a run")
    sizes, kinds = _fields(fields["sizes"], SIZES, "`sizes`"), _fields(fields["kinds"], KINDS, "`kinds`")
    counted = _fields(fields["counted"], ("steps", "intervals"), "`counted`")
    stepping = None
    if fields["stepping"].value is not None:
        given = _fields(fields["stepping"], ("share", "noise"), "`stepping`")
        stepping = _number(given["share"], 0.0, 1.0), _number(given["noise"], 0.0, 1e6)
    run = Run(
        name=_text(fields["name"]),
        log=_text(fields["log"]),
        engine=_text(fields["engine"]),
        precision=_text(fields["precision"]),
        sizes=tuple(_number(one, 0.0, 1e12) for one in sizes.values()),
        kinds=tuple(_kind(name, one) for name, one in kinds.items()),
        steps=int(_number(counted["steps"], 1, 1e12)),
        intervals=int(_number(counted["intervals"], 1, 1e12)),
        step_seconds=_measured(fields["step_seconds"], "step_seconds"),
        memory_gib=None if fields["memory_gib"].value is None else _measured(fields["memory_gib"], "memory_gib"),
        stepping=None if stepping is None else stepping[0],
        stepping_noise=0.0 if stepping is None else stepping[1],
    )
    if _entry(run)["check"] != _text(fields["check"]):
        raise _Fault(fields["check"].span, f"the run `{run.name}` was edited: its check does not fit its values")
    return run


def _measured(node: Node, name: str) -> Measured:
    fields = _fields(node, _MEASURED, f"`{name}`")
    values = Measured(*(_number(one, 0.0, 1e9) for one in fields.values()))
    if not 0 < values.low <= values.estimated <= values.high or values.low == values.high or values.measured <= 0:
        raise _Fault(node.place, f"`{name}` has to be above 0, and its estimate between low and high")
    return values


def _fields(node: Node, names: Sequence[str], what: str) -> dict[str, Node]:
    """The entries of a mapping that has just these names, in their order."""
    if not isinstance(node.value, dict):
        raise _Fault(node.place, f"{what} is no mapping")
    for name, entry in node.value.items():
        if name not in names:
            raise _Fault(entry.key_span or entry.span, f"{what} has no `{name}`")
    for name in names:
        if name not in node.value:
            raise _Fault(node.place, f"`{name}` of {what} is missing")
    return {name: node.value[name] for name in names}


def _text(node: Node) -> str:
    if not isinstance(node.value, str):
        raise _Fault(node.place, "a text is expected here")
    return node.value


def _number(node: Node, low: float, high: float) -> float:
    value = node.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise _Fault(node.place, f"a number from {low:g} to {high:g} is expected here")
    return float(value)


def _kind(name: str, node: Node) -> float:
    if name not in _WORDS:
        return _number(node, 0.0, 1e3)
    words = _WORDS[name]
    if type(node.value) not in {type(word) for word in words} or node.value not in words:
        raise _Fault(node.place, f"`{name}` is one of {', '.join(json.dumps(word) for word in words)}")
    return float(words.index(node.value))
