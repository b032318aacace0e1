"""Arithmetic that the analytic core needs beside operators, so that the same formulae run on numbers and on whole columns.

The core takes an `Arithmetic`: `Scalars` for one configuration, numpy itself for a column of them (the fit, the search). Nothing here
imports numpy, so that an estimate of one spec starts without it.
"""

import math
from typing import Any, Protocol


class Arithmetic(Protocol):
    """What the core asks for; numpy has all of it under these names."""

    def maximum(self, first: Any, second: Any, /) -> Any:
        """The larger of two."""

    def minimum(self, first: Any, second: Any, /) -> Any:
        """The smaller of two."""

    def where(self, condition: Any, first: Any, second: Any, /) -> Any:
        """The first where the condition holds, else the second."""

    def ceil(self, value: Any, /) -> Any:
        """The next whole number."""

    def sqrt(self, value: Any, /) -> Any:
        """Square root."""

    def log(self, value: Any, /) -> Any:
        """Natural logarithm."""


class Scalars:
    """Arithmetic on plain numbers."""

    @staticmethod
    def maximum(first: float, second: float) -> float:
        """The larger of two."""
        return first if first > second else second

    @staticmethod
    def minimum(first: float, second: float) -> float:
        """The smaller of two."""
        return first if first < second else second

    @staticmethod
    def where(condition: bool, first: float, second: float) -> float:
        """The first where the condition holds, else the second."""
        return first if condition else second

    @staticmethod
    def ceil(value: float) -> float:
        """The next whole number."""
        return math.ceil(value)

    @staticmethod
    def sqrt(value: float) -> float:
        """Square root."""
        return math.sqrt(value)

    @staticmethod
    def log(value: float) -> float:
        """Natural logarithm."""
        return math.log(value)


SCALARS: Arithmetic = Scalars()
