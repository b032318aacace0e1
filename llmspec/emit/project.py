"""An emitted project in memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmittedText:
    """The content of one emitted file, and whether it may be executed."""

    text: str
    executable: bool = False


Project = dict[str, EmittedText]
