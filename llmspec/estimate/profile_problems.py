"""What can be wrong with profiles and what they learn from: one function a code. `llmspec.diagnostics.codes` has their documentation."""

from collections.abc import Sequence
from pathlib import Path

from llmspec.diagnostics import Diagnostic, Fact, Severity, Span
from llmspec.diagnostics.codes import problem
from llmspec.diagnostics.suggest import nearest

AGAIN = "write it anew: `llmspec estimate SPEC --calibrate LOG... --profile NAME`"


def _whole(path: Path) -> Span:
    return Span(str(path), 1, 1, 1, 1)


def log_without_project(path: Path, reason: str) -> Diagnostic:
    """A log that belongs to no project, so that nothing is known of what ran."""
    help = ["name the directory that `llmspec build` wrote, or run/metrics.jsonl in it"]
    return problem("LS560", f"`{path}` {reason}", _whole(path), help=help)


def too_few_steps(span: Span, facts: Sequence[Fact]) -> Diagnostic:
    """A log in which too little is left once the first steps are left out."""
    help = ["let the run go on, or log more often with `logging.every`"]
    return problem("LS561", "the log ends too early to learn from", span, facts=facts, help=help)


def another_run(span: Span, message: str, facts: Sequence[Fact]) -> Diagnostic:
    """A log that is not of the project's spec."""
    help = ["name the log of a run that was made with this project's spec.yaml, on the devices that it names"]
    return problem("LS562", message, span, facts=facts, help=help)


def no_profile(path: Path, name: str, others: Sequence[str]) -> Diagnostic:
    """There is no such profile."""
    near = nearest(name, others)
    help = [f"did you mean `{near[0]}`?"] if near else []
    if others and not near:
        help.append(f"there are {', '.join(f'`{other}`' for other in others)}")
    return problem("LS563", f"there is no profile `{path}`", _whole(path), help=[*help, AGAIN])


def bad_profile(span: Span, message: str, label: str = "") -> Diagnostic:
    """The file is not one that `--calibrate` writes, or has been edited."""
    return problem("LS564", message, span, label=label, help=[AGAIN])


def another_accelerator(span: Span, profile: str, theirs: str, ours: str) -> Diagnostic:
    """The profile was learned on other devices."""
    facts = (Fact("learned on", theirs, profile), Fact("asked for", ours, "hardware.accelerator"))
    message = f"the profile was learned on {theirs} and says nothing about {ours}"
    return problem("LS565", message, span, facts=facts, help=[f"calibrate with the log of a run on {ours}, or leave `--profile` out"])


def several_accelerators(path: Path, first: str, second: str) -> Diagnostic:
    """Logs of runs on different devices."""
    message = f"the runs are on {first} and on {second}; a profile is of one kind of accelerator"
    return problem("LS565", message, _whole(path), help=["write a profile for each"])


def other_constants(span: Span, profile: str) -> Diagnostic:
    """The profile corrects another version of the estimator."""
    message = f"the profile `{profile}` corrects the estimates of another version of llmspec"
    return problem("LS566", message, span, help=[AGAIN])


def not_writable(path: Path, reason: str) -> Diagnostic:
    """The profile cannot be written."""
    return problem(
        "LS567", f"cannot write `{path}`: {reason}", _whole(path), help=["name another place with `--profile DIRECTORY/NAME.yaml`"]
    )


def far_off(span: Span, ratio: float) -> Diagnostic:
    """A run that is nowhere near its estimate."""
    times = f"{ratio:.3g} times as long as" if ratio > 1 else f"{1 / ratio:.3g} times as fast as"
    message = f"a step took {times} was estimated, which hardware and software alone do not explain"
    help = ["see that nothing else ran on the devices, and that the spec names the ones that were used"]
    return problem("LS568", message, span, severity=Severity.WARNING, help=help)
