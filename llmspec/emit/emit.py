"""A plan becomes a project."""

from llmspec.emit.format import format_project
from llmspec.emit.project import Project
from llmspec.emit.render import render
from llmspec.emit.verify import verify
from llmspec.lower.plan import Plan


def emit(plan: Plan) -> Project:
    """Render, format and verify every file of a plan, in memory.

    Raises:
        InternalError: A file is broken, which is a bug of llmspec.
    """
    project = format_project(render(plan))
    verify(project)
    return project
