"""What can be wrong with a search: one function a code. `llmspec.diagnostics.codes` has their documentation."""

from collections.abc import Sequence
from pathlib import Path

from llmspec.catalog import accelerator_names
from llmspec.diagnostics import Diagnostic, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.resolve import Resolved


def argument(option: str, text: str) -> Span:
    """Where to point for what stands behind an option."""
    return Span(option, 1, 1, 1, max(2, len(text) + 1))


def unknown_accelerator(name: str, all_of_them: str, *, processor: bool = False) -> Diagnostic:
    """The catalog has no such accelerator."""
    if processor:
        place = argument("--accelerators", all_of_them)
        return problem("LS540", f"`{name}` is a processor, and a search compares accelerators", place, help=["leave it out"])
    near = [known for known in accelerator_names() if known.startswith(f"{name.lower()}-")][:4] or nearest(name, accelerator_names())
    hint = f"did you mean {choice(near)}?" if near else "use identifiers of the catalog, or `all` for every one that somebody rents out"
    return problem("LS540", f"the catalog has no accelerator `{name}`", argument("--accelerators", all_of_them), help=[hint])


def no_such_provider(name: str, known: Sequence[str], accelerators: Sequence[str]) -> Diagnostic:
    """Nobody of that name quotes any of the accelerators."""
    near = nearest(name, tuple(known))
    kinds = ", ".join(f"`{kind}`" for kind in accelerators[:4]) + (" and others" if len(accelerators) > 4 else "")
    hint = f"did you mean {choice(near)}?" if near else "these do: " + ", ".join(sorted(known)) if known else "set `hardware.price`"
    return problem("LS541", f"the catalog has no quote of `{name}` for {kinds}", argument("--provider", name), help=[hint])


def nothing_fits(resolved: Resolved, what: str, *hints: str) -> Diagnostic:
    """No layout fits, or none is legal."""
    return problem("LS542", what, resolved.span("hardware.accelerator"), help=hints)


def out_of_reach(resolved: Resolved, what: str, *hints: str) -> Diagnostic:
    """The goal cannot be reached with what was searched, so that there is nothing to apply."""
    return problem("LS543", what, resolved.root, help=hints)


def no_price(resolved: Resolved, accelerators: Sequence[str]) -> Diagnostic:
    """A goal in money, and no price."""
    kinds = ", ".join(f"`{kind}`" for kind in accelerators[:4])
    hint = "set `hardware.price` to what you pay for one accelerator hour, or search others with `--accelerators`"
    return problem(
        "LS544", f"nobody quotes {kinds}, so that nothing can be said of money", resolved.span("hardware.accelerator"), help=[hint]
    )


def not_editable(path: Path, reason: str, place: Span | None = None) -> Diagnostic:
    """The winner cannot be written into the file without changing what it means."""
    help = ["copy the changes by hand: `llmspec search` prints them"]
    return problem("LS545", f"`{path}` cannot be edited: {reason}", place or Span(str(path), 1, 1, 1, 2), help=help)


def not_writable(path: Path, reason: str) -> Diagnostic:
    """The file cannot be written."""
    return problem("LS546", f"cannot write `{path}`: {reason}", Span(str(path), 1, 1, 1, 2), help=["grant it with `chmod u+w`, or copy it"])


def on_processor(resolved: Resolved) -> Diagnostic:
    """A spec for a processor."""
    what = f"a search compares layouts of accelerators, and `{resolved.spec.hardware.accelerator}` is a processor"
    hint = (
        "name an accelerator, such as `--set hardware.accelerator=h100-sxm`; `llmspec estimate` says which one change helps on a processor"
    )
    return problem("LS547", what, resolved.span("hardware.accelerator"), help=[hint])


def never_that_low(resolved: Resolved, loss: float, lowest: float, *, varied: bool) -> Diagnostic:
    """A loss that no number of tokens reaches."""
    what = f"the law expects {lowest:.3f} at the least of {'these models' if varied else 'this model'}, however long it is trained"
    hint = "ask for a higher loss" if varied else "add `--vary-size`, or ask for a higher loss"
    return problem("LS548", what, argument("--loss", f"{loss:g}"), label=f"{loss:g} < {lowest:.3f}", help=[hint])
