"""YAML to a typed spec.

Takes a path and overrides; gives one tree in which every value knows its place (`compose`), and from it the `Spec` of the language
(`load`). Decides nothing: defaults that depend on other values are left to `resolve`, and what values mean together to `check`.
"""

from llmspec.spec.compose import Composed, compose, with_overrides
from llmspec.spec.load import load
from llmspec.spec.source import Layer, Source

__all__ = ["Composed", "Layer", "Source", "compose", "load", "with_overrides"]
