"""What a calibration has learned and what it changes, for people."""

from collections.abc import Callable, Sequence
from typing import Any

from llmspec.cli.estimate_text import bounds, colored, duration, gib, seconds
from llmspec.cli.profiles import Calibrated
from llmspec.compare.observation import WARM_UP_STEPS
from llmspec.estimate import Estimate, Quantity
from llmspec.estimate.profile import Measured


def calibration_table(learned: Calibrated, before: Estimate, after: Estimate) -> str:
    """The runs with what was estimated for them, the figures of the spec before and after, and the file."""
    profile = learned.profile
    title = colored(f"{profile.learned} on {profile.accelerator}", bold=True)
    rows = [("run", "step", "estimated", "", "memory", "estimated", "", "in steps", "counted")]
    for run in profile.runs:
        in_steps = "" if run.stepping is None else f"{run.stepping:.0%}"
        counted = f"{run.steps:,} steps, {run.intervals:,} lines"
        rows.append((run.name, *_measured(run.step_seconds, seconds), *_measured(run.memory_gib, gib), in_steps, counted))
    changed = [("", "before", "", "after", "", "")]
    for label, old, new, show in _figures(before, after):
        ratio = "" if not old.value else f"x {new.value / old.value:.2f}"
        changed.append((label, show(old.value), bounds(old, show).strip(), show(new.value), bounds(new, show).strip(), ratio))
    assert after.calibration is not None
    step = after.calibration.step
    left = f"the interval of the step is {step.spread:.0%} as wide as before" + _why(after.calibration.remarks)
    return "\n".join(
        [
            title,
            f"the first {WARM_UP_STEPS} steps of each run are left out: they compile and warm up",
            "",
            *_columns(rows),
            "",
            colored(f"What that changes for {after.name}", bold=True),
            *_columns(changed),
            left,
            "",
            f"{'replaced' if learned.replaced else 'wrote'} {learned.place}: use it with `--profile {_name(learned)}`",
        ]
    )


def calibration_json(learned: Calibrated, before: Estimate) -> dict[str, Any]:
    """What the command adds to the estimate's JSON.

    file, replaced                        where the profile is, and whether one was there
    warm_up_steps                         of each run that were left out
    runs                                  name, log, steps, intervals, step_seconds and memory_gib (measured, estimated), stepping
    before                                the plain figures of the estimate's time.step_seconds, memory.peak_gib and time.goodput,
                                          each with low and high
    """
    figures = {
        "time.step_seconds": before.step_time.step,
        "memory.peak_gib": before.memory.peak,
        "time.goodput": before.wall_clock.goodput.goodput,
    }
    return {
        "file": str(learned.place),
        "replaced": learned.replaced,
        "warm_up_steps": WARM_UP_STEPS,
        "runs": [
            {
                "name": run.name,
                "log": run.log,
                "steps": run.steps,
                "intervals": run.intervals,
                "step_seconds": _pair(run.step_seconds),
                "memory_gib": _pair(run.memory_gib),
                "stepping": run.stepping,
            }
            for run in learned.profile.runs
        ],
        "before": {key: {"value": figure.value, "low": figure.low, "high": figure.high} for key, figure in figures.items()},
    }


def _name(learned: Calibrated) -> str:
    place = learned.place
    return learned.profile.name if place.parent.name == "llmspec-profiles" and place.suffix == ".yaml" else str(place)


def _why(remarks: tuple[str, ...]) -> str:
    return f": {', '.join(remarks)}" if remarks else ""


def _pair(value: Measured | None) -> dict[str, float] | None:
    return None if value is None else {"measured": value.measured, "estimated": value.estimated}


def _measured(value: Measured | None, show: Callable[[float], str]) -> tuple[str, str, str]:
    return ("", "", "") if value is None else (show(value.measured), show(value.estimated), f"x {value.ratio:.2f}")


def _figures(before: Estimate, after: Estimate) -> list[tuple[str, Quantity, Quantity, Callable[[float], str]]]:
    return [
        ("time of a step", before.step_time.step, after.step_time.step, seconds),
        ("memory of a device", before.memory.peak, after.memory.peak, gib),
        ("time in steps", before.wall_clock.goodput.goodput, after.wall_clock.goodput.goodput, "{:.1%}".format),
        ("run", before.wall_clock.total_hours, after.wall_clock.total_hours, duration),
    ]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
