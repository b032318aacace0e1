"""Trains several emitted projects one after the other in the same processes, each in its own `run/`.

    torchrun --nproc-per-node N parity_driver.py DATA_DIR PROJECT...

Starting processes takes longer than twenty tiny steps do. Not a test: test_parity.py runs it.
"""

import importlib
import os
import sys
from pathlib import Path

import torch

MODULES = [path.stem for path in Path(sys.argv[2]).glob("*.py")]


def main() -> None:
    data, projects = sys.argv[1], sys.argv[2:]
    device = None
    for project in projects:
        for name in {*MODULES, *(path.stem for path in Path(project).glob("*.py"))}:
            sys.modules.pop(name, None)
        sys.path[0] = project
        os.chdir(project)
        train = importlib.import_module("train")
        args = ["--device", "cpu", "--data-dir", data]
        torch.manual_seed(0)
        if not hasattr(train, "join_processes"):
            assert train.main(args) == 0
            continue
        device = device or train.join_processes("cpu")
        assert train.train(train.parse_arguments(args), device) == 0


main()
