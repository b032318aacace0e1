"""The gate between rendering and writing: formatted, and every file what its name says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmspec.emit.format import format_project
from llmspec.emit.project import EmittedText, Project
from llmspec.emit.verify import InternalError, verify

UGLY: Project = {
    "train.py": EmittedText("from config import lr\nimport torch\nimport os\n\n\n\n\nx = {'a':lr,\n'b':os,'c':torch}\n", executable=True),
    "config.py": EmittedText("lr=1\n"),
    "tests/test_train.py": EmittedText("import torch\nfrom train import x\nimport pytest\nassert torch,(x,pytest)\n"),
    "launch/local.sh": EmittedText("if true;then echo   hi;fi\n", executable=True),
    "README.md": EmittedText("*  as it is\n"),
}


def test_python_is_formatted_and_the_rest_left_alone() -> None:
    formatted = format_project(UGLY)
    assert list(formatted) == list(UGLY)
    assert formatted["train.py"] == EmittedText(
        'import os\n\nimport torch\n\nfrom config import lr\n\nx = {"a": lr, "b": os, "c": torch}\n', executable=True
    )
    # Modules of the project are told from packages, also in its tests.
    assert formatted["tests/test_train.py"].text == "import pytest\nimport torch\n\nfrom train import x\n\nassert torch, (x, pytest)\n"
    assert formatted["launch/local.sh"] is UGLY["launch/local.sh"]
    assert formatted["README.md"] is UGLY["README.md"]
    assert format_project(formatted) == formatted


@pytest.mark.parametrize("setting", ["line-length = 20", "[format]\nquote-style = 'single'", "not TOML"])
def test_configuration_of_the_machine_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """Neither a ruff.toml above the temporary directory, nor its name, nor ruff's variables, nor the working directory."""
    expected = format_project(UGLY)
    temporary = tmp_path / "build" / "venv"
    temporary.mkdir(parents=True)
    (tmp_path / "ruff.toml").write_text(setting)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "github")
    monkeypatch.setenv("RUFF_CONFIG", str(tmp_path / "ruff.toml"))
    monkeypatch.chdir(tmp_path)
    assert format_project(UGLY) == expected
    verify(expected)
    assert list(temporary.iterdir()) == []


def test_output_does_not_depend_on_locale_or_hash_seed() -> None:
    program = (
        "from tests.rebuild.test_format_and_verify import UGLY\nfrom llmspec.emit.format import format_project\n"
        "print(ascii(format_project(UGLY | {'caf\\u00e9.py': UGLY['train.py']})))"
    )
    seen = set()
    for variables in ({"LC_ALL": "C", "PYTHONHASHSEED": "1"}, {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "PYTHONUTF8": "1"}):
        command = [sys.executable, "-c", program]
        environment = {**os.environ, **variables}
        finished = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=True)
        seen.add(finished.stdout)
    assert len(seen) == 1


def test_a_project_without_python_is_fine() -> None:
    project = {"README.md": EmittedText("hello\n")}
    assert format_project(project) == project
    verify(project)


def test_text_that_is_not_python_is_a_bug() -> None:
    with pytest.raises(InternalError, match="ruff could not format"):
        format_project({"train.py": EmittedText("def f(:\n")})


GOOD: Project = {
    "train.py": EmittedText("import os\n\nprint(os.name)\n"),
    "launch/local.sh": EmittedText("#!/usr/bin/env bash\nif true; then\n  echo hi\nfi\n"),
    "launch/slurm.sbatch": EmittedText("#!/usr/bin/env bash\n#SBATCH --nodes=1\nsrun hostname\n"),
    "spec.yaml": EmittedText("a: 1\n---\nb: [1, 2]\n"),
    "ds_config.json": EmittedText('{"a": 1}\n'),
    "pyproject.toml": EmittedText('[project]\nname = "x"\n'),
}

BROKEN = {
    "syntax": ("train.py", "def f(:\n", "invalid syntax"),
    "return outside": ("train.py", "return 1\n", "'return' outside function"),
    "null byte": ("train.py", "a = 1\0\n", "null bytes"),
    "invalid escape": ("train.py", 'a = "\\d"\n', "invalid escape sequence"),
    "undefined name": ("train.py", "print(1)\nprint(missing)\n", "line 2: Undefined name `missing`"),
    "unused import": ("tests/test_train.py", "import os\n", "line 1: `os` imported but unused"),
    "unused variable": ("train.py", "def f() -> None:\n    a = 1\n", "assigned to but never used"),
    "shell": ("launch/local.sh", "if true; then\n", "syntax error"),
    "sbatch": ("launch/slurm.sbatch", "echo 'a\n", "unexpected EOF"),
    "yaml": ("spec.yaml", "a: [1\n", "expected"),
    "json": ("ds_config.json", "{'a': 1}", "Expecting property name"),
    "json constant": ("ds_config.json", '{"a": NaN}', "NaN is not JSON"),
    "toml": ("pyproject.toml", "a = \n", "Invalid value"),
}


def test_good_files_pass() -> None:
    verify(GOOD)


@pytest.mark.parametrize(("path", "text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_a_bug_that_names_it(path: str, text: str, message: str) -> None:
    with pytest.raises(InternalError) as raised:
        verify(GOOD | {path: EmittedText(text)})
    assert raised.value.path == path
    assert message in raised.value.message
    assert str(raised.value).startswith(f"{path}: ")
