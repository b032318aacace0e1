"""The README's console blocks are true: each `$ llmspec ...` in them is run and its output compared.

After a deliberate change, `LLMSPEC_UPDATE_SNAPSHOTS=1 pytest tests/readme` writes the new output into the README; review the diff.
"""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.bench.pictures import ESTIMATE, PICTURES, terminal

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
SECONDS = re.compile(r"\d+\.\d+ ?s\b")


def run(command: str, directory: Path) -> str:
    """What a person would see, both streams together, without colour."""
    arguments = shlex.split(command)
    executable = Path(sysconfig.get_path("scripts")) / arguments[0]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        [str(executable), *arguments[1:]],
        cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
    return "".join(line.rstrip() + "\n" for line in finished.stdout.splitlines())


def rerun(block: str, directory: Path) -> str:
    """The block with the output of each of its commands as it is now. Commands other than llmspec stand as they are."""
    parts = re.split(r"^(\$ .*\n)", block, flags=re.MULTILINE)
    text = parts[0]
    for command, output in zip(parts[1::2], parts[2::2], strict=True):
        words = command.removeprefix("$ ").strip()
        text += command + (run(words, directory) if words.startswith("llmspec ") else output)
    return text


@pytest.mark.xdist_group("readme")
def test_console_blocks_show_the_true_output(tmp_path: Path) -> None:
    """Every command of the README gives the output that stands under it."""
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    readme = README.read_text(encoding="utf-8")
    assert BLOCK.search(readme), "the README has no console block"
    current = BLOCK.sub(lambda match: rerun(match.group(), tmp_path), readme)
    if os.environ.get("LLMSPEC_UPDATE_SNAPSHOTS"):
        README.write_text(current, encoding="utf-8")
        readme = current
    # Wall-clock differs from run to run; everything else is the same everywhere.
    assert SECONDS.sub("0.0 s", readme) == SECONDS.sub("0.0 s", current)


def test_the_picture_of_a_terminal_is_what_it_shows() -> None:
    """`make pictures` draws it anew."""
    picture = PICTURES / "estimate.svg"
    drawn = terminal(ESTIMATE)
    if os.environ.get("LLMSPEC_UPDATE_SNAPSHOTS"):
        picture.write_text(drawn, encoding="utf-8")
    assert picture.read_text(encoding="utf-8") == drawn


def test_files_that_the_readme_links_to_exist() -> None:
    """Relative links and pictures lead somewhere."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
