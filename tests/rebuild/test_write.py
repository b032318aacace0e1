"""What a rebuild does to each kind of file."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from llmspec.emit.changes import Status, unified_diff
from llmspec.emit.project import EmittedText
from tests.rebuild.projects import build, plan, project, tree, visible

TRAIN = project()["train.py"].text


def texts(rendered: dict[str, EmittedText]) -> dict[str, str]:
    return {path: file.text for path, file in rendered.items()}


def test_first_build_writes_all(tmp_path: Path) -> None:
    outcome = build(project(), tmp_path / "a" / "b" / "run")
    assert visible(tmp_path / "a" / "b" / "run") == texts(project())
    assert outcome.changes is not None
    assert outcome.changes.counts[Status.CREATED] == 4 == sum(outcome.changes.counts.values())
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["run"]


def test_first_build_into_an_empty_directory_and_beside_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus.txt").write_text("precious")
    (tmp_path / ".git").mkdir()
    assert build(project(), tmp_path).codes == []
    assert visible(tmp_path) == {**texts(project()), "data/corpus.txt": "precious"}
    assert not (tmp_path / ".llmspec" / "staging").exists()


def test_output_directory_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "run").symlink_to("big-disk")
    assert build(project(), tmp_path / "run").codes == []
    assert visible(tmp_path / "big-disk") == texts(project())


def test_the_record_is_the_same_wherever_and_whenever_it_is_written(out: Path, tmp_path: Path) -> None:
    build(dict(reversed(project().items())), tmp_path / "elsewhere")
    assert tree(tmp_path / "elsewhere") == tree(out)
    lock = json.loads((out / ".llmspec" / "lock.json").read_text())
    assert list(lock["files"]) == sorted(project())
    assert lock["files"]["launch/local.sh"]["executable"] is True


def test_same_render_touches_nothing(out: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    outcome = build(project(), out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    assert outcome.changes is not None
    assert outcome.changes.counts[Status.UNCHANGED] == 4
    assert outcome.changes.drift == ()


def test_unedited_file_takes_the_new_render(out: Path) -> None:
    outcome = build(project(config="seed = 3\n"), out)
    assert outcome.status("config.py") == "changed"
    assert visible(out) == texts(project(config="seed = 3\n"))
    assert (out / ".llmspec" / "base" / "config.py").read_text() == "seed = 3\n"
    assert tree(out).keys() >= {".llmspec/lock.json"}


def test_edit_is_kept_where_the_render_stays(out: Path) -> None:
    (out / "train.py").write_text(TRAIN + "mine = 1\n")
    for _ in range(2):
        outcome = build(project(config="seed = 3\n"), out)
        assert outcome.status("train.py") == "kept"
        assert outcome.codes == []
        assert (out / "train.py").read_text() == TRAIN + "mine = 1\n"


def test_edit_and_new_render_merge_again_and_again(out: Path) -> None:
    (out / "train.py").write_text("mine = 1\n" + TRAIN)
    for number in range(20, 23):
        render = TRAIN.replace("step_9 = 9", f"step_9 = {number}")
        outcome = build(project(train=render), out)
        assert (outcome.status("train.py"), outcome.codes) == ("merged", [])
        assert (out / "train.py").read_text() == "mine = 1\n" + render
    assert build(project(train=render), out).status("train.py") == "kept"


def test_same_edit_by_hand_is_no_change(out: Path) -> None:
    new = TRAIN.replace("step_9 = 9", "step_9 = 10")
    (out / "train.py").write_text(new)
    outcome = build(project(train=new), out)
    assert outcome.status("train.py") == "unchanged"
    # The record followed, so that the next render starts from there.
    assert build(project(train=TRAIN), out).status("train.py") == "changed"
    assert (out / "train.py").read_text() == TRAIN


def test_conflict_is_marked_reported_and_must_be_resolved(out: Path) -> None:
    (out / "config.py").write_text("learning_rate = 7\n\n\nseed = 2\n")
    new = project(config="learning_rate = 5\n\n\nseed = 2\n", model="class Model:\n    depth = 4\n")
    outcome = build(new, out)
    marked = "<<<<<<< yours\nlearning_rate = 7\n=======\nlearning_rate = 5\n>>>>>>> new render\n\n\nseed = 2\n"
    assert (out / "config.py").read_text() == marked
    assert (out / "model.py").read_text() == "class Model:\n    depth = 4\n"
    assert outcome.codes == ["LS504"]
    (problem,) = outcome.bag
    assert (problem.span.file, problem.span.line) == (str(out / "config.py"), 1)
    assert outcome.bag.sources[problem.span.file] == marked

    before = tree(out)
    again = build(project(config="learning_rate = 6\n"), out)
    assert again.codes == ["LS507"]
    assert [diagnostic.span.line for diagnostic in again.bag] == [1]
    assert tree(out) == before

    (out / "config.py").write_text("learning_rate = 7\n\n\nseed = 2\n")
    assert build(new, out).status("config.py") == "kept"
    settled = build(project(config="learning_rate = 5\n\n\nseed = 3\n"), out)
    assert (settled.status("config.py"), settled.codes) == ("merged", [])
    assert (out / "config.py").read_text() == "learning_rate = 7\n\n\nseed = 3\n"


def test_deleted_file_stays_deleted(out: Path) -> None:
    (out / "model.py").unlink()
    for text in ("class Model: ...\n", "class Model: ...\n", "class Network: ...\n"):
        outcome = build(project(model=text), out)
        assert (outcome.status("model.py"), outcome.codes) == ("kept deleted", [])
        assert not (out / "model.py").exists()
    # How to have it back.
    (out / "model.py").write_bytes((out / ".llmspec" / "base" / "model.py").read_bytes())
    assert build(project(), out).status("model.py") == "changed"
    assert visible(out) == texts(project())


def test_file_that_is_no_longer_rendered_goes(out: Path) -> None:
    build(project() | {"tests/deep/test_x.py": EmittedText("x = 1\n")}, out)
    assert (out / "tests" / "deep" / "test_x.py").exists()
    outcome = build(project(), out)
    assert outcome.status("tests/deep/test_x.py") == "removed"
    assert not (out / "tests").exists()
    assert not (out / ".llmspec" / "base" / "tests").exists()
    assert visible(out) == texts(project())


def test_directory_of_a_removed_file_stays_while_it_holds_something_of_yours(out: Path) -> None:
    build(project() | {"tests/test_x.py": EmittedText("x = 1\n")}, out)
    (out / "tests" / "test_mine.py").write_text("mine")
    build(project(), out)
    assert visible(out) == {**texts(project()), "tests/test_mine.py": "mine"}


def test_edited_file_that_is_no_longer_rendered_is_kept_and_merges_later(out: Path) -> None:
    (out / "train.py").write_text("mine = 1\n" + TRAIN)
    for _ in range(2):
        outcome = build(project(train=None), out)
        assert outcome.status("train.py") == "kept, no longer rendered"
        assert [file.path for file in outcome.changes.drift] == ["train.py"] if outcome.changes else False
    assert build(project(train=TRAIN + "new = 1\n"), out).status("train.py") == "merged"
    assert (out / "train.py").read_text() == "mine = 1\n" + TRAIN + "new = 1\n"
    build(project(train=None), out)
    (out / "train.py").unlink()
    build(project(train=None), out)
    assert "train.py" not in (out / ".llmspec" / "lock.json").read_text()


def test_file_that_the_user_wrote_first_is_never_overwritten(out: Path) -> None:
    (out / "export.py").write_text("mine\n")
    before = tree(out)
    outcome = build(project(config="seed = 9\n") | {"export.py": EmittedText("rendered\n")}, out)
    assert outcome.codes == ["LS506"]
    assert tree(out) == before
    # The very text that is rendered is no obstacle.
    assert build(project() | {"export.py": EmittedText("mine\n")}, out).status("export.py") == "unchanged"


def test_executable_bits(out: Path) -> None:
    script = out / "launch" / "local.sh"
    assert os.access(script, os.X_OK)
    assert not os.access(out / "train.py", os.X_OK)
    script.chmod(0o600)
    (out / "train.py").chmod(0o755)
    assert [file.path for file in plan(project(), out).changes.drift] == ["launch/local.sh"]  # type: ignore[union-attr]
    assert build(project(), out).status("launch/local.sh") == "changed"
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "train.py").stat().st_mode) == 0o755
    plain = project() | {"launch/local.sh": EmittedText("#!/bin/sh\necho go\n", executable=False)}
    build(plain, out)
    assert stat.S_IMODE(script.stat().st_mode) == 0o600


def test_new_files_follow_the_umask_and_replaced_ones_keep_their_permissions(tmp_path: Path) -> None:
    earlier = os.umask(0o027)
    try:
        build(project(), tmp_path / "run")
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "run" / "train.py").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "run" / "launch" / "local.sh").stat().st_mode) == 0o750
    build(project(train="x = 1\n"), tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run" / "train.py").stat().st_mode) == 0o640


def test_files_that_are_not_text_survive(out: Path) -> None:
    (out / "config.py").write_bytes(b"\xff\xfe\x00binary\r\n")
    (out / "train.py").write_bytes(b"# caf\xe9 in latin-1\r\n" + TRAIN.encode())
    assert build(project(train=TRAIN + "new = 1\n"), out).codes == []
    assert (out / "config.py").read_bytes() == b"\xff\xfe\x00binary\r\n"
    assert (out / "train.py").read_bytes() == b"# caf\xe9 in latin-1\r\n" + TRAIN.encode() + b"new = 1\n"
    conflict = build(project(config="seed = 1\n"), out)
    assert conflict.codes == ["LS504"]
    assert b"\xff\xfe\x00binary\r\n" in (out / "config.py").read_bytes()
    unified_diff(plan(project(train="x\n"), out).changes or conflict.changes).encode()  # type: ignore[arg-type]


def test_what_is_not_rendered_is_never_touched(out: Path) -> None:
    (out / "data").mkdir()
    (out / "data" / "shard.bin").write_bytes(b"\0" * 1000)
    (out / "notes.md").write_text("mine")
    (out / "run").symlink_to("/nonexistent")
    inode = (out / "data").stat().st_ino, (out / "data" / "shard.bin").stat().st_ino, (out / "notes.md").stat().st_mtime_ns
    build(project(train=None, config="seed = 5\n"), out)
    after = (out / "data").stat().st_ino, (out / "data" / "shard.bin").stat().st_ino, (out / "notes.md").stat().st_mtime_ns
    assert after == inode
    assert (out / "run").is_symlink()


def test_check_and_diff_tell_where_the_directory_differs_from_the_spec(out: Path) -> None:
    clean = plan(project(), out).changes
    assert clean is not None
    assert (clean.drift, clean.written, unified_diff(clean)) == ((), (), "")
    (out / "train.py").write_text("mine = 1\n" + TRAIN)
    (out / "model.py").unlink()
    changes = plan(project(config="seed = 9") | {"new.py": EmittedText("new = 1\n")}, out).changes
    assert changes is not None
    assert [file.path for file in changes.drift] == ["config.py", "model.py", "new.py", "train.py"]
    assert [file.path for file in changes.written] == ["config.py", "new.py"]
    assert unified_diff(changes) == (
        "--- a/config.py\ton disk\n+++ b/config.py\tafter the build\n@@ -1,4 +1 @@\n"
        "-learning_rate = 1\n-\n-\n-seed = 2\n+seed = 9\n\\ No newline at end of file\n"
        "--- a/model.py\trendered\n+++ /dev/null\tyours, kept\n@@ -1,2 +0,0 @@\n-class Model:\n-    depth = 2\n"
        "--- /dev/null\ton disk\n+++ b/new.py\tafter the build\n@@ -0,0 +1 @@\n+new = 1\n"
        "--- a/train.py\trendered\n+++ b/train.py\tyours, kept\n@@ -1,3 +1,4 @@\n+mine = 1\n step_1 = 1\n step_2 = 2\n step_3 = 3\n"
    )


def test_plan_of_a_project_that_is_not_there(tmp_path: Path) -> None:
    changes = plan(project(), tmp_path / "none" / "run").changes
    assert changes is not None
    assert changes.counts[Status.CREATED] == 4
    assert not (tmp_path / "none").exists()


def test_the_diff_is_a_patch_that_does_what_the_build_does(out: Path, tmp_path: Path) -> None:
    render = project(train="x = 1", config=None) | {"deep/new.py": EmittedText("new = 1\n")}
    changes = plan(render, out).changes
    assert changes is not None
    patched = tmp_path / "patched"
    shutil.copytree(out, patched)
    subprocess.run(["git", "apply", "-"], input=unified_diff(changes), text=True, cwd=patched, check=True)
    build(render, out)
    assert visible(patched) == visible(out)


def test_two_builds_at_once(tmp_path: Path) -> None:
    """Processes that build different specs into one directory: whichever wins, the project is one of them."""
    program = (
        "import sys; from pathlib import Path; from tests.rebuild.projects import build, project\n"
        "for _ in range(15): build(project(train=sys.argv[1], config=sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen([*command, f"x = {i}\n", str(tmp_path / "run")], cwd=root, stderr=subprocess.PIPE) for i in (1, 2)]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert visible(tmp_path / "run") in [texts(project(train=f"x = {i}\n", config=f"x = {i}\n")) for i in (1, 2)]
    assert build(project(train="x = 3\n"), tmp_path / "run").codes == []
    assert visible(tmp_path / "run") == texts(project(train="x = 3\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
