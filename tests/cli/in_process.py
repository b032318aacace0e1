"""The command line in this process, which takes a tenth of the time of another one."""

from typing import NamedTuple, Protocol

import pytest

from llmspec.cli.main import main


class Result(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Runs `llmspec ARGUMENTS`."""

    def __call__(self, *arguments: object) -> Result: ...


def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `llmspec ARGUMENTS` in the working directory."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Result(code, *capsys.readouterr())

    return run
