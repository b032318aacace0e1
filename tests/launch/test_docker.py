"""The Dockerfile, read as Docker's parser reads it. No image is built: that needs a daemon and the network."""

import json
import re
from typing import Any

import pytest

from tests.launch.conftest import HARDWARE, Render

INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
HOSTILE = 'it\'s $(HOME) "x" `y` ${z} # \\ \u2028 \U0001f600'


def read(text: str) -> list[tuple[str, str]]:
    """Instructions with their arguments: comments go, lines that end with a backslash go on."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines)).split("\n")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def environment(instructions: list[tuple[str, str]]) -> dict[str, str]:
    """Variables, unquoted as Docker does: in double quotes, a backslash takes the meaning from `"`, `$` and itself."""
    found = {}
    for name, arguments in instructions:
        if name == "ENV":
            match = re.fullmatch(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\$]|\\["\\$])*)"', arguments)
            assert match is not None, arguments
            found[match[1]] = re.sub(r'\\(["\\$])', r"\1", match[2])
    return found


@pytest.mark.parametrize("hardware", HARDWARE)
def test_dockerfile(render: Render, hardware: str) -> None:
    project = render(hardware, {"docker": {}, "torchrun": {}})
    instructions = read(project["Dockerfile"].text)
    names = [name for name, _ in instructions]
    assert set(names) <= INSTRUCTIONS
    assert names[0] == "FROM" and names.count("FROM") == 1
    base = instructions[0][1]
    assert ":" in base and not base.endswith(":latest")
    assert base.startswith("rocm/") == (hardware == "amd")
    # What needs the rights of root comes first, the program last and without them.
    user = names.index("USER")
    assert instructions[user][1] == "10001:10001"
    assert not {"RUN", "COPY"} & set(names[user:])
    assert names[-1] == "CMD"
    command = json.loads(instructions[-1][1])
    assert command[-2:] == ["train.py", "--resume"]
    assert command[0] == ("python" if hardware in ("processor", "device") else "torchrun")
    # Nothing is fetched but packages, and nothing is copied from outside the project.
    assert [arguments for name, arguments in instructions if name == "COPY"] == ["pyproject.toml ./", ". ."]
    assert not re.search(r"curl|wget|https?://", project["Dockerfile"].text)
    assert ("gcc" in project["Dockerfile"].text) == (HARDWARE[hardware]["accelerator"] != "cpu")


def test_what_stays_out(render: Render) -> None:
    ignored = render("device", {"docker": {}})[".dockerignore"].text.split("\n")
    assert {"data/", "run/", ".git/"} <= set(ignored)
    assert {"pyproject.toml", "train.py", "launch/"}.isdisjoint(ignored)


def test_texts_stay_texts(render: Render) -> None:
    variables: dict[str, Any] = {"A": HOSTILE, "B": "ends with \\", "C": "", "D": 5}
    found = environment(read(render("processor", {"docker": {}, "environment": variables})["Dockerfile"].text))
    assert found == variables | {"D": "5", "OMP_WAIT_POLICY": "PASSIVE"}
