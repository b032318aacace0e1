"""Keeps steps from the weights that would ruin them."""

import math
from typing import Any

from config import GuardConfig


class Guard:
    """Judges each step by its loss and gradient norm, before the weights move.

    A step whose loss or gradient is not finite is skipped: its data counts as seen, the weights and
    the optimizer's state stay.
    """

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.num_skipped = 0  # in the whole run
        self.recent: list[int] = []  # the skipped ones of the last steps

    def allows(self, step: int, loss: float, grad_norm: float) -> bool:
        """Whether the step may be taken."""
        if math.isfinite(loss) and math.isfinite(grad_norm):
            return True
        first = step - self.config.window + 1
        self.recent = [earlier for earlier in self.recent if earlier >= first] + [step]
        self.num_skipped += 1
        return False

    def has_enough(self) -> bool:
        """Whether so many of the last steps were skipped that the run is to stop."""
        return len(self.recent) > self.config.max_skipped_steps

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to judge as if it had never stopped."""
        return {"num_skipped": self.num_skipped, "recent": self.recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a run that stopped."""
        self.num_skipped, self.recent = state["num_skipped"], state["recent"]
