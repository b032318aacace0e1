"""What a run will need, take and cost, before it runs.

Takes a `Resolved` and its `Network`, gives an `Estimate`: exact counts (parameters, flops), a device model (device), a schedule over it
(activations, memory, step_time), the wall-clock, and what follows (money, energy, carbon, loss). Pure functions: nothing is measured, read
from the disk (but the catalog) or printed. Every figure is a `Quantity` that knows its formula, its inputs and where they came from.
"""

from llmspec.estimate.derivation import Input, Quantity
from llmspec.estimate.estimate import Estimate, estimate
from llmspec.estimate.fix import cheapest_fix

__all__ = ["Estimate", "Input", "Quantity", "cheapest_fix", "estimate"]
