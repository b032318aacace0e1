"""How many layouts a search scores in a second: `python -m tests.bench.search`."""

import statistics
import sys
import time
from pathlib import Path

from llmspec.diagnostics import Bag
from llmspec.search.score import score, tight_factor
from llmspec.search.search import read_base
from llmspec.search.space import Point, space_of

SPECS = ("llama-3.2-1b", "llama-3.1-8b")
NODES = (1, 4, 16)
REPEATS = 5


def main() -> None:
    """Measure and print: generation, memory, step time and what is to blame, all of it, on one core; the wall-clock and its own time."""
    for name in SPECS:
        base = read_base(Path(__file__).parents[2] / f"specs/{name}.yaml", (), Bag())[0]
        hardware = base.resolved.spec.hardware
        space = space_of(base, (), hardware.accelerator, hardware.accelerators_per_node, tight_factor())
        assert space is not None
        for nodes in NODES:
            point = Point(hardware.accelerator, nodes, hardware.accelerators_per_node)
            seconds, busy = [], []
            for _ in range(REPEATS):
                started, worked = time.perf_counter(), time.process_time()
                scored = score(space, point)
                seconds.append(time.perf_counter() - started)
                busy.append(time.process_time() - worked)
            count, fits = len(scored.columns), scored.scores.fits.mean()
            rate, core = count / statistics.median(seconds), count / statistics.median(busy)
            sys.stdout.write(
                f"{name:<14} {point.devices:>4} devices {count:>9,} layouts, {fits:>4.0%} fit: {rate:>9,.0f} a second, "
                f"{core:>9,.0f} a second of one core's time\n"
            )


if __name__ == "__main__":
    main()
