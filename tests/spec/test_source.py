"""Everything that can be wrong with a file before its YAML is read."""

from pathlib import Path

import pytest

from llmspec.diagnostics import Bag, CompilationError, Diagnostic
from llmspec.spec.source import MAX_BYTES, parse, read_source


def problem(path: Path) -> Diagnostic:
    bag = Bag()
    with pytest.raises(CompilationError):
        parse(read_source(path, bag), bag)
    (diagnostic,) = bag
    return diagnostic


def test_missing_with_nearest_names(tmp_path: Path) -> None:
    for name in ("quickstart.yaml", "gpt2.yaml", "quickstart.txt"):
        (tmp_path / name).write_text("a: 1")
    assert problem(tmp_path / "quikstart.yaml").code == "LS001"
    assert problem(tmp_path / "quikstart.yaml").help == (f"did you mean `{tmp_path / 'quickstart.yaml'}`?",)
    assert problem(tmp_path / "quickstart").help == (f"did you mean `{tmp_path / 'quickstart.yaml'}`?",)
    assert problem(tmp_path / "elephant.yaml").help == ()
    assert "no directory" in problem(tmp_path / "nowhere" / "a.yaml").message
    assert problem(tmp_path / "gpt2.yaml" / "a.yaml").code == "LS001"


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1")
    assert problem(tmp_path).code == "LS002"
    assert str(tmp_path / "a.yaml") in problem(tmp_path).help[0]


def test_refused_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")

    def refuse(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert problem(path).code == "LS003"
    assert problem(Path("a\0b.yaml")).code == "LS003"
    assert problem(Path("a" * 5000)).code == "LS003"


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    opened: list[Path] = []
    monkeypatch.setattr(Path, "open", lambda self, *arguments: opened.append(self))
    assert problem(path).code == "LS004"
    assert "50 MB" in problem(path).message
    assert opened == []


def test_endless_files_are_cut_off() -> None:
    assert problem(Path("/dev/zero")).code == "LS004"


def test_largest_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n#" + "x" * (MAX_BYTES - 6))
    bag = Bag()
    parse(read_source(path, bag), bag)
    path.write_text("a: 1\n#" + "x" * (MAX_BYTES - 5))
    assert problem(path).code == "LS004"


@pytest.mark.parametrize(
    ("content", "code", "line", "column"),
    [
        (b"", "LS007", 1, 1),
        (b"\n\n", "LS007", 1, 1),
        (b"# only\n# comments\n", "LS007", 1, 1),
        (b"---\n", "LS007", 1, 1),
        (b"a: 1\nb: \x00\n", "LS005", 1, 1),
        (b"\x80\x02}q\x00", "LS005", 1, 1),
        ("name: é".encode("latin-1"), "LS006", 1, 7),
        (b"a: 1\nb: x\xff", "LS006", 2, 5),
        ("a: 1".encode("utf-16"), "LS006", 1, 1),
        ("a: 1".encode("utf-16-be"), "LS005", 1, 1),
        ("\ufeffa: 1".encode("utf-32"), "LS006", 1, 1),
        (b"a: 1\nb: \x1b[31m", "LS008", 2, 4),
        (b"a: \x7f", "LS008", 1, 4),
        (b"- 1\n- 2", "LS020", 1, 1),
        (b"hello", "LS020", 1, 1),
        (b"null", "LS020", 1, 1),
        (b"a: 1\n  b: 2", "LS010", 2, 4),
    ],
)
def test_contents(content: bytes, code: str, line: int, column: int, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    found = problem(path)
    assert (found.code, found.span.line, found.span.column) == (code, line, column)


def test_byte_order_mark_of_utf_8_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    bag = Bag()
    assert parse(read_source(path, bag), bag).mapping["a"].span.column == 4
