"""Whose prices an estimate takes: options of `llmspec estimate` and `search`, which are fields of the spec said shorter."""

import os
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmspec.diagnostics import Bag

if TYPE_CHECKING:
    from llmspec.compile import Analysis


def price_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command; they arrive with its `overrides`, as if `--set` had been written."""

    @click.option("--price", type=click.FloatRange(0, 10_000, min_open=True), metavar="USD", help="Price of one accelerator for one hour.")
    @click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help="Quotes of your own (YAML, as in prices.yaml).")
    @wraps(command)
    def wrapped(*arguments: Any, price: float | None, prices: Path | None, **options: Any) -> None:
        added = _overrides(price, prices, options["specs"] if "specs" in options else (options["spec"],))
        command(*arguments, **{**options, "overrides": (*options["overrides"], *added)})

    return wrapped


def _overrides(price: float | None, prices: Path | None, specs: tuple[Path, ...]) -> Iterator[str]:
    if price is not None:
        yield f"hardware.price={price!r}"
    if prices is not None:
        from llmspec.spec.standalone import scalar_text

        # A path in a spec is relative to the spec, one on the command line to the working directory.
        directories = {spec.parent for spec in specs}
        path = str(Path.cwd() / prices) if len(directories) != 1 or prices.is_absolute() else os.path.relpath(prices, directories.pop())
        yield f"hardware.prices={scalar_text(path)}"


def today() -> str:
    """The day, such as 2026-11-23; that of SOURCE_DATE_EPOCH where builds are to be reproduced."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%d", time.gmtime(int(epoch)) if epoch.isdecimal() else time.localtime())


def warn_of_prices(analysis: "Analysis", bag: Bag) -> None:
    """Say where the price is old, or is not from the file that was given."""
    from llmspec.diagnostics import Severity
    from llmspec.diagnostics.codes import problem
    from llmspec.estimate.price_age import old_quotes

    resolved = analysis.resolved
    hardware = resolved.spec.hardware
    if hardware.prices is not None and hardware.accelerator not in resolved.own_quotes:
        message = f"the file of prices has no `{hardware.accelerator}`; the catalog's quotes are taken"
        bag.add(problem("LS553", message, resolved.span("hardware.prices"), severity=Severity.WARNING))
    bag.extend(old_quotes(resolved, analysis.estimate.money, today()))
