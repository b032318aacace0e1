"""What all sections share: strictness, and the scalar types of the language."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_COUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<suffix>Ki|Mi|k|K|M|B|T)?")
_COUNT_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:d|h|m|s)\s*)+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)")
_DURATION_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Section(BaseModel):
    """Base of every section: unknown keys are errors, types are not coerced, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


def derived(rule: str, **constraints: Any) -> Any:
    """Declare a field that `resolve` fills when the spec leaves it out; `rule` says how, in a few words."""
    return Field(default=None, json_schema_extra={"derived": rule}, **constraints)


def section(**values: Any) -> Any:
    """Declare a section that may be left out: it is then validated as if these values had been written.

    An instance as the default would have Pydantic build a validator for that class alone at import, which is half of a cold start.
    """
    return Field(default=values, validate_default=True)


@dataclass(frozen=True, slots=True)
class ByKind:
    """Annotates a union of sections that their `kind` tells apart. Only the kind that a spec names gets a validator.

    Pydantic's own discriminator builds the validators of all of them at every start, which costs more than all else that `validate` does.
    `default` is the kind of a section that does not name one; it has to, where there is none.
    """

    default: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {
            tag: core_schema.no_info_plain_validator_function(section.model_validate, metadata={"section": section})
            for tag, section in self._tagged(source)
        }
        schema: CoreSchema = core_schema.tagged_union_schema(choices, "kind")
        return schema if self.default is None else core_schema.no_info_before_validator_function(self._named, schema)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        union: Any = schema if self.default is None else schema["schema"]
        kinds: list[Any] = []
        for section in dict.fromkeys(choice["metadata"]["section"] for choice in union["choices"].values()):
            section.model_rebuild()
            # The reference makes it a definition of its own, as Pydantic's unions do.
            reference = f"{section.__module__}.{section.__qualname__}:{id(section)}"
            kinds.append({**section.__pydantic_core_schema__, "ref": reference})
        return handler(core_schema.union_schema(kinds))

    def _named(self, value: object) -> object:
        return {"kind": self.default, **value} if isinstance(value, Mapping) and "kind" not in value else value

    @staticmethod
    def _tagged(source: Any) -> Iterator[tuple[str, type[BaseModel]]]:
        for section in get_args(source) or (source,):
            for tag in get_args(section.model_fields["kind"].annotation):
                yield tag, section


def parse_count(value: object) -> object:
    """Read `2B`, `300k`, `1.5T`, `64Ki` and whole floats such as `4e10` as whole numbers; leave the rest to Pydantic."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        return int(value)
    if not isinstance(value, str):
        return value
    match = _COUNT.fullmatch(value.strip())
    if match is None:
        raise PydanticCustomError("count", "should be a whole number such as 4096, 300k, 2B or 1.5T")
    digits, _, fraction = match["number"].replace("_", "").partition(".")
    factor = _COUNT_FACTORS[match["suffix"] or ""]
    scaled, remainder = divmod(int(digits + fraction) * factor, 10 ** len(fraction))
    if remainder:
        raise PydanticCustomError("count", "should be a whole number; this one has a fraction")
    return scaled


def parse_duration(value: object) -> object:
    """Read `30d`, `12h`, `1h30m`, `90s` as seconds; leave the rest to Pydantic."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if _DURATION.fullmatch(text) is None:
        raise PydanticCustomError("duration", "should be a duration such as 30d, 12h, 1h30m or 90s")
    return float(sum(float(number) * _DURATION_SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))


def only_whole(value: object) -> object:
    """Refuse true and 1.0 where 1 is the fixed value; they are equal to it in Python."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticCustomError("int_type", "should be a whole number")
    return value


def only_truth(value: object) -> object:
    """Refuse 0 where false is the fixed value; they are equal in Python."""
    if not isinstance(value, bool):
        raise PydanticCustomError("bool_type", "should be true or false")
    return value


def parse_text(value: object) -> object:
    """Read a whole number as its digits, for texts that are often numbers, such as the values of environment variables."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# The bounds are far beyond anything trainable; they exist so that a slip such as 1e300 is a diagnostic and not an overflow.
Count = Annotated[int, BeforeValidator(parse_count), Field(ge=1, le=10**15)]
CountOrZero = Annotated[int, BeforeValidator(parse_count), Field(ge=0, le=10**15)]
Width = Annotated[int, BeforeValidator(parse_count), Field(ge=1, le=2**20)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=10 * 365 * 86_400)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NonNegative = Annotated[float, Field(ge=0, le=1e12)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]
TextOrNumber = Annotated[str, BeforeValidator(parse_text), Field(max_length=10_000)]
One = Annotated[Literal[1], BeforeValidator(only_whole)]
No = Annotated[Literal[False], BeforeValidator(only_truth)]
