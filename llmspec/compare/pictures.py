"""The charts of a comparison: what was logged over the steps, and the band that was expected."""

from llmspec.compare.compare import Comparison, Row
from llmspec.compare.log import Log
from llmspec.report import Band, Chart, Series


def charts(comparison: Comparison, log: Log) -> tuple[Chart, ...]:
    """The loss and the speed over the steps."""
    rows = {row.name: row for row in comparison.rows}
    end = float(comparison.max_steps)
    loss = [Series("training loss", tuple(log.series("loss")))]
    scored = log.series("validation_loss")
    if scored:
        loss.append(Series("validation loss", tuple(scored)))
    # What is expected of the loss is expected at the end.
    found = (
        Chart("Loss", "step", "nats a token", tuple(loss), _band(rows["loss"], end * 0.9, end), end),
        Chart(
            "Speed", "step", "tokens/s", (Series("speed", tuple(log.series("tokens_per_second"))),), _band(rows["tokens_per_second"]), end
        ),
    )
    return tuple(chart for chart in found if any(series.points for series in chart.series))


def _band(row: Row, start: float | None = None, end: float | None = None) -> Band | None:
    if row.estimate is None:
        return None
    return Band("estimated", row.estimate, row.low, row.high, start, end)
