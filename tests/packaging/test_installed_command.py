"""The command of an installed wheel works away from the checkout."""

import shutil
import sys
from pathlib import Path

from tests.packaging.commands import ROOT, below, run


def test_installed_command_builds_from_another_directory(installed: Path, tmp_path: Path) -> None:
    """The command of the wheel, with its dependencies from here but no module of the checkout."""
    shutil.copy(ROOT / "specs" / "quickstart.yaml", tmp_path / "spec.yaml")
    # `site-packages` of this environment leads to the checkout by a .pth file, which only `site` reads.
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if p != sys.argv[1]]; import llmspec.cli.main as cli\n"
        "assert cli.__file__.startswith(sys.argv[2]), cli.__file__\n"
        "sys.exit(cli.main(sys.argv[3:]))"
    )

    def llmspec(*arguments: str) -> str:
        command = [sys.executable, "-c", program, str(ROOT), str(installed), *arguments]
        return run(*command, directory=tmp_path, PYTHONPATH=str(installed))

    llmspec("validate", "spec.yaml")
    llmspec("build", "spec.yaml", "-o", "project")
    written = below(tmp_path / "project", ".py", ".sh", ".yaml")
    assert {"train.py", "model.py", "config.py", "launch/local.sh", "spec.yaml"} <= written
    llmspec("build", "spec.yaml", "-o", "project", "--check")
    # The same bytes as from the checkout.
    main = "import sys; from llmspec.cli.main import main; sys.exit(main())"
    run(sys.executable, "-c", main, "build", "spec.yaml", "-o", "checkout/project", directory=tmp_path, PYTHONPATH=str(ROOT))
    for path in sorted(written):
        assert (tmp_path / "project" / path).read_bytes() == (tmp_path / "checkout" / "project" / path).read_bytes(), path
