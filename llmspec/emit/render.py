"""Plan to text: each emitted file from its template, in memory."""

from llmspec.emit.environment import environment
from llmspec.emit.project import EmittedText, Project
from llmspec.lower.plan import Plan


def render(plan: Plan) -> Project:
    """Render every file of the plan; the templates see the plan and nothing else."""
    jinja = environment()
    project: Project = {}
    for file in plan.files:
        text = file.text if file.template is None else jinja.get_template(file.template).render(plan=plan)
        project[file.path] = EmittedText(text, file.executable)
    return project
