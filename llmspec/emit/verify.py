"""The last look at a project before it is written: every file is what its name says. What fails here is a bug of llmspec."""

import json
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Callable

from llmspec.emit.project import Project
from llmspec.emit.ruff_runner import python_files, run_ruff


class InternalError(Exception):
    """An emitted file is broken (LS902, `broken-emission`)."""

    code = "LS902"

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


def verify(project: Project) -> None:
    """Parse every file as what it is, and look for undefined and unused names in Python.

    Raises:
        InternalError: A file is broken.
    """
    for path, file in project.items():
        suffix = path.rpartition(".")[2]
        if suffix in _PARSERS:
            try:
                _PARSERS[suffix](path, file.text)
            except (ValueError, SyntaxError, Warning) as error:
                raise InternalError(path, " ".join(str(error).split())) from error
    _verify_names(project)


def _verify_names(project: Project) -> None:
    """Nothing undefined and nothing unused: ruff's F rules."""
    with python_files(project) as directory:
        finished = run_ruff(directory, "check", "--select", "F", "--output-format", "json")
    try:
        findings = json.loads(finished.stdout)
    except ValueError as error:
        raise InternalError("", f"ruff could not check the project: {finished.stderr.strip()}") from error
    for finding in findings:
        path = next((path for path in project if finding["filename"].endswith(f"/{path}")), finding["filename"])
        raise InternalError(path, f"line {finding['location']['row']}: {finding['message']}")


def _parse_python(path: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as an invalid escape sequence
        compile(text, path, "exec", dont_inherit=True)


def _parse_json(path: str, text: str) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


def _parse_toml(path: str, text: str) -> None:
    tomllib.loads(text)


def _parse_yaml(path: str, text: str) -> None:
    import yaml

    try:
        list(yaml.compose_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _parse_shell(path: str, text: str) -> None:
    bash = shutil.which("bash")
    if bash is not None:
        finished = subprocess.run([bash, "-n"], input=text, capture_output=True, text=True, check=False)
        if finished.returncode != 0:
            raise ValueError(finished.stderr.strip())


_PARSERS: dict[str, Callable[[str, str], None]] = {
    "py": _parse_python,
    "json": _parse_json,
    "toml": _parse_toml,
    "yaml": _parse_yaml,
    "yml": _parse_yaml,
    "sh": _parse_shell,
    "sbatch": _parse_shell,
}
