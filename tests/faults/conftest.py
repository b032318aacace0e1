"""Projects whose runs are to meet with faults."""

from tests.training.conftest import build, corpus, data

__all__ = ["build", "corpus", "data"]
