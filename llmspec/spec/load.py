"""Tree to `Spec`: names, types and ranges. What does not hold becomes a diagnostic at its place, all of them at once."""

from pydantic import ValidationError

from llmspec.diagnostics import Bag, CompilationError
from llmspec.spec.compose import Composed
from llmspec.spec.schema import Spec
from llmspec.spec.tree import Node


def load(composed: Composed, bag: Bag) -> Spec:
    """Validate a composed tree.

    Raises:
        CompilationError: The spec is not of the language; the bag says why.
    """
    spec = None
    errors = []
    try:
        spec = Spec.model_validate(plain(composed.tree))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=True)
    # Control characters and empty launchers are valid for Pydantic.
    if errors or _has_doubtful_values(composed.tree):
        from llmspec.spec.problems import explain

        bag.extend(explain(composed, errors))
    bag.raise_if_errors()
    if spec is None:
        raise CompilationError(bag)
    return spec


def _has_doubtful_values(node: Node) -> bool:
    """Whether a tree holds what Pydantic accepts and the language does not, judged roughly and fast."""
    if isinstance(node.value, dict):
        return any(_has_doubtful_values(entry) for entry in node.value.values())
    if isinstance(node.value, list):
        return any(_has_doubtful_values(item) for item in node.value)
    return node.implicit if node.value is None else isinstance(node.value, str) and not node.value.replace("\n", "").isprintable()


def plain(node: Node) -> object:
    """A tree without places: dicts, tuples and scalars. null is as if the field were absent."""
    if isinstance(node.value, dict):
        return {name: plain(entry) for name, entry in node.value.items() if entry.value is not None}
    if isinstance(node.value, list):
        return tuple(plain(item) for item in node.value)
    return node.value
