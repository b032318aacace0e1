"""Resolved to Plan: the last place where anything is decided.

Takes a `Resolved`, its `Network` and its `Estimate`, all of which have passed every rule, and gives a `Plan` that holds each file,
component and number of the project. Total: it never rejects. One module a section; templates see the plan and only print it.
"""

from llmspec.lower.lower import lower
from llmspec.lower.plan import Plan

__all__ = ["Plan", "lower"]
