"""The spec language: one Pydantic model a section, one module a section.

Every field carries a docstring (meaning, unit, default); `llmspec explain FIELD` and the JSON Schema read it. A field made with
`derived(...)` may be left out: `resolve` fills it, so that after resolution it always has a value of its declared type.
"""

from llmspec.spec.schema.spec import Spec

__all__ = ["Spec"]
