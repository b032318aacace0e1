"""What a spec means as a whole: one function a rule, its docstring its documentation page.

Takes a `Resolved` (and, for rules on memory and time, its network and estimate), gives diagnostics. Rejects and never changes.
"""

from llmspec.check import rules
from llmspec.check.registry import BUILD_RULES, RUN_RULES, SPEC_RULES, documentation
from llmspec.check.runner import check, check_buildable

__all__ = ["BUILD_RULES", "RUN_RULES", "SPEC_RULES", "check", "check_buildable", "documentation", "rules"]
