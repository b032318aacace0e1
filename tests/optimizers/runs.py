"""Trains emitted projects in one process, since importing torch takes longer than they do.

    python -m tests.optimizers.runs DATA PROJECT...

Each is trained to its end in run/, and once more in halves/: stopped in the middle and resumed. STEPS are odd ones out: no checkpoint
is due in the middle.
"""

import os
import sys
from pathlib import Path

import torch

MIDDLE = 12


def train(project: Path, data: str) -> None:
    before = set(sys.modules)
    sys.path.insert(0, str(project))
    os.chdir(project)
    import train as program

    where = ["--device", "cpu", "--data-dir", data]
    for arguments in (["run"], ["halves", "--max-steps", str(MIDDLE)], ["halves", "--resume"]):
        assert program.main([*where, "--output-dir", *arguments]) == 0
    sys.path.remove(str(project))
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(project)):
            del sys.modules[name]


if __name__ == "__main__":
    torch.compiler.set_stance("force_eager")
    for path in sys.argv[2:]:
        train(Path(path), sys.argv[1])
