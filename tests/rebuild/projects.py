"""A small project, and what building it yields."""

from dataclasses import dataclass, field
from pathlib import Path

from llmspec.diagnostics import Bag, CompilationError, Span
from llmspec.emit.changes import Changes, plan_changes
from llmspec.emit.project import EmittedText, Project
from llmspec.emit.write import write

SPAN = Span("spec.yaml", 3, 1, 3, 5)


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, hidden ones too."""
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def visible(directory: Path) -> dict[str, str]:
    """Every file below a directory, save the record."""
    return {path: content.decode() for path, content in tree(directory).items() if not path.startswith(".llmspec/")}


def project(**changed: str | None) -> Project:
    """A project of a few files; `train="..."` changes train.py, `train=None` leaves it out."""
    texts: dict[str, str | None] = {
        "train": "".join(f"step_{i} = {i}\n" for i in range(1, 10)),
        "config": "learning_rate = 1\n\n\nseed = 2\n",
        "model": "class Model:\n    depth = 2\n",
    }
    files = {f"{name}.py": EmittedText(text) for name, text in (texts | changed).items() if text is not None}
    return {**files, "launch/local.sh": EmittedText("#!/bin/sh\necho go\n", executable=True)}


@dataclass
class Outcome:
    """What a build did, or the codes with which it refused."""

    changes: Changes | None
    bag: Bag
    codes: list[str] = field(default_factory=list)

    def status(self, path: str) -> str:
        assert self.changes is not None
        return {file.path: str(file.status) for file in self.changes.files}[path]


def attempt(function: object, *arguments: object) -> Outcome:
    bag = Bag()
    try:
        changes = function(*arguments, span=SPAN, bag=bag)  # type: ignore[operator]
    except CompilationError:
        changes = None
    return Outcome(changes, bag, [diagnostic.code for diagnostic in bag])


def build(rendered: Project, directory: Path) -> Outcome:
    return attempt(write, rendered, directory)


def plan(rendered: Project, directory: Path) -> Outcome:
    before = tree(directory) if directory.is_dir() else None
    outcome = attempt(plan_changes, rendered, directory)
    assert before == (tree(directory) if directory.is_dir() else None), "planning wrote something"
    return outcome
