"""Writes what was found into the spec's own file, such that it then means just that."""

import codecs
import os
import shutil
import tempfile
from pathlib import Path

from llmspec.diagnostics import Bag, CompilationError
from llmspec.resolve import resolve
from llmspec.search import problems
from llmspec.search.result import Finalist, Result
from llmspec.search.space import Changes
from llmspec.spec import compose, load
from llmspec.spec.edit import NotEditableError, edited
from llmspec.spec.schema import Spec
from llmspec.spec.tree import Scalar, parse_scalar
from llmspec.variants import changed


def needed(result: Result, found: Finalist) -> Changes:
    """The changes without which the spec would mean something else: what is derived or said already is left out."""
    wanted = spec_of(found)
    changes = found.changes
    for change in found.changes:
        fewer = tuple(one for one in changes if one != change)
        resolved = changed(result.base.composed, fewer)
        if resolved is not None and resolved.spec == wanted:
            changes = fewer
    return changes


def spec_of(found: Finalist) -> Spec:
    """What the spec resolves to with the changes."""
    assert found.case.analysis is not None
    return found.case.analysis.resolved.spec


def value_of(text: str) -> Scalar:
    """The value that an override's text means."""
    return parse_scalar(text)


def apply(result: Result, found: Finalist, path: Path, bag: Bag) -> Changes:
    """Write the changes into the file; nothing is written where it would then mean anything else.

    Raises:
        CompilationError: The file cannot be edited or written; the bag says why.
    """
    changes = needed(result, found)
    if not changes:
        return changes
    source = result.base.composed.source
    try:
        text = edited(source, [(name, value_of(value)) for name, value in changes])
    except NotEditableError as error:
        bag.add(problems.not_editable(path, str(error), error.span))
        bag.raise_if_errors()
    target = path.resolve()
    try:
        mark = codecs.BOM_UTF8 if target.read_bytes().startswith(codecs.BOM_UTF8) else b""
        if not os.access(target, os.W_OK):
            raise PermissionError(13, "permission denied")
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        trial = Path(name)
    except OSError as error:
        bag.add(problems.not_writable(path, (error.strerror or str(error)).lower()))
        bag.raise_if_errors()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(mark + text.encode("utf-8"))
        if not _means(trial, spec_of(found)):
            bag.add(problems.not_editable(path, "with the changes it would mean something else than was found"))
            bag.raise_if_errors()
        shutil.copymode(target, trial)
        trial.replace(target)
    except OSError as error:
        bag.add(problems.not_writable(path, (error.strerror or str(error)).lower()))
        bag.raise_if_errors()
    finally:
        trial.unlink(missing_ok=True)
    return changes


def _means(path: Path, wanted: Spec) -> bool:
    """Whether a file resolves to a spec."""
    bag = Bag()
    try:
        composed = compose(path, (), bag)
        bag.raise_if_errors()
        spec = load(composed, bag)
        bag.raise_if_errors()
        return resolve(composed, spec, bag).spec == wanted
    except CompilationError:
        return False
