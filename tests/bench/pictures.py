"""`make pictures`: the pictures of the README, drawn from a finished quickstart and from the estimator's own output.

    python -m tests.bench.pictures

Writes generated/pictures/quickstart-loss.svg (from generated/quickstart/run/metrics.jsonl) and generated/pictures/estimate.svg (what
a terminal shows for `llmspec estimate specs/llama-3.2-1b.yaml`).
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
from html import escape
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "generated" / "pictures"
METRICS = ROOT / "generated" / "quickstart" / "run" / "metrics.jsonl"
ESTIMATE = ["llmspec", "estimate", "specs/llama-3.2-1b.yaml"]
WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 40, 44
TRAINING, VALIDATION = "#3b6fb6", "#c8553d"


def loss_curve(rows: list[dict[str, float]]) -> str:
    """Training loss at every reported step, validation loss at every evaluation, as SVG."""
    last_step = rows[-1]["step"]
    highest = max(row["loss"] for row in rows)
    top, low = int(highest) + 1, int(min(row["loss"] for row in rows))

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last_step

    def y(loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - loss) / (top - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for loss in range(low, top + 1):
        parts.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end" fill="#555">{loss}</text>')
    for quarter in range(5):
        step = round(last_step * quarter / 4)
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#555">{step}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle" fill="#555">step</text>')
    parts.append(f'<text x="{LEFT}" y="22" fill="#222">Loss in nats a token: quickstart, {int(rows[-1]["tokens"]):,} tokens</text>')
    line = " ".join(f"{x(row['step']):.1f},{y(row['loss']):.1f}" for row in rows)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{TRAINING}" stroke-width="2"/>')
    scored = [row for row in rows if "validation_loss" in row]
    parts.extend(f'<circle cx="{x(row["step"]):.1f}" cy="{y(row["validation_loss"]):.1f}" r="4" fill="{VALIDATION}"/>' for row in scored)
    final = f"{rows[-1]['loss']:.2f} training", f"{scored[-1]['validation_loss']:.2f} validation"
    for index, (color, text) in enumerate(zip((TRAINING, VALIDATION), final, strict=True)):
        parts.append(f'<text x="{WIDTH - RIGHT - 130}" y="{TOP + 22 + 20 * index}" fill="{color}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def terminal(command: list[str]) -> str:
    """What a terminal 116 columns wide shows for an llmspec command, as SVG."""
    executable = Path(sysconfig.get_path("scripts")) / command[0]
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": "116", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    output = subprocess.run(
        [str(executable), *command[1:]], cwd=ROOT, env=environment, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    # Whatever terminal this runs on: rich asks the environment for it.
    console = Console(record=True, width=116, file=StringIO(), force_terminal=True, _environ={"TERM": "xterm-256color"})
    console.print(Text.from_ansi(f"$ {' '.join(command)}\n{output}"))
    svg = console.export_svg(title="llmspec", unique_id="terminal")
    # A picture fetches nothing: the viewer's own monospace font does.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("font-family: Fira Code, monospace", "font-family: monospace")


def main() -> None:
    """Draw both."""
    if not METRICS.exists():
        sys.exit(f"{METRICS.relative_to(ROOT)} is missing: run `make quickstart` first")
    PICTURES.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in METRICS.read_text().splitlines()]
    (PICTURES / "quickstart-loss.svg").write_text(loss_curve(rows))
    (PICTURES / "estimate.svg").write_text(terminal(ESTIMATE))


if __name__ == "__main__":
    main()
