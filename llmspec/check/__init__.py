"""What a spec means as a whole: one function a rule, its docstring its documentation page.

Takes a `Resolved` (and, for rules on memory and time, its network and estimate), gives diagnostics. Rejects and never changes.
"""

from llmspec.check import rules
from llmspec.check.registry import RUN_RULES, SPEC_RULES, documentation
from llmspec.check.runner import check

__all__ = ["RUN_RULES", "SPEC_RULES", "check", "documentation", "rules"]
