"""What the loss of an estimate rests on beside the spec: options of `llmspec estimate`, and what they do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmspec.diagnostics import Bag

if TYPE_CHECKING:
    from llmspec.compile import Analysis
    from llmspec.estimate.loss import LossAssumptions


class Count(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A whole number as a spec writes it: 300k, 2B, 1.5T."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        from llmspec.spec.schema.base import parse_count

        try:
            number = parse_count(value)
            number = int(number) if isinstance(number, str) else number
        except ValueError:
            number = None
        if not isinstance(number, int) or number <= 0:
            self.fail(f"{value!r} is not a whole number above 0 such as 4096, 300k, 2B or 1.5T", param, ctx)
        return number


class _DataSet(click.ParamType):  # type: ignore[type-arg]
    """A name in loss_data.yaml, which is read when one is given."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from llmspec.catalog.loss_laws import loss_data_names

        if value not in loss_data_names():
            self.fail(f"{value!r} is not one of {', '.join(loss_data_names())}", param, ctx)
        return str(value)


@dataclass(frozen=True, slots=True)
class LossOptions:
    """What the options say."""

    data_set: str | None
    unique_tokens: int | None
    inference_tokens: int | None
    fit: Path | None

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return (self.data_set, self.unique_tokens, self.inference_tokens, self.fit) != (None,) * 4

    def assumptions(self, bag: Bag) -> "LossAssumptions":
        """What they say of the loss; reads the fit."""
        from llmspec.estimate.loss import LossAssumptions
        from llmspec.estimate.loss_fit import read_fit
        from llmspec.estimate.loss_problems import bad_fit

        fit = None
        if self.fit is not None:
            try:
                fit = read_fit(self.fit)
            except OSError as error:
                bag.add(bad_fit(self.fit, f"cannot be read: {(error.strerror or str(error)).lower()}"))
            except ValueError as error:
                reason = str(error) if type(error) is ValueError else "is not JSON"
                bag.add(bad_fit(self.fit, reason))
            bag.raise_if_errors()
        return LossAssumptions(self.data_set, float(self.inference_tokens or 0), self.unique_tokens, fit)

    def applied(self, analysis: "Analysis", bag: Bag) -> "Analysis":
        """The analysis with the loss that they ask for; itself where they ask for none."""
        if not self.given:
            return analysis
        from dataclasses import replace

        from llmspec.estimate.estimate import with_loss

        return replace(analysis, estimate=with_loss(analysis.estimate, analysis.resolved, self.assumptions(bag)))


def loss_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which takes them as `loss`."""

    @click.option(
        "--loss-data", type=_DataSet(), metavar="NAME", help="Public data set that the run's data and tokenizer resemble, such as c4."
    )
    @click.option(
        "--unique-tokens", type=Count(), metavar="N", help="Tokens of the data, such as 500M; those of the run beyond them repeat."
    )
    @click.option("--inference-tokens", type=Count(), metavar="N", help="Tokens that the finished model will serve, such as 1T.")
    @click.option("--loss-fit", type=click.Path(path_type=Path), metavar="FILE", help="A law fitted to own runs, from `llmspec fit`.")
    @wraps(command)
    def wrapped(
        *arguments: Any,
        loss_data: str | None,
        unique_tokens: int | None,
        inference_tokens: int | None,
        loss_fit: Path | None,
        **options: Any,
    ) -> None:
        command(*arguments, loss=LossOptions(loss_data, unique_tokens, inference_tokens, loss_fit), **options)

    return wrapped
