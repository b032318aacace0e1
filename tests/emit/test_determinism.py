"""The same spec gives the same bytes, whoever compiles it, where and when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Prints a hash of every rendered file and of the estimate, from whatever directory it is run in.
PROGRAM = """
import hashlib, sys, time
if len(sys.argv) > 3:
    time.time = time.time_ns = lambda: 10**9 * 4
from pathlib import Path
from llmspec.compile import analyze, render
from llmspec.diagnostics import Bag
analysis = analyze(Path(sys.argv[1]), (), Bag())
for path, file in render(analysis, Path(sys.argv[2])).items():
    print(path, file.executable, hashlib.sha256(file.text.encode()).hexdigest())
"""


def hashes(spec: Path, output: Path, directory: Path, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(spec), str(output), *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("name", ["quickstart", "llama-3.2-1b"])
def test_same_bytes(name: str, tmp_path: Path) -> None:
    spec, output = Path("specs") / f"{name}.yaml", Path("generated") / name
    first = hashes(spec, output, ROOT, PYTHONHASHSEED="0")
    assert first.count("\n") > 15
    assert hashes(spec, output, ROOT, PYTHONHASHSEED="1") == first
    assert hashes(spec, output, ROOT, LC_ALL="C", LANG="C", TZ="Asia/Kolkata", PYTHONUTF8="0") == first
    assert hashes(spec, output, ROOT, "later") == first


def test_same_bytes_from_another_directory(tmp_path: Path) -> None:
    """A tree of another place: only the relation between spec and output counts."""
    found = []
    for place in (tmp_path / "a", tmp_path / "b" / "deeper"):
        (place / "specs").mkdir(parents=True)
        (place / "specs" / "run.yaml").write_text((ROOT / "specs" / "gpt2-124m.yaml").read_text("utf-8"), "utf-8")
        found.append(hashes(Path("specs/run.yaml"), Path("generated/run"), place))
    assert found[0] == found[1]
