"""`logging:` what the run reports while it trains."""

from llmspec.spec.schema.base import Count, Section


class Logging(Section):
    """What the run reports while it trains."""

    every: Count = 10
    """Steps between lines on the console and in metrics.jsonl. Default: 10."""

    tensorboard: bool = False
    """Whether TensorBoard event files are written too. Default: false."""
