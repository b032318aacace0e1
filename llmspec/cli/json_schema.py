"""The JSON Schema of a spec file as it is written, which is more than the schema of a spec that was read.

A count may be `2B`, null stands for an absent field, and no field is required, since `extends` and presets may bring it.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from llmspec import catalog
from llmspec.cli.fields import field_docs, sections
from llmspec.spec.schema import Spec
from llmspec.spec.schema.base import parse_count, parse_duration, parse_text

_COUNT = {"type": "string", "pattern": r"^\d[\d_]*(\.\d+)?\s*(Ki|Mi|k|K|M|B|T)?$"}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?\s*[dhms]\s*)+$"}

_SPELLINGS: dict[Any, dict[str, str]] = {parse_count: _COUNT, parse_duration: _DURATION, parse_text: {"type": "integer"}}


class _Generator(GenerateJsonSchema):
    """Adds the spellings that are read before Pydantic checks a value."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> dict[str, Any]:
        inner: dict[str, Any] = super().function_before_schema(schema)
        function = schema["function"]["function"]
        spelling = _SPELLINGS.get(function)
        return inner if spelling is None else {"anyOf": [inner, dict(spelling)]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        # A derived field's default is not the null that stands for it, and the others' are in their descriptions.
        return self.generate_inner(schema["schema"])


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file."""
    schema = Spec.model_json_schema(schema_generator=_Generator)
    models = {model.__name__: model for model in _all_sections(Spec, {})}
    definitions: dict[str, Any] = schema["$defs"]
    for name, definition in [("Spec", schema), *definitions.items()]:
        _describe(definition, models[name])
    definitions["DecoderArchitecture"]["properties"]["preset"]["anyOf"] = schema["properties"]["preset"]["anyOf"] = [
        {"enum": list(catalog.preset_names())},
        {"type": "null"},
    ]
    accelerator = definitions["Hardware"]["properties"]["accelerator"]
    definitions["Hardware"]["properties"]["accelerator"] = {
        "description": accelerator["description"],
        "enum": [*catalog.accelerator_names(), None],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llmspec", **_loosened(schema)}


def _all_sections(model: type[BaseModel], found: dict[type[BaseModel], None]) -> dict[type[BaseModel], None]:
    found[model] = None
    for info in model.model_fields.values():
        for section in sections(info.annotation):
            if section not in found:
                _all_sections(section, found)
    return found


def _describe(definition: dict[str, Any], model: type[BaseModel]) -> None:
    """Give a section and its fields their documentation, and let null stand for an absent field."""
    definition.pop("title", None)
    definition["description"] = " ".join((model.__doc__ or "").split())
    docs = field_docs(model)
    for name, field in definition["properties"].items():
        shape = {key: value for key, value in field.items() if key not in ("title", "default", "derived")}
        options = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
        if {"type": "null"} not in options:
            options = [*options, {"type": "null"}]
        definition["properties"][name] = {"description": " ".join(docs[name].split()), "anyOf": options}


def _loosened(node: Any) -> Any:
    """Without `required`, `oneOf` and discriminators: an override may give a section's fields without its kind."""
    if isinstance(node, list):
        return [_loosened(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = {"discriminator", "title"} | ({"required"} if isinstance(node.get("required"), list) else set())
    return {("anyOf" if key == "oneOf" else key): _loosened(value) for key, value in node.items() if key not in dropped}
