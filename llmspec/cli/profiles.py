"""Profiles on the disk: where they are, learning one from logs, and finding one again. Imported only by commands that are asked to."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmspec.catalog import find_accelerator
from llmspec.compare import read_log
from llmspec.compare.observation import LEAST_INTERVALS, LEAST_STEPS, WARM_UP_STEPS, intervals, observe
from llmspec.compile import Analysis, analyze
from llmspec.diagnostics import Bag, CompilationError, Fact, Span
from llmspec.estimate.profile import Profile, Run, run_of
from llmspec.estimate.profile_file import DIRECTORY, profile_text, read_profile
from llmspec.estimate.profile_problems import (
    another_run,
    far_off,
    log_without_project,
    not_writable,
    several_accelerators,
    too_few_steps,
)
from llmspec.resolve.batches import samples_of

# Directories above a log in which its project is looked for.
MOST_ABOVE = 4
# Beyond this many times the estimate, or this fraction, a run is doubted.
FAR = 5.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Source(NamedTuple):
    """A log and the project that it belongs to."""

    log: Path
    project: Path

    @property
    def spec(self) -> Path:
        """The project's spec."""
        return self.project / "spec.yaml"


class Calibrated(NamedTuple):
    """A profile that has just been learned and written."""

    profile: Profile
    place: Path
    replaced: bool


def is_path(name: str) -> bool:
    """Whether a profile is named by a path and not by a name."""
    return "/" in name or os.sep in name or name.endswith((".yaml", ".yml"))


def place_of(name: str, directory: Path) -> Path:
    """Where a profile of this name is written."""
    return Path(name) if is_path(name) else directory / DIRECTORY / f"{name}.yaml"


def load_profile(name: str, spec: Path, bag: Bag) -> Profile:
    """The profile of that name: beside the spec, or where the command runs. Raises `CompilationError` where there is none to use."""
    places = [place_of(name, spec.parent), place_of(name, Path())]
    place = next((one for one in places if one.exists()), places[0])
    others = sorted({one.stem for directory in (spec.parent, Path()) for one in (directory / DIRECTORY).glob("*.yaml")})
    profile = read_profile(place, name, others, bag)
    bag.raise_if_errors()
    assert profile is not None
    return profile


def find_sources(logs: Sequence[Path], bag: Bag) -> list[Source]:
    """The logs that were given, each once, with their projects."""
    found: dict[str, Source] = {}
    for given in logs:
        source = _source(given, bag)
        if source is not None:
            found.setdefault(os.path.realpath(source.log), source)
    bag.raise_if_errors()
    return list(found.values())


def _source(given: Path, bag: Bag) -> Source | None:
    if given.is_dir():
        if (given / "spec.yaml").is_file():
            return Source(given / "run" / "metrics.jsonl", given)
        if not (given / "metrics.jsonl").is_file():
            bag.add(log_without_project(given, "holds neither spec.yaml nor metrics.jsonl"))
            return None
        log = given / "metrics.jsonl"
    else:
        log = given
        if log.suffix in (".yaml", ".yml"):
            bag.add(log_without_project(given, "is not a log"))
            return None
    for above in range(MOST_ABOVE):
        # By the names as they are written: run/ may be a link to a larger disk.
        directory = Path(os.path.normpath(log.parent.joinpath(*[".."] * above)))
        if (directory / "spec.yaml").is_file():
            return Source(log, directory)
    reason = "belongs to no project: no spec.yaml stands above it" if log.exists() else "is not there"
    bag.add(log_without_project(given, reason))
    return None


def learn(sources: Sequence[Source], name: str | None, directory: Path, bag: Bag) -> tuple[Profile, Path]:
    """A profile from logs, not yet written, and where it goes.

    Args:
        sources: At least one log with its project.
        name: Of the profile, or its path; None for that of the accelerator.
        directory: Below which it goes where `name` is no path.
        bag: Takes the diagnostics.
    """
    runs: list[Run] = []
    accelerators: list[str] = []
    for source in sources:
        own = Bag()
        try:
            analysis = analyze(source.spec, (), own, to_build=False)
        except CompilationError:
            bag.extend(own.errors)
            bag.sources.update(own.sources)
            continue
        run = _run(source, analysis, bag)
        if run is not None:
            device = find_accelerator(analysis.resolved.spec.hardware.accelerator)
            assert device is not None
            accelerators.append(device.id)
            runs.append(run)
            if device.id != accelerators[0]:
                bag.add(several_accelerators(source.spec, accelerators[0], device.id))
    bag.raise_if_errors()
    name = name or accelerators[0]
    place = place_of(name, directory)
    if not is_path(name) and not _NAME.fullmatch(name):
        bag.add(not_writable(place, "a name has letters, digits, dots, dashes and underscores"))
        bag.raise_if_errors()
    stem = place.stem if is_path(name) else name
    return Profile(stem, accelerators[0], runs, str(place)), place


def write_profile(profile: Profile, place: Path, bag: Bag) -> Calibrated:
    """Write a profile, and give it back as it can be read. Nothing else is touched."""
    replaced = place.exists()
    scratch = place.with_name(f".{place.name}.part")
    try:
        if replaced and b"llmspec_profile:" not in place.read_bytes():
            bag.add(not_writable(place, "another file stands there"))
            bag.raise_if_errors()
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(profile_text(profile), encoding="utf-8")
        scratch.replace(place)
    except OSError as error:
        if scratch.is_file():
            scratch.unlink()
        bag.add(not_writable(place, (error.strerror or str(error)).lower()))
        bag.raise_if_errors()
    read = read_profile(place, profile.name, (), bag)
    bag.raise_if_errors()
    assert read is not None
    return Calibrated(read, place, replaced)


def _run(source: Source, analysis: Analysis, bag: Bag) -> Run | None:
    """What one log says; None, and a diagnostic, where it is not one to learn from."""
    log = read_log(source.log, bag)
    if log is None:
        return None
    text = bag.sources[str(source.log)]
    resolved = analysis.resolved
    spec = resolved.spec
    for line in log.lines:
        tokens, expected = line.get("tokens"), samples_of(spec, line["step"]) * spec.training.sequence_length
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens != expected:
            facts = [Fact("in the log", f"{tokens:,}", f"{source.log}"), Fact("by the spec", f"{expected:,}", f"{source.spec}")]
            span = _line(source.log, text, line["step"])
            bag.add(another_run(span, f"step {line['step']:,} has seen another number of tokens than by the project's spec", facts))
            return None
    if all("mfu" in line and line["mfu"] is None for line in log.lines):
        facts = [Fact("accelerator", spec.hardware.accelerator, resolved.origin("hardware.accelerator").text)]
        message = "the run was on another kind of device than its spec names: no line has a model FLOPs utilisation"
        bag.add(another_run(_line(source.log, text, log.step), message, facts))
        return None
    seen = observe(log, resolved.tokens_per_step)
    if seen is None:
        left = intervals(log, resolved.tokens_per_step)
        facts = [
            Fact("last step", f"{log.step:,}", str(source.log)),
            Fact("left out", f"{WARM_UP_STEPS:,}", "the first steps compile and warm up"),
            Fact("lines that count", f"{len(left):,}", f"at least {LEAST_INTERVALS}"),
            Fact("steps between them", f"{sum(one.steps for one in left):,}", f"at least {LEAST_STEPS}"),
        ]
        bag.add(too_few_steps(_line(source.log, text, log.step), facts))
        return None
    run = run_of(
        resolved,
        analysis.network,
        analysis.estimate,
        log_name=source.log.as_posix(),
        steps=seen.steps,
        intervals=seen.intervals,
        step_seconds=seen.step_seconds,
        step_noise=seen.step_noise,
        memory_gib=seen.memory_gib,
        stepping=seen.stepping,
        stepping_noise=seen.stepping_noise,
    )
    if not 1 / FAR < run.step_seconds.ratio < FAR:
        bag.add(far_off(_line(source.log, text, log.step), run.step_seconds.ratio))
    return run


def _line(path: Path, text: str, step: int) -> Span:
    """The last line of a step."""
    found, length = 1, 1
    for number, line in enumerate(text.split("\n"), start=1):
        record = _record(line)
        if isinstance(record, dict) and record.get("step") == step:
            found, length = number, len(line)
    return Span(str(path), found, 1, found, length + 1)


def _record(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
