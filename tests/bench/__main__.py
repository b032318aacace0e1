"""`make bench`: how fast the commands start, how fast specs compile, how fast emitted projects train beside their peers.

Everything is measured in one run on one machine, contenders in turn, and the medians are compared: figures of different machines or
moments are not comparable, ratios of one run are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

from tests.bench.contender import SHAPES

ROOT = Path(__file__).resolve().parents[2]
LITGPT_ENVIRONMENT = ROOT / ".venv-litgpt"
LITGPT_REQUIREMENTS = ("litgpt==0.5.13", "transformers<5")  # litgpt needs transformers 4, hence an environment of its own

STEPS = {"quickstart": 15, "gpt2-124m": 4}  # timed steps in each process: half a minute at most


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


def bench_spec(shape_name: str, precision: str) -> str:
    """A spec whose model has a contender's shape. YAML reads JSON."""
    shape = SHAPES[shape_name]
    gpt2 = shape["family"] == "gpt2"
    architecture: dict[str, object] = {
        "hidden_size": shape["hidden_size"],
        "num_layers": shape["num_layers"],
        "tie_embeddings": True,
        "attention": {"kind": "mha", "num_heads": shape["num_heads"], "qkv_bias": True, "output_bias": True}
        if gpt2
        else {"kind": "gqa", "num_heads": shape["num_heads"], "num_kv_heads": shape["num_kv_heads"]},
        "feed_forward": {"kind": "gelu", "approximate": "tanh", "bias": True, "ffn_hidden_size": shape["ffn_hidden_size"]}
        if gpt2
        else {"kind": "swiglu", "ffn_hidden_size": shape["ffn_hidden_size"]},
        "norm": {"kind": "layernorm"} if gpt2 else {"kind": "rmsnorm"},
        "position": {"kind": "learned", "num_positions": 1024} if gpt2 else {"kind": "rope"},
    }
    spec = {
        "llmspec": 1,
        "name": shape_name,
        "architecture": architecture,
        "tokenizer": {"kind": "bpe", "vocab_size": shape["vocab_size"]},
        "data": {"sources": [{"name": "python", "kind": "python_stdlib"}], "packing": {"document_mask": False}},
        "training": {
            "sequence_length": shape["sequence_length"],
            "global_batch_size": shape["micro_batch_size"],
            "micro_batch_size": shape["micro_batch_size"],
            "max_steps": 100,
        },
        "optimizer": {"learning_rate": 1e-4},
        "precision": precision,
        "hardware": {"accelerator": "a100-80-sxm"},
    }
    return json.dumps(spec)


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


def bench_training(precisions: list[str], shapes: list[str], rounds: int) -> bool:
    """Tokens a second and peak memory of emitted projects, transformers and litgpt: same shapes, tokens and loop."""
    contenders = {"emitted": sys.executable, "transformers": sys.executable}
    litgpt = litgpt_python()
    if litgpt is None:
        say("litgpt could not be installed: it is left out")
    else:
        contenders["litgpt"] = litgpt
    met = True
    with tempfile.TemporaryDirectory() as directory:
        for shape in shapes:
            for precision in precisions:
                project = Path(directory) / f"{shape}-{precision}"
                spec = Path(directory) / f"{shape}-{precision}.yaml"
                spec.write_text(bench_spec(shape, precision))
                subprocess.run(llmspec("build", str(spec), "-o", str(project)), check=True, capture_output=True)
                runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
                for _ in range(rounds):
                    for name, python in contenders.items():
                        command = [python, str(ROOT / "tests/bench/contender.py"), name, shape, precision, "--steps", str(STEPS[shape])]
                        output = subprocess.run(
                            [*command, "--project", str(project)],
                            check=True, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
                        ).stdout  # fmt: skip
                        runs[name].append(json.loads(output.splitlines()[-1]))
                met = report_training(f"{shape}, {precision}", runs) and met
    return met


def report_training(title: str, runs: dict[str, list[dict[str, float]]]) -> bool:
    """Print one table; whether the emitted project is at least as fast as each peer."""
    ours = runs["emitted"]
    say(f"{title:<24}{'parameters':>14}{'tokens/s':>11}{'emitted/it':>12}{'peak GiB':>10}{'emitted/it':>12}")
    met = True
    for name, rows in runs.items():
        # Each round ran the contenders one after the other: the ratio is taken within a round, then the median over rounds.
        speed = statistics.median(o["tokens_per_second"] / r["tokens_per_second"] for o, r in zip(ours, rows, strict=True))
        memory = statistics.median(o["peak_gib"] / r["peak_gib"] for o, r in zip(ours, rows, strict=True))
        say(
            f"  {name:<22}{int(rows[0]['parameters']):>14,}{statistics.median(r['tokens_per_second'] for r in rows):>11,.0f}"
            f"{speed:>12.2f}{statistics.median(r['peak_gib'] for r in rows):>10.2f}{memory:>12.2f}"
        )
        met = met and speed >= 1.0
    say()
    return met


def main() -> None:
    """Run the benchmark."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
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
        met = bench_training(precisions, arguments.shapes, arguments.rounds) and met
    say("all limits and ratios met" if met else "some limit or ratio was not met")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
