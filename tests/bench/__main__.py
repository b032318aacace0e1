"""`make bench`: how fast the commands start, how fast specs compile, how fast emitted projects train beside their peers.

Everything is measured in one run on one machine, contenders in turn, and the medians are compared: figures of different machines or
moments are not comparable, ratios of one run are.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench.shapes import SHAPES, spec_text, write_tokens

ROOT = Path(__file__).resolve().parents[2]
LITGPT_ENVIRONMENT = ROOT / ".venv-litgpt"
LITGPT_REQUIREMENTS = ("litgpt==0.5.13", "transformers<5")  # litgpt needs transformers 4, hence an environment of its own


class Run(NamedTuple):
    """What one run of a contender showed."""

    tokens_per_second: float
    peak_gib: float


Contender = Callable[[], Run]


def say(line: str = "") -> None:
    """Print one line at once, since the next may take minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def llmspec(*arguments: str) -> list[str]:
    """The command line of the installed `llmspec`."""
    return [str(Path(sysconfig.get_path("scripts")) / "llmspec"), *arguments]


def wall_seconds(command: list[str], repeats: int) -> float:
    """Median wall-clock of a whole process, the interpreter's start included."""
    # Without compiled modules on disk, which that variable forbids to write, every start would compile them again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def bench_commands() -> bool:
    """Cold start of `validate` and `build` beside a bare interpreter."""
    with tempfile.TemporaryDirectory() as directory:
        rows = [
            ("python -c pass", [sys.executable, "-c", "pass"], None),
            ("llmspec --help", llmspec("--help"), None),
            ("llmspec validate specs/quickstart.yaml", llmspec("validate", "specs/quickstart.yaml"), 0.25),
            ("llmspec estimate specs/llama-3.2-1b.yaml", llmspec("estimate", "specs/llama-3.2-1b.yaml"), None),
            *(
                (f"llmspec build {path}", llmspec("build", path, "-o", str(Path(directory) / Path(path).stem)), 1.0)
                for path in ("specs/quickstart.yaml", "specs/llama-3.2-1b.yaml")
            ),
        ]
        say(f"{'cold start, median of 9':<46}{'seconds':>9}{'limit':>8}")
        met = True
        for name, command, limit in rows:
            seconds = wall_seconds(command, 9)
            met = met and (limit is None or seconds < limit)
            say(f"{name:<46}{seconds:>9.3f}{'' if limit is None else f'{limit:.2f}':>8}")
    say()
    return met


def litgpt_python() -> str | None:
    """The interpreter of litgpt's own environment, made on the first run; None where it cannot be installed."""
    python = LITGPT_ENVIRONMENT / "bin" / "python"
    stamp = LITGPT_ENVIRONMENT / "installed"
    if not stamp.exists():
        venv.create(LITGPT_ENVIRONMENT, with_pip=True, clear=True)
        torch_pin = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
        for requirements in ((torch_pin,), LITGPT_REQUIREMENTS):
            finished = subprocess.run([str(python), "-m", "pip", "install", "-q", *requirements], check=False)
            if finished.returncode:
                return None
        stamp.touch()
    return str(python)


def emitted_run(directory: Path, shape_name: str, engine: str, processes: int, precision: str, *, compile: bool) -> Contender:
    """The emitted project, started as its users start it; its own log is what is read."""
    shape = SHAPES[shape_name]
    name = f"{shape_name}-{engine}-{processes}-{precision}-{compile}"
    (directory / f"{name}.yaml").write_text(spec_text(shape_name, engine, processes, precision, compile=compile))
    project = directory / name
    subprocess.run(llmspec("build", str(directory / f"{name}.yaml"), "-o", str(project)), check=True, capture_output=True)

    def run() -> Run:
        output = project / "run"
        shutil.rmtree(output, ignore_errors=True)
        where = ["train.py", "--device", "cpu", "--data-dir", str(directory / shape_name), "--output-dir", str(output)]
        execute([*launcher(sys.executable, processes), *where], processes, cwd=project)
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        # The first step has a line of its own; the interval after it is where things warm up.
        seconds = [after["seconds"] - before["seconds"] for before, after in itertools.pairwise(lines[1:])]
        tokens = shape["interval"] * shape["global_batch_size"] * shape["sequence_length"]
        return Run(statistics.median(tokens / second for second in seconds), max(line["memory_gib"] for line in lines))

    return run


def peer_run(directory: Path, contender: str, python: str, shape_name: str, processes: int, precision: str, *, compile: bool) -> Contender:
    """One of the others."""
    tokens = directory / shape_name / "tokens" / "python" / "00000.train.tokens"
    arguments = [str(ROOT / "tests/bench/trainers.py"), contender, shape_name, precision, str(tokens), *(["--compile"] if compile else [])]

    def run() -> Run:
        output = execute([*launcher(python, processes), *arguments], processes, cwd=directory)
        found = json.loads(next(line for line in output.splitlines() if line.startswith('{"parameters"')))
        return Run(statistics.median(found["tokens_per_second"]), found["peak_gib"])

    return run


def launcher(python: str, processes: int) -> list[str]:
    """The command line in front of a script."""
    return [python] if processes == 1 else [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def execute(command: list[str], processes: int, cwd: Path) -> str:
    """Run to the end with the cores shared out among the processes; returns what was printed."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def bench_training(shapes: list[str], precisions: list[str], rounds: int, *, compile: bool) -> bool:
    """Tokens a second and peak memory beside the peers: same shapes, tokens, batches and processes."""
    litgpt = litgpt_python()
    if litgpt is None:
        say("litgpt could not be installed: it is left out")
    met = True
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for shape, precision in itertools.product(shapes, precisions):
            if not (directory / shape).exists():
                write_tokens(SHAPES[shape], directory / shape)
            for processes in (1, 2):
                options = (shape, processes, precision)
                contenders = {
                    "emitted": emitted_run(directory, shape, "torch", processes, precision, compile=compile),
                    "Hugging Face Trainer": peer_run(directory, "trainer", sys.executable, *options, compile=compile),
                    "DeepSpeed's bare loop": peer_run(directory, "deepspeed", sys.executable, *options, compile=compile),
                }
                if litgpt is not None and processes == 1:
                    contenders["litgpt"] = peer_run(directory, "litgpt", litgpt, *options, compile=compile)
                if processes == 2:
                    contenders["emitted, DeepSpeed"] = emitted_run(directory, shape, "deepspeed", processes, precision, compile=compile)
                runs: dict[str, list[Run]] = {name: [] for name in contenders}
                for _ in range(rounds):
                    for name, contender in contenders.items():
                        runs[name].append(contender())
                plural = "process" if processes == 1 else "processes"
                met = report_training(f"{shape}, {precision}, {processes} {plural}", runs) and met
    return met


def report_training(title: str, runs: dict[str, list[Run]]) -> bool:
    """Print one table; whether the emitted project is at least as fast as each peer."""
    say(f"{title:<36}{'tokens/s':>11}{'emitted/it':>12}{'peak GiB':>10}{'emitted/it':>12}")
    met = True
    for name, rows in runs.items():
        # Each round ran the contenders one after the other: the ratio is taken within a round, then the median over rounds.
        pairs = list(zip(runs["emitted"], rows, strict=True))
        speed = statistics.median(ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in pairs)
        memory = statistics.median(ours.peak_gib / theirs.peak_gib for ours, theirs in pairs)
        say(
            f"  {name:<34}{statistics.median(row.tokens_per_second for row in rows):>11,.0f}{speed:>12.2f}"
            f"{statistics.median(row.peak_gib for row in rows):>10.2f}{memory:>12.2f}"
        )
        met = met and (speed >= 1.0 or name.startswith("emitted"))
    if "emitted, DeepSpeed" in runs:
        pairs = list(zip(runs["emitted, DeepSpeed"], runs["DeepSpeed's bare loop"], strict=True))
        ratio = statistics.median(ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in pairs)
        say(f"  the emitted DeepSpeed project against DeepSpeed's bare loop: {ratio:.2f}")
        met = met and ratio >= 1.0
    say()
    return met


def main() -> None:
    """Run the benchmark."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="compile every contender's model")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--only", choices=["commands", "training"])
    arguments = parser.parse_args()
    met = True
    if arguments.only != "training":
        met = bench_commands()
    if arguments.only != "commands":
        precisions = ["fp32"]
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            precisions.append("bf16")
        else:
            say("this CPU has no bf16 instructions: fp32 alone is compared\n")
        met = bench_training(arguments.shapes, precisions, arguments.rounds, compile=arguments.compile) and met
    say("all limits and ratios met" if met else "some limit or ratio was not met")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
