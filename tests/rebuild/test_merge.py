"""The three-way merge: its laws, and git's own merge as a second opinion."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspec.emit.merge import first_marker, merge, split_lines

# Few distinct lines, so that they repeat, and ends of every kind: no newline at the end, carriage returns, form feeds.
texts = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "    x\n", "a\r\n", "\x0c\n", "\u2028\n"]), max_size=12).flatmap(
    lambda lines: st.sampled_from(["", "a", "tail"]).map(lambda tail: "".join(lines) + tail)
)


@given(texts, texts)
def test_an_untouched_file_takes_the_new_render(base: str, new: str) -> None:
    assert (merge(base, base, new).text, merge(base, base, new).num_conflicts) == (new, 0)


@given(texts, texts)
def test_an_unchanged_render_keeps_the_edit(base: str, yours: str) -> None:
    assert (merge(base, yours, base).text, merge(base, yours, base).num_conflicts) == (yours, 0)


@given(texts, texts)
def test_the_same_change_on_both_sides_is_no_conflict(base: str, changed: str) -> None:
    assert (merge(base, changed, changed).text, merge(base, changed, changed).num_conflicts) == (changed, 0)


@given(texts, texts, texts)
def test_every_line_of_the_result_was_in_one_of_the_sides(base: str, yours: str, new: str) -> None:
    result = merge(base, yours, new)
    known = {line.rstrip("\n") for line in split_lines(yours) + split_lines(new)}
    markers = {"<<<<<<< yours", "=======", ">>>>>>> new render"}
    assert {line.rstrip("\n") for line in split_lines(result.text)} <= known | markers
    assert result.text.count("<<<<<<< yours\n") == result.num_conflicts
    assert (first_marker(result.text) is None) == (result.num_conflicts == 0)


def side(text: str, wanted: str) -> str:
    """What stays of a merged text when each conflict is settled in favour of one side."""
    kept, state = [], "both"
    for line in split_lines(text):
        if line == "<<<<<<< yours\n":
            state = "yours"
        elif line == "=======\n" and state == "yours":
            state = "new"
        elif line == ">>>>>>> new render\n" and state == "new":
            state = "both"
        elif state in ("both", wanted):
            kept.append(line)
    return "".join(kept)


@given(texts.map(lambda t: t + "\n"), texts.map(lambda t: t + "\n"))
def test_with_no_base_both_sides_can_be_had_back(yours: str, new: str) -> None:
    result = merge("", yours, new)
    assert (side(result.text, "yours"), side(result.text, "new")) == (yours, new)


@dataclass
class Case:
    base: str
    yours: str
    new: str
    expected: str | None


@st.composite
def apart(draw: st.DrawFn) -> Case:
    """Edits of distinct lines with an untouched line between any two: what they merge to is known from how they were made."""
    base, yours, new, expected = [], [], [], []
    for number in range(draw(st.integers(1, 8))):
        common = [f"common {number}.{i}\n" for i in range(draw(st.integers(1, 3)))]
        for text in (base, yours, new, expected):
            text += common
        original = [f"original {number}.{i}\n" for i in range(draw(st.integers(0, 3)))]
        changed = [f"changed {number}.{i}\n" for i in range(draw(st.integers(0, 3)))]
        who = draw(st.sampled_from(["yours", "new", "both"]))
        base += original
        yours += original if who == "new" else changed
        new += original if who == "yours" else changed
        expected += changed
    return Case("".join(base), "".join(yours), "".join(new), "".join(expected))


@given(apart())
def test_edits_apart_from_each_other_merge(case: Case) -> None:
    result = merge(case.base, case.yours, case.new)
    assert (result.text, result.num_conflicts) == (case.expected, 0)


def test_a_conflict_shows_both_versions_and_nothing_more() -> None:
    base = "import os\n\nlr = 1\n\nprint(lr)\n"
    result = merge(base, base.replace("lr = 1", "lr = 2"), base.replace("lr = 1", "lr = 3"))
    assert result.text == "import os\n\n<<<<<<< yours\nlr = 2\n=======\nlr = 3\n>>>>>>> new render\n\nprint(lr)\n"
    assert result.num_conflicts == 1
    assert first_marker(result.text) == 3


def test_markers_start_a_line_where_a_side_has_no_last_newline() -> None:
    assert merge("a\n", "b", "c").text == "<<<<<<< yours\nb\n=======\nc\n>>>>>>> new render\n"


def test_a_marker_that_the_render_itself_holds_is_no_conflict() -> None:
    text = "how a conflict looks:\n<<<<<<< yours\n"
    assert first_marker(text, base=text) is None
    assert first_marker(text + ">>>>>>> other\n", base=text) == 3


def git_merge(directory: Path, base: str, yours: str, new: str) -> tuple[str, int]:
    for name, text in (("base", base), ("yours", yours), ("new", new)):
        (directory / name).write_bytes(text.encode())
    command = ["git", "merge-file", "-p", "yours", "base", "new"]
    finished = subprocess.run(command, cwd=directory, capture_output=True, check=False)
    return finished.stdout.decode(), finished.returncode


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_git_agrees(tmp_path: Path, data: st.DataObject) -> None:
    """Random line edits of a file of distinct lines, where there is one shortest difference: no room for two right answers."""
    base = [f"line {i}\n" for i in range(data.draw(st.integers(1, 14)))]

    def edit(who: str) -> list[str]:
        lines = []
        for number, line in enumerate(base):
            match data.draw(st.sampled_from(["keep"] * 8 + ["change", "insert", "delete"])):
                case "keep":
                    lines.append(line)
                case "change":
                    lines.append(f"changed {number} by {who}\n")
                case "insert":
                    lines += [f"inserted {number} by {who}\n", line]
                case _:
                    pass
        return lines

    yours, new = "".join(edit("you")), "".join(edit(data.draw(st.sampled_from(["you", "llmspec"]))))
    result = merge("".join(base), yours, new)
    merged, num_conflicts = git_merge(tmp_path, "".join(base), yours, new)
    assert (result.num_conflicts == 0) == (num_conflicts == 0)
    if num_conflicts == 0:
        assert result.text == merged
