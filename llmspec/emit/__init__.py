"""Plan to project: text in memory, and what a build does to a directory.

`emit` takes a plan and gives every file, rendered, formatted and verified; it decides nothing. `plan_changes` compares a project with
a directory, `write` puts it there. A broken file is an `InternalError`: a bug of llmspec, found before anything is written.
"""

from llmspec.emit.emit import emit
from llmspec.emit.project import EmittedText, Project
from llmspec.emit.verify import InternalError

__all__ = ["EmittedText", "InternalError", "Project", "emit"]
