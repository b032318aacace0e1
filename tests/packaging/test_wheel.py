"""The wheel carries all that a build needs: templates and catalog come along."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, directory: Path = ROOT, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    finished = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", directory, ROOT)
    (built,) = directory.glob("llmspec_compiler-*.whl")
    return built


def below(directory: Path, *suffixes: str) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file() and path.suffix in suffixes}


def test_wheel_holds_modules_templates_and_catalog(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"llmspec/{path}" for path in below(ROOT / "llmspec", ".py", ".yaml", ".typed")} <= names
    assert {f"llmspec/_templates/{path}" for path in below(ROOT / "templates", ".jinja")} <= names
    assert any(name.startswith("llmspec/_templates/project/") for name in names)
    # Nothing of the checkout beside the package: tests, generated projects and bytecode stay at home.
    assert {name.split("/")[0] for name in names} == {"llmspec", next(n for n in names if ".dist-info/" in n).split("/")[0]}
    assert not [name for name in names if name.endswith(".pyc")]


def test_installed_package_finds_its_templates(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel)
    program = "from llmspec.emit.locations import templates_directory; print(templates_directory())"
    found = Path(run(sys.executable, "-c", program, directory=tmp_path, PYTHONPATH=str(target)).strip())
    assert found == target / "llmspec" / "_templates"
    assert below(found, ".jinja") == below(ROOT / "templates", ".jinja")
