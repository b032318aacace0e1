"""Spec to Resolved: defaults that depend on other values, and the origin of every value.

Takes a composed tree and its `Spec`, gives a `Resolved` with nothing left open. Adds and never rejects: what is impossible is filled
with something all the same, and the rules of `check` say what is wrong.
"""

from llmspec.resolve.changed import with_field
from llmspec.resolve.resolve import resolve
from llmspec.resolve.resolved import Origin, OriginKind, Resolved
from llmspec.resolve.text import resolved_yaml

__all__ = ["Origin", "OriginKind", "Resolved", "resolve", "resolved_yaml", "with_field"]
