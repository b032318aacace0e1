"""The wheel carries all that a build needs: templates and catalog come along."""

import sys
import zipfile
from pathlib import Path

from tests.packaging.commands import ROOT, below, run


def test_wheel_holds_modules_templates_and_catalog(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"llmspec/{path}" for path in below(ROOT / "llmspec", ".py", ".yaml", ".typed")} <= names
    assert {f"llmspec/_templates/{path}" for path in below(ROOT / "templates", ".jinja")} <= names
    assert any(name.startswith("llmspec/_templates/project/") for name in names)
    # Nothing of the checkout beside the package: tests, generated projects and bytecode stay at home.
    assert {name.split("/")[0] for name in names} == {"llmspec", next(n for n in names if ".dist-info/" in n).split("/")[0]}
    assert not [name for name in names if name.endswith(".pyc")]


def test_installed_package_finds_its_templates(installed: Path, tmp_path: Path) -> None:
    program = "from llmspec.emit.locations import templates_directory; print(templates_directory())"
    found = Path(run(sys.executable, "-c", program, directory=tmp_path, PYTHONPATH=str(installed)).strip())
    assert found == installed / "llmspec" / "_templates"
    assert below(found, ".jinja") == below(ROOT / "templates", ".jinja")
