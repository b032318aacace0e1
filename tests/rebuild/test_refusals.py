"""Directories that cannot take a project: a diagnostic, and nothing written."""

import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspec.diagnostics.codes import CODES
from llmspec.emit import problems
from llmspec.emit import write as write_module
from llmspec.emit.changes import plan_changes
from llmspec.emit.disk import Disk
from llmspec.emit.project import EmittedText
from tests.rebuild.projects import SPAN, attempt, build, plan, project, tree


def spoil_lock(**fields: object) -> Callable[[Path], None]:
    def spoil(out: Path) -> None:
        lock = out / ".llmspec" / "lock.json"
        lock.write_text(json.dumps(json.loads(lock.read_text()) | fields))

    return spoil


def write_text(path: str, text: str) -> Callable[[Path], None]:
    def write(out: Path) -> None:
        (out / path).write_text(text)

    return write


def link(path: str) -> Callable[[Path], None]:
    """Move a part of the project out of it and leave a link."""

    def replace(out: Path) -> None:
        away = out.parent.parent / "away"
        (out / path).rename(away)
        (out / path).symlink_to(away)

    return replace


def directory_instead(out: Path) -> None:
    (out / "new").mkdir()
    (out / "new" / "mine.txt").write_text("mine")


ESCAPES = {"../../escape.py": {"sha256": "", "executable": False}}

SPOILED = {
    "a lock of a newer llmspec": (spoil_lock(format=2, llmspec="9.1"), "LS510"),
    "a lock that is not JSON": (write_text(".llmspec/lock.json", "{"), "LS505"),
    "a lock of deep nesting": (write_text(".llmspec/lock.json", "[" * 200_000), "LS505"),
    "a lock that is another thing": (write_text(".llmspec/lock.json", "[]"), "LS505"),
    "a lock without a format": (spoil_lock(format=None), "LS505"),
    "a lock that names a file outside": (spoil_lock(files=ESCAPES), "LS505"),
    "a lock with a bad entry": (spoil_lock(files={"train.py": "x"}), "LS505"),
    "an edited base": (write_text(".llmspec/base/train.py", "mine"), "LS505"),
    "a missing base": (lambda out: (out / ".llmspec/base/train.py").unlink(), "LS505"),
    "no lock": (lambda out: (out / ".llmspec/lock.json").unlink(), "LS503"),
    "a linked record": (link(".llmspec"), "LS508"),
    "a linked base": (link(".llmspec/base"), "LS508"),
    "a linked file": (link("train.py"), "LS508"),
    "a linked directory": (link("launch"), "LS508"),
    "a file where a new directory goes": (write_text("new", "mine"), "LS506"),
    "a directory where a new file goes": (lambda out: (out / "fresh.py").mkdir(), "LS506"),
    "a dangling link where a new file goes": (lambda out: (out / "fresh.py").symlink_to("nowhere"), "LS508"),
    "conflict markers of another tool": (write_text("train.py", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n"), "LS507"),
}


@pytest.mark.parametrize(("spoil", "code"), SPOILED.values(), ids=SPOILED.keys())
def test_spoiled_project(out: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str) -> None:
    spoil(out)
    before = tree(tmp_path)
    render = project(train="x = 1\n") | {
        "launch/local.sh": EmittedText("echo new\n"),
        "new/file.py": EmittedText("new\n"),
        "fresh.py": EmittedText("new\n"),
    }
    outcome = build(render, out)
    assert outcome.codes[:1] == [code], [diagnostic.message for diagnostic in outcome.bag]
    assert outcome.changes is None
    assert tree(tmp_path) == before
    assert all(diagnostic.help for diagnostic in outcome.bag)


def test_links_to_which_nothing_is_written_are_fine(out: Path) -> None:
    link("launch")(out)
    outcome = build(project(train="x = 1\n"), out)
    assert outcome.codes == []
    assert (out / "launch").is_symlink()


@pytest.mark.parametrize("path", ["file.txt", "file.txt/below/it"])
def test_output_is_a_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").write_text("mine")
    for outcome in (build(project(), tmp_path / path), plan(project(), tmp_path / path)):
        assert outcome.codes == ["LS501"]
        assert [diagnostic.span for diagnostic in outcome.bag] == [SPAN]
    assert tree(tmp_path) == {"file.txt": b"mine"}


def test_output_holds_something_else(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    outcome = build(project(), tmp_path)
    assert outcome.codes == ["LS503"]
    assert "`a.txt`, `b.txt`, `c.txt` and 1 more" in next(iter(outcome.bag)).message
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["/proc/llmspec/run", "/proc"])
def test_output_is_not_writable(path: str) -> None:
    assert build(project(), Path(path)).codes in (["LS502"], ["LS503"])


class FailingDisk(Disk):
    """A disk that is full after a number of files, or refuses to move them."""

    def __init__(self, room: int = 10**9, moves: int = 10**9) -> None:
        self.room, self.moves = room, moves

    def write(self, path: Path, content: bytes, mode: int | None, executable: bool) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(28, "No space left on device", str(path))
        super().write(path, content, mode, executable)

    def replace(self, source: Path, target: Path) -> None:
        self.moves -= 1
        if self.moves < 0:
            raise OSError(30, "Read-only file system", str(target))
        super().replace(source, target)


@pytest.mark.parametrize("room", range(7))
def test_full_disk(out: Path, tmp_path: Path, room: int) -> None:
    render = project(train="x = 1\n", config="y = 1\n", model=None)
    for directory in (out, tmp_path / "other" / "fresh"):
        changes = plan(render, directory).changes
        before = tree(tmp_path)
        outcome = attempt(write_module.apply, changes)
        assert outcome.codes == []
        for path in sorted(directory.rglob("*"), reverse=True):  # put it back as it was
            path.unlink() if path.is_file() else path.rmdir()
        directory.rmdir()
        for path, content in before.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)

        def applied(planned: object, **options: object) -> None:
            write_module.apply(planned, disk=FailingDisk(room=room), **options)  # type: ignore[arg-type]

        if len(changes.files) > 0 and room < 5:  # type: ignore[union-attr]
            outcome = attempt(applied, changes)
            assert outcome.codes == ["LS502"]
            assert "No space left on device" in next(iter(outcome.bag)).message
            assert tree(tmp_path) == before


def test_failure_among_the_moves_is_finished_by_the_next_build(out: Path) -> None:
    render = project(train="x = 1\n", config="y = 1\n")
    changes = plan(render, out).changes
    outcome = attempt(lambda planned, **o: write_module.apply(planned, disk=FailingDisk(moves=2), **o), changes)
    assert outcome.codes == ["LS502", "LS509"]
    assert plan(render, out).codes == ["LS509"]
    assert build(render, out).codes == []
    assert tree(out)["train.py"] == b"x = 1\n"


def test_file_saved_between_plan_and_write(out: Path) -> None:
    changes = plan(project(train="x = 1\n"), out).changes
    (out / "train.py").write_text("just saved")
    before = tree(out)
    assert attempt(write_module.apply, changes).codes == ["LS512"]
    assert tree(out) == before


def test_other_build_between_plan_and_write(out: Path) -> None:
    changes = plan(project(train="x = 1\n"), out).changes
    build(project(config="y = 1\n"), out)
    before = tree(out)
    assert attempt(write_module.apply, changes).codes == ["LS512"]
    assert tree(out) == before


def test_other_build_at_work(out: Path) -> None:
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    before = tree(out)
    outcome = build(project(train="x = 1\n"), out)
    os.close(descriptor)
    assert outcome.codes == ["LS502"]
    assert "another `llmspec build` is writing to it" in next(iter(outcome.bag)).message
    assert tree(out) == before


@pytest.mark.parametrize(
    "path", ["../train.py", "/train.py", "data/x.py", "run/x.py", ".llmspec/lock.json", "a/../b.py", "", "./a.py", "a//b"]
)
def test_render_outside_of_the_project_is_a_bug(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="outside of the project"):
        attempt(plan_changes, {path: EmittedText("x")}, tmp_path / "run")


def test_codes_and_their_functions_are_the_same() -> None:
    documented = sorted(code for code in CODES if code.startswith(("LS50", "LS51")))
    made = sorted(re.findall(r'problem\("(LS\d+)"', Path(problems.__file__).read_text()))
    assert documented == made
