"""Emitted modules have plain names such as `model`: none may stay behind for the next test."""

from collections.abc import Iterator

import pytest

from tests.model.emitted import forget


@pytest.fixture(autouse=True)
def no_modules_left() -> Iterator[None]:
    yield
    forget()
