"""A build that is cut off at any moment leaves the old project or the new one, and nothing of the user's is lost."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from llmspec.diagnostics import Bag
from llmspec.emit import write as write_module
from llmspec.emit.changes import Changes
from llmspec.emit.disk import Disk
from llmspec.emit.project import EmittedText, Project
from tests.rebuild.projects import SPAN, attempt, build, plan, project, tree, visible


class PowerCut(BaseException):
    """The process is gone: nothing after this runs."""


class MortalDisk(Disk):
    """A disk on which a number of operations succeed; at the next one the power goes, before it or in its middle."""

    def __init__(self, life: int, torn: bool = False) -> None:
        self.life, self.torn, self.is_dead = life, torn, False

    def __getattribute__(self, name: str) -> Any:
        attribute = super().__getattribute__(name)
        if name.startswith("_") or not callable(attribute):
            return attribute

        @functools.wraps(attribute)
        def operation(*arguments: Any) -> Any:
            if self.is_dead or self.life == 0:
                if self.torn and not self.is_dead:
                    tear(name, arguments)
                self.is_dead = True
                raise PowerCut
            self.life -= 1
            return attribute(*arguments)

        return operation


def tear(name: str, arguments: tuple[Any, ...]) -> None:
    """Do half of an operation that can stop half-way."""
    path: Path = arguments[0]
    if name == "write":
        path.write_bytes(arguments[1][: len(arguments[1]) // 2])
    elif name == "make_directories":
        path.parent.mkdir(parents=True, exist_ok=True)
    elif name == "remove_tree" and path.is_dir():
        for half in list(path.rglob("*"))[::2]:
            if half.is_file():
                half.unlink()


OLD = project() | {"tests/test_x.py": EmittedText("x = 1\n"), "stale.py": EmittedText("stale\n")}
NEW = project(train="".join(f"step_{i} = {i}\n" for i in range(1, 9)), config="seed = 5\n") | {"deep/new.py": EmittedText("new\n")}
MINE = {"notes.md": "mine\n", "data/shard.bin": "tokens", "run/state.json": "{}"}


def settle(tmp_path: Path) -> Path:
    """A project with edits, a deletion, data and files of the user's own."""
    out = tmp_path / "generated" / "run"
    build(OLD, out)
    (out / "train.py").write_text("mine = 1\n" + OLD["train.py"].text)
    (out / "model.py").unlink()
    for path, text in MINE.items():
        (out / path).parent.mkdir(exist_ok=True)
        (out / path).write_text(text)
    return out


def without_record(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if not path.startswith(".llmspec/") or path == ".llmspec/lock.json"}


def cut(function: Callable[..., None], *arguments: object, life: int, torn: bool) -> bool:
    """Call with a disk that dies; whether it died."""
    try:
        function(*arguments, span=SPAN, bag=Bag(), disk=MortalDisk(life, torn))
    except PowerCut:
        return True
    return False


def planned(render: Project, out: Path) -> Changes:
    changes = plan(render, out).changes
    assert changes is not None
    return changes


@pytest.mark.parametrize("torn", [False, True])
def test_rebuild_cut_off_anywhere_is_wholly_old_or_wholly_new(tmp_path: Path, torn: bool) -> None:
    old = tree(settle(tmp_path / "old"))
    reference = settle(tmp_path / "reference")
    assert build(NEW, reference).codes == []
    new = tree(reference)
    seen = []
    for life in range(1000):
        out = settle(tmp_path / str(life))
        if not cut(write_module.apply, planned(NEW, out), life=life, torn=torn):
            assert tree(out) == new
            break
        # Before anything is recovered: what is the user's is there, and every file is whole, old or new.
        for path, content in without_record(tree(out)).items():
            assert content in (old.get(path), new.get(path)), (life, path)
        assert attempt(write_module.recover, out).codes == []
        assert tree(out) in (old, new), life
        seen.append(tree(out) == new)
        assert build(NEW, out).codes == []
        assert tree(out) == new
    assert seen == sorted(seen), "once the moves begin, the project counts as new"
    assert seen.count(False) > 5
    assert seen.count(True) > 5


@pytest.mark.parametrize("torn", [False, True])
def test_recovery_cut_off_anywhere_can_be_taken_up_again(tmp_path: Path, torn: bool) -> None:
    reference = settle(tmp_path / "reference")
    build(NEW, reference)
    new = tree(reference)
    committed = next(life for life in range(100) if journal_exists_after(tmp_path / f"probe-{life}", life))
    for life in range(1000):
        out = settle(tmp_path / str(life))
        assert cut(write_module.apply, planned(NEW, out), life=committed + 2, torn=torn)
        if not cut(write_module.recover, out, life=life, torn=torn):
            break
        cut(write_module.recover, out, life=life // 2, torn=torn)
        assert attempt(write_module.recover, out).codes == []
        assert tree(out) == new
    assert life > 5


def journal_exists_after(directory: Path, life: int) -> bool:
    out = settle(directory)
    cut(write_module.apply, planned(NEW, out), life=life, torn=False)
    return (out / ".llmspec" / "journal.json").exists()


@pytest.mark.parametrize("torn", [False, True])
def test_first_build_cut_off_anywhere_leaves_nothing_or_all(tmp_path: Path, torn: bool) -> None:
    for life in range(1000):
        parent = tmp_path / str(life)
        if not cut(write_module.apply, planned(NEW, parent / "run"), life=life, torn=torn):
            break
        if (parent / "run").exists():
            assert visible(parent / "run") == {path: file.text for path, file in NEW.items()}
        assert build(NEW, parent / "run").codes == []
        assert [path.name for path in parent.iterdir()] == ["run"], "what the interrupted build left is gone"
    assert life > 10


class RecordingDisk(Disk):
    """A disk that knows which of the names and contents on it would survive a power cut."""

    def __init__(self) -> None:
        self.unsafe: set[Path] = set()
        self.moved: list[str] = []

    def write(self, path: Path, content: bytes, mode: int | None, executable: bool) -> None:
        super().write(path, content, mode, executable)
        self.unsafe |= {path, path.parent}

    def sync(self, paths: Iterable[Path]) -> None:
        paths = list(paths)
        super().sync(paths)
        self.unsafe -= set(paths)

    def replace(self, source: Path, target: Path) -> None:
        assert not self.unsafe, "moved before everything was durable"
        super().replace(source, target)
        self.unsafe.add(target.parent)
        if target.name != "journal.json":
            self.unsafe.clear()  # the moves themselves can be made again
            self.moved.append(target.name)


@pytest.mark.parametrize("is_new", [False, True])
def test_nothing_is_moved_before_it_is_durable(tmp_path: Path, is_new: bool) -> None:
    out = tmp_path / "fresh" if is_new else settle(tmp_path)
    disk = RecordingDisk()
    write_module.apply(planned(NEW, out), span=SPAN, bag=Bag(), disk=disk)
    assert disk.moved == ["fresh"] if is_new else {"train.py", "config.py", "new.py", "lock.json"} <= set(disk.moved)


def test_an_edit_between_the_cut_and_the_next_build_is_kept_beside(tmp_path: Path) -> None:
    committed = next(life for life in range(100) if journal_exists_after(tmp_path / f"probe-{life}", life))
    out = settle(tmp_path / "project")
    cut(write_module.apply, planned(NEW, out), life=committed, torn=False)
    for path in ("train.py", "stale.py", "deep/new.py"):
        (out / path).parent.mkdir(exist_ok=True)
        (out / path).write_text("edited after the power cut")
    (out / "train.py.yours").write_text("mine already")
    outcome = build(NEW, out)
    assert outcome.codes == ["LS511", "LS511"]
    files = visible(out)
    assert files["train.py"] == "mine = 1\n" + NEW["train.py"].text
    assert files["train.py.yours"] == "mine already"
    assert files["train.py.yours-2"] == files["deep/new.py.yours"] == files["stale.py"] == "edited after the power cut"
    assert files["deep/new.py"] == "new\n"


def test_a_journal_that_leads_outside_is_refused(out: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("precious")
    (out / ".llmspec" / "journal.json").write_text('[{"target": "../../outside.py", "staged": null, "guarded": false, "found": null}]')
    assert build(project(), out).codes == ["LS505"]
    (out / ".llmspec" / "journal.json").write_text('{"a": 1}')
    assert build(project(), out).codes == ["LS505"]
    assert (tmp_path / "outside.py").read_text() == "precious"


def test_a_link_made_after_the_cut_is_not_written_through(tmp_path: Path) -> None:
    committed = next(life for life in range(100) if journal_exists_after(tmp_path / f"probe-{life}", life))
    out = settle(tmp_path / "project")
    cut(write_module.apply, planned(NEW, out), life=committed, torn=False)
    (tmp_path / "outside").mkdir()
    (out / "deep").symlink_to(tmp_path / "outside")
    assert build(NEW, out).codes == ["LS502"]
    assert list((tmp_path / "outside").iterdir()) == []
    (out / "deep").unlink()
    assert build(NEW, out).codes == []
    assert visible(out)["deep/new.py"] == "new\n"
