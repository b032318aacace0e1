"""Network: every weight and every operation of the model, described once.

Takes a `Resolved`, gives a `Network`. Nothing else in llmspec counts parameters or FLOPs from the spec's fields.
"""

from llmspec.network.describe import describe
from llmspec.network.network import Network

__all__ = ["Network", "describe"]
