"""`llmspec search SPEC`: which layout, on what, is fastest or cheapest, before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from llmspec.cli.loss_options import LossOptions, loss_options
from llmspec.cli.options import DiagnosticFormat, diagnostics_option, reporting, set_option, spec_argument
from llmspec.cli.price_options import price_options, warn_of_prices

Output = Literal["table", "json", "csv"]
MOST_NODES = 100_000


class Dollars(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """An amount of money: 5000, $5,000, 20k, 1.5M."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The dollars."""
        text = str(value).strip().removeprefix("$").replace(",", "")
        factor = {"k": 1e3, "K": 1e3, "M": 1e6}.get(text[-1:], 1.0)
        try:
            amount = float(text[:-1] if factor != 1.0 else text) * factor
        except ValueError:
            amount = -1.0
        if not 0 < amount < 1e12:
            self.fail(f"{value!r} is not an amount of US dollars such as 5000, 20k or 1.5M", param, ctx)
        return amount


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time as a spec writes it: 14d, 36h; in hours."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The hours."""
        from pydantic_core import PydanticCustomError

        from llmspec.spec.schema.base import parse_duration

        try:
            seconds = parse_duration(str(value))
        except PydanticCustomError:
            seconds = None
        if not isinstance(seconds, float) or seconds <= 0:
            self.fail(f"{value!r} is not a duration such as 14d, 36h or 1h30m", param, ctx)
        return seconds / 3600


def _nodes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Numbers of nodes: `1,2,4`, or `1-64` for the powers of two and three times those in between."""
    found: set[int] = set()
    for part in (value or "").split(","):
        first, dash, last = part.strip().partition("-")
        if not value:
            continue
        if not first.isdigit() or (dash and not last.isdigit()):
            raise click.BadParameter(f"{value!r} should be numbers such as 1,2,4 or a range such as 1-64", ctx, param)
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= MOST_NODES:
            raise click.BadParameter(f"{part.strip()!r} should lie between 1 and {MOST_NODES:,}, the smaller number first", ctx, param)
        between = (factor << power for power in range(20) for factor in (1, 3))
        found |= {low, high, *(count for count in between if low <= count <= high)}
    return tuple(sorted(found))


def _names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them, or the option several times."""
    return tuple(dict.fromkeys(name.strip() for text in value for name in text.split(",") if name.strip()))


@click.command()
@spec_argument
@click.option("--budget", type=Dollars(), metavar="USD", help="What the run may cost, such as 20k.")
@click.option("--deadline", type=Duration(), metavar="TIME", help="How long it may take, such as 14d.")
@click.option("--loss", "wanted_loss", type=click.FloatRange(0, 30, min_open=True), metavar="NATS", help="The loss it has to reach.")
@click.option("--nodes", callback=_nodes, metavar="N,...", help="Numbers of nodes to look at, such as 1,2,4 or 1-64.")
@click.option(
    "--accelerators", multiple=True, callback=_names, metavar="NAME,...", help="Accelerators to look at; `all` that somebody rents out."
)
@click.option("--provider", "providers", multiple=True, callback=_names, metavar="NAME,...", help="Take only quotes of these.")
@click.option("--vary-size", is_flag=True, help="Look at wider and narrower models too; needs a goal.")
@click.option("--vary-tokens", is_flag=True, help="Train for as many tokens as the goal leaves room for.")
@click.option("--unbuilt", is_flag=True, help="Let layouts win that can be estimated but not built yet.")
@click.option("--top", type=click.IntRange(1, 50), default=5, show_default=True, help="How many layouts to print.")
@click.option("--apply", "applies", is_flag=True, help="Write the best layout into SPEC; comments and order stay.")
@set_option
@click.option("--profile", metavar="NAME", help="Correct the figures by what `estimate --calibrate` learned.")
@loss_options
@price_options
@click.option("--format", "output", type=click.Choice(("table", "json", "csv")), default="table", show_default=True)
@click.option("--html", type=click.Path(path_type=Path), help="Write what was found as one HTML page too, with charts.")
@diagnostics_option
def command(
    spec: Path,
    budget: float | None,
    deadline: float | None,
    wanted_loss: float | None,
    nodes: tuple[int, ...],
    accelerators: tuple[str, ...],
    providers: tuple[str, ...],
    vary_size: bool,
    vary_tokens: bool,
    unbuilt: bool,
    top: int,
    applies: bool,
    overrides: tuple[str, ...],
    profile: str | None,
    loss: LossOptions,
    output: Output,
    html: Path | None,
    diagnostic_format: DiagnosticFormat,
) -> None:
    """Find the best layout for SPEC: how it is sharded, its micro batch, its checkpointing, and where asked what it runs on.

    Without a goal the fastest layout on the spec's own devices is looked for. With --budget, --deadline or --loss numbers of nodes are
    searched too: the fastest run that the budget pays, the cheapest that meets the deadline, the cheapest that reaches the loss; with
    --vary-size or --vary-tokens the lowest loss that budget and deadline allow.

    Layouts that cannot be built yet are shown beside the best one that can. Of layouts within 1% of each other, that which changes SPEC
    least is taken.
    """
    if (vary_size or vary_tokens) and budget is None and deadline is None and wanted_loss is None:
        raise click.UsageError("--vary-size and --vary-tokens need a goal: --budget, --deadline or --loss")
    if applies and overrides:
        raise click.UsageError(
            "--apply writes what is found for SPEC as it stands: write the values of --set, --price and --prices into it first"
        )
    from llmspec.search import Goal, Request, Result, search
    from llmspec.search.apply import apply
    from llmspec.search.problems import out_of_reach

    request = Request(Goal(budget, deadline, wanted_loss), accelerators, nodes, providers, vary_size, vary_tokens, unbuilt, top)
    written = None
    with reporting(diagnostic_format, written=applies) as bag:
        learned = None
        if profile is not None:
            from llmspec.cli.profiles import load_profile

            learned = load_profile(profile, spec, bag)
        result = search(spec, overrides, request, bag, loss.assumptions(bag) if loss.given else None, learned)
        if result.best and (analysis := result.best[0].case.analysis) is not None:
            warn_of_prices(analysis, bag)
        if html is not None:
            from llmspec.cli.search_page import search_page
            from llmspec.compare.problems import page_not_writable

            try:
                html.write_text(search_page(spec, result), encoding="utf-8")
            except OSError as error:
                bag.add(page_not_writable(html, (error.strerror or str(error)).lower()))
                bag.raise_if_errors()
        if applies:
            if not result.best or not result.reached:
                bag.add(out_of_reach(result.base.resolved, "nothing that was found reaches the goal and can be built", *_reach(result)))
                bag.raise_if_errors()
            chosen = result.suggested
            written = apply(result, chosen, spec, bag) if chosen is not None else ()
    printers: dict[str, Callable[[Result], str]] = {"json": _json, "csv": _csv}
    if output in printers:
        click.echo(printers[output](result), nl=output == "json")
        return
    from llmspec.cli.search_text import search_table

    click.echo(search_table(result, spec, written))
    if html is not None:
        click.echo(f"\nwrote {html}")


def _reach(result: Any) -> list[str]:
    if result.unbuilt:
        return ["add `--unbuilt` to take one that cannot be built yet"]
    return ["`llmspec search` without `--apply` shows what is near"]


def _json(result: Any) -> str:
    from llmspec.cli.search_text import search_json

    return search_json(result)


def _csv(result: Any) -> str:
    from llmspec.cli.search_text import search_csv

    return search_csv(result)
