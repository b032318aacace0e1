"""Emitted Python as ruff formats it: imports sorted, lines of at most 100 columns."""

from llmspec.emit.project import EmittedText, Project
from llmspec.emit.ruff_runner import python_files, run_ruff
from llmspec.emit.verify import InternalError


def format_project(project: Project) -> Project:
    """The project with every Python file formatted; all others as they are.

    Raises:
        InternalError: A file is not Python, so a template is wrong.
    """
    with python_files(project) as directory:
        run_ruff(directory, "check", "--fix-only", "--select", "I")
        finished = run_ruff(directory, "format")
        if finished.returncode != 0:
            raise InternalError("", f"ruff could not format the project: {finished.stderr.strip()}")
        return {
            path: EmittedText((directory / path).read_text("utf-8"), file.executable) if path.endswith(".py") else file
            for path, file in project.items()
        }
