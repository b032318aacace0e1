"""What the run reports: lines in metrics.jsonl and on the console.

A terminal gets a progress bar too.
"""

import json
import math
import resource
import sys
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from config import LoggingConfig

Metrics = dict[str, Any]  # numbers and words; None for what is not known


def peak_memory_gib(device: torch.device) -> float:
    """Most memory used so far, in GiB: by tensors on an accelerator, by the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 2**30


def model_flops_utilization(tokens_per_second: float, device: torch.device) -> float | None:
    """Share of one device's peak that the model's arithmetic uses (Chowdhery et al. 2022).

    None on another type of device than the run was planned for, since its peak is not known.
    """
    config = LoggingConfig()
    if device.type != config.device_type:
        return None
    return tokens_per_second * config.flops_per_token / config.peak_flops


class Reporter:
    """Reports the steps after `first_step`, as far as `last_step`."""

    def __init__(self, output_dir: Path, first_step: int, last_step: int) -> None:
        path = output_dir / "metrics.jsonl"
        _keep_until(path, first_step)
        self.file = path.open("a")
        self.last_step = last_step
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=4,
        )
        self.task = self.bar.add_task("training", total=last_step, completed=first_step)

    def __enter__(self) -> "Reporter":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()
        self.file.close()

    def advance(self, step: int) -> None:
        """Move the progress bar."""
        self.bar.update(self.task, completed=step)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)

    def report(self, step: int, metrics: Metrics, scores: Metrics, seconds_left: float) -> None:
        """Write what one step has shown; `scores` are empty where it was not evaluated."""
        record = {"step": step, **metrics, **scores}
        for name, value in record.items():
            if isinstance(value, float) and not math.isfinite(value):
                record[name] = None  # JSON has no word for it
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()
        self.say(console_line(step, self.last_step, metrics, seconds_left))
        if scores:
            self.say(score_line(scores))


def console_line(step: int, last_step: int, metrics: Metrics, seconds_left: float) -> str:
    """One step's metrics for people."""
    width = len(str(last_step))
    parts = [
        f"step {step:{width}}/{last_step}",
        f"loss {metrics['loss']:.4f}",
        f"lr {metrics['learning_rate']:.2e}",
        f"norm {metrics['grad_norm']:.2f}",
        f"{metrics['tokens_per_second']:,.0f} tokens/s",
        f"{metrics['memory_gib']:.2f} GiB",
        f"eta {timedelta(seconds=round(seconds_left))}",
    ]
    if metrics["skipped"]:
        parts.append(f"skipped {metrics['skipped']}")
    if metrics["mfu"] is not None:
        parts.insert(5, f"mfu {metrics['mfu']:.1%}")
    if metrics["energy_kwh"] is not None:
        estimated = " est." if metrics["energy_source"] == "estimated" else ""
        parts.append(f"{metrics['energy_kwh']:.3g} kWh{estimated}")
    if metrics["data_wait"] > 0.01:
        parts.append(f"waits for data {metrics['data_wait']:.1%}")
    return "  ".join(parts)


def score_line(scores: Metrics) -> str:
    """Scores of the validation documents for people."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines of later steps, which will come again, and a line that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept))
    partial.replace(path)
