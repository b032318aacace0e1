"""The whole compiler, one line a pass. Read this file first.

Each pass takes what the one before it gave and reports problems to the bag; a pass that found an error ends the compilation.
Nothing here touches the disk but to read the spec: `compile_spec` returns the project as text, and `llmspec.emit.write` puts it down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmspec.check import check, check_buildable
from llmspec.diagnostics import Bag
from llmspec.estimate import Estimate, estimate
from llmspec.network import Network, describe
from llmspec.resolve import Resolved, resolve
from llmspec.spec import Composed, compose, load
from llmspec.spec.standalone import standalone_text

if TYPE_CHECKING:
    from llmspec.emit import Project
    from llmspec.estimate.profile import Profile


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of a run before anything is emitted."""

    composed: Composed
    resolved: Resolved
    network: Network
    estimate: Estimate
    profile: "Profile | None" = None


def analyze(
    path: Path,
    overrides: Sequence[str],
    bag: Bag,
    *,
    to_build: bool = True,
    profile: "Profile | None" = None,
    misfit: Bag | None = None,
) -> Analysis:
    """Read, check and estimate a spec. Raises `CompilationError` at the first pass that leaves an error in the bag.

    Args:
        path: The spec file.
        overrides: Values of `--set`.
        bag: Takes the diagnostics.
        to_build: Whether a project is to be built of it; false where an estimate is all that is wanted, which knows more than `build`.
        profile: What runs that were measured have taught, for the estimate.
        misfit: Takes what speaks against a run that could be described, such as its memory, where its figures are wanted all the same;
            `bag` where it is None.
    """
    composed = compose(path, overrides, bag)  # YAML, `extends`, presets, `--set` -> one tree with positions    LS0xx, LS2xx
    bag.raise_if_errors()
    spec = load(composed, bag)  # tree -> Spec: names, types, ranges                                            LS1xx
    bag.raise_if_errors()
    resolved = resolve(composed, spec, bag)  # derived values, and where each value came from                   LS2xx
    bag.raise_if_errors()
    if to_build:
        bag.extend(check_buildable(resolved))  # what no project is written for yet                             LS39x
        bag.raise_if_errors()
    network = describe(resolved)  # every weight and every operation of the model
    bag.extend(check(resolved, network, None))  # what cannot be right, whatever it costs                       LS3xx
    bag.raise_if_errors()
    figures = estimate(resolved, network)  # parameters, memory, time, money, carbon, loss
    if profile is not None:
        figures = profile.calibrated(resolved, network, figures, bag)  # the same, as measured runs have it          LS56x
        bag.raise_if_errors()
    (bag if misfit is None else misfit).extend(check(resolved, network, figures))  # what does not fit or is wasteful   LS4xx
    bag.raise_if_errors()
    return Analysis(composed, resolved, network, figures, profile)


def render(analysis: Analysis, output_directory: Path) -> "Project":
    """Turn an analysed spec into a project in memory. A fault in here is a bug of llmspec, not of the spec."""
    # Imported here because `validate` and `estimate` start faster without templates and formatter.
    from llmspec.emit import emit
    from llmspec.lower import lower

    text = standalone_text(analysis.composed)  # the spec as one file that needs no other
    plan = lower(analysis.resolved, analysis.network, analysis.estimate, text, output_directory)  # the last decisions
    return emit(plan)  # render, format, verify                                                                 LS9xx


def compile_spec(path: Path, overrides: Sequence[str], output_directory: Path, bag: Bag) -> "Project":
    """Compile a spec into a project in memory; `llmspec.emit.write` puts it down."""
    return render(analyze(path, overrides, bag), output_directory)
