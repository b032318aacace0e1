"""Numbers that a published law may choose: a spec gives the law's name, and `resolve` leaves a number in its place."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Count

Law = Literal["auto", "step_law", "deepseek_llm", "olmo_ladder"]

if TYPE_CHECKING:
    # What is left after resolution, and all that later passes see.
    LearningRate = float
    BatchSize = int
else:
    LearningRate = Annotated[float, Field(gt=0, le=10)] | Law
    BatchSize = Annotated[Count, Field(le=2**24)] | Law
