"""Train the model.

    python train.py
    python train.py --resume          go on from the newest checkpoint, if there is one
    python train.py --start-from DIR  begin with the weights of a checkpoint or an imported model
    python train.py --max-steps 20    stop early, on the whole run's learning rate schedule
    python train.py --dry-run         print the arithmetic and stop

Run tokenizer.py and prepare_data.py first. Checkpoints and metrics.jsonl go to run/. Ctrl-C or
SIGTERM finishes the step, saves and stops; a second one stops at once. A resumed run goes on as if
it had never stopped.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from checkpoint import Checkpoints, Progress, Stateful, load_model
from config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GuardConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from data import Batch, TrainingData, ValidationData
from energy import EnergyMeter
from evaluate import evaluate
from guard import Guard
from metrics import Metrics, Reporter, model_flops_utilization, peak_memory_gib
from model import Transformer
from objectives import count_targets, loss
from optim import build_optimizer, learning_rate


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What may differ from one start to the next; everything else is in config.py."""
    limit = TrainingConfig().max_steps
    parser = argparse.ArgumentParser(description="Train the model.")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--start-from", type=Path, metavar="DIR", help="begin with the weights that are there"
    )
    parser.add_argument("--max-steps", type=int, default=limit, help="stop after so many in all")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output-dir", type=Path, default=Path("run"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dry-run", action="store_true", help="print the arithmetic and stop")
    args = parser.parse_args(arguments)
    if not 1 <= args.max_steps <= limit:
        parser.error(f"--max-steps must be from 1 to {limit}, where the schedule ends")
    if args.start_from is not None and not args.start_from.is_dir():
        parser.error(f"--start-from: {args.start_from} is no directory")
    return args


def catch_signals() -> list[int]:
    """Note Ctrl-C, SIGTERM and SIGUSR1 in the list returned; a second one interrupts at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGUSR1, note)
    return caught


def describe_run(config: TrainingConfig, model: Transformer, device: torch.device) -> str:
    """The run's arithmetic."""
    batch, micro = config.global_batch_size, config.micro_batch_size
    tokens = batch * config.sequence_length
    lines = (
        f"device        {device.type}, fp32",
        f"parameters    {sum(parameter.numel() for parameter in model.parameters()):,}",
        f"global batch  {batch} = micro {micro} x accumulation {batch // micro}",
        f"tokens        {tokens:,} a step, {tokens * config.max_steps:,} in all",
        f"steps         {config.max_steps:,}",
    )
    return "\n".join(lines)


def fetch(
    data: TrainingData, step: int, config: TrainingConfig, device: torch.device
) -> tuple[list[Batch], int]:
    """The micro batches of a step, and the number of targets in all of them."""
    size, micro = config.global_batch_size, config.micro_batch_size
    first = (step - 1) * size
    batches = [data.batch(sample, micro) for sample in range(first, first + size, micro)]
    return [batch.to(device) for batch in batches], sum(map(count_targets, batches))


def forward_backward(
    model: Transformer, batches: list[Batch], num_targets: int, device: torch.device
) -> Tensor:
    """Add up the gradients of the micro batches; returns the loss of the whole batch.

    Each loss is divided by the targets of the whole batch: the sum is what one big batch gives.
    """
    total = torch.zeros((), device=device)
    for batch in batches:
        part = loss(model, batch, num_targets)
        part.backward()
        total += part.detach()
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit status."""
    args = parse_arguments(arguments)
    device = torch.device(args.device)
    started = time.perf_counter()
    config, schedule = TrainingConfig(), ScheduleConfig()
    saving, logging = CheckpointConfig(), LoggingConfig()
    evaluation = EvaluationConfig()

    # 1. The model.
    with torch.device("meta") if args.dry_run else device:
        model = Transformer(ModelConfig())
    print(describe_run(config, model, device))
    if args.dry_run:
        return 0
    if args.start_from is None:
        model.init_weights(torch.Generator(device).manual_seed(config.seed))
    else:
        load_model(model, args.start_from)

    # 2. The optimizer.
    optimizer = build_optimizer(model, OptimizerConfig())

    # 3. The data. What a step sees depends on its number alone.
    data = TrainingData(args.data_dir, DataConfig(), config.sequence_length, config.seed)
    validation = ValidationData(args.data_dir, config.sequence_length)

    # 4. The beginning, or the newest checkpoint.
    settings = {
        "model": asdict(ModelConfig()),
        "data": {"num_tokens": data.num_tokens},
        "training": {
            "seed": config.seed,
            "sequence_length": config.sequence_length,
            "global_batch_size": config.global_batch_size,
        },
    }
    guard = Guard(GuardConfig())
    extra: dict[str, Stateful] = {"guard": guard}
    checkpoints = Checkpoints(args.output_dir, model, optimizer, settings, saving, extra)
    progress, latest = Progress(), checkpoints.find_latest()
    if latest is not None and not args.resume:
        sys.exit(f"{latest} is there already: add --resume, or name another --output-dir")
    if latest is not None:
        progress = checkpoints.restore(latest)
    started -= progress.seconds  # as if the run had never stopped
    energy = EnergyMeter(device, progress.energy_kwh)

    # 5. The loop. From here on a signal lets a step be finished and saved.
    caught = catch_signals()
    batches, num_targets = fetch(data, progress.step + 1, config, device)
    tokens_per_step = config.global_batch_size * config.sequence_length
    busy, reading, last_report = 0.0, 0.0, progress.step
    with Reporter(args.output_dir, progress.step, args.max_steps) as reporter:
        if progress.step:
            reporter.say(f"going on from step {progress.step:,}")
        for step in range(progress.step + 1, args.max_steps + 1):
            step_started = time.perf_counter()
            # Forward and backward.
            total = forward_backward(model, batches, num_targets, device)
            grad_norm = clip_grad_norm_(model.parameters(), config.max_grad_norm)

            # Read the next batch while an accelerator is still busy with this one.
            reading -= time.perf_counter()
            batches, num_targets = fetch(data, step + 1, config, device)
            reading += time.perf_counter()
            stopping = bool(caught)
            step_loss = total.item()

            # Update, unless it would do harm.
            rate = learning_rate(step, config.max_steps, schedule)
            for group in optimizer.param_groups:
                group["lr"] = rate
            if guard.allows(step, step_loss, float(grad_norm)):
                optimizer.step()
            else:
                reporter.say(f"step {step} skipped: loss {step_loss:.4g}, norm {grad_norm:.4g}")
            optimizer.zero_grad()
            if guard.has_enough():
                sys.exit(
                    f"step {step}: stopped, since {len(guard.recent)} of the last "
                    f"{guard.config.window} steps were skipped. A lower learning rate or a longer "
                    "warm-up may help"
                )
            now = time.perf_counter()
            busy += now - step_started
            progress = Progress(
                step, step * config.global_batch_size, step * tokens_per_step, now - started
            )
            reporter.advance(step)

            # Report, evaluate, save.
            last = step == args.max_steps
            evaluating = last or step % evaluation.every == 0
            if evaluating or step == 1 or step % logging.every == 0:
                seconds_per_step = busy / (step - last_report)
                speed = tokens_per_step / seconds_per_step
                metrics: Metrics = {
                    "loss": step_loss,
                    "learning_rate": rate,
                    "grad_norm": float(grad_norm),
                    "tokens": progress.tokens,
                    "tokens_per_second": speed,
                    "mfu": model_flops_utilization(speed, device),
                    "memory_gib": peak_memory_gib(device),
                    "data_wait": reading / busy,
                    "energy_kwh": energy.kwh(),
                    "energy_source": energy.source,
                    "skipped": guard.num_skipped,
                    "seconds": progress.seconds,
                }
                seconds_left = (args.max_steps - step) * seconds_per_step
                scores: Metrics = {}
                if evaluating:
                    scored = validation.batches(config.micro_batch_size, evaluation.max_tokens)
                    scores = evaluate(model, scored, device, validation.bytes_per_token)
                reporter.report(step, metrics, scores, seconds_left)
                busy, reading, last_report = 0.0, 0.0, step
            # The first step too: if saving fails, then at once.
            if last or stopping or step == 1 or step % saving.every == 0:
                progress = replace(progress, energy_kwh=energy.kwh())
                checkpoints.save(progress)
            if stopping and not last:
                reporter.say(f"saved step {step} and stopped; --resume goes on from there")
                return 128 + caught[0]
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
