"""What all sections share: strictness, and the scalar types of the language."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

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
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NonNegative = Annotated[float, Field(ge=0, le=1e12)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]
TextOrNumber = Annotated[str, BeforeValidator(parse_text), Field(max_length=10_000)]
One = Annotated[Literal[1], BeforeValidator(only_whole)]
No = Annotated[Literal[False], BeforeValidator(only_truth)]
