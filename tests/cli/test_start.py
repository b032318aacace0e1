"""The command line starts fast: what is not needed is not imported."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "rich", "jinja2", "transformers", "sentencepiece", "ruff", "hypothesis", "pydantic"}


def imported(*arguments: str) -> set[str]:
    program = (
        "import sys\nfrom llmspec.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return set(finished.stderr.split()) & HEAVY


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["validate", "--help"], set()),
        (["compare", "--help"], set()),
        (["presets"], set()),
        (["completion", "bash"], set()),
        (["validate", "specs/quickstart.yaml"], {"pydantic"}),
        (["validate", "specs/llama-3.2-1b.yaml", "--format", "json"], {"pydantic"}),
        (["schema"], {"pydantic"}),
        (["estimate", "specs/quickstart.yaml", "--format", "json"], {"pydantic"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_imports(arguments: list[str], allowed: set[str]) -> None:
    assert imported(*arguments) <= allowed


def test_profiles_are_read_only_where_one_is_asked_for() -> None:
    program = "import sys\nfrom llmspec.cli.main import main\nmain(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
    finished = subprocess.run(
        [sys.executable, "-c", program, "estimate", "specs/quickstart.yaml"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(finished.stderr.split())
    assert "llmspec.estimate.correction" in modules
    assert not modules & {"llmspec.estimate.profile", "llmspec.estimate.likeness", "llmspec.catalog.calibration", "llmspec.cli.profiles"}


def test_cold_start() -> None:
    """`make bench` measures it well; this only catches what makes it twice as slow, in processor time, which busy machines keep."""
    # Without compiled modules on disk, which that variable forbids to write, every start would compile them again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "llmspec", "validate", "specs/quickstart.yaml"]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.5, seconds
