"""Runs train.py of several projects one after the other in the same processes, since starting DeepSpeed takes longer than the runs.

python several.py OUTPUT PROJECT... -- ARGUMENTS OF TRAIN.PY
"""

import importlib
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator


def main() -> None:
    split = sys.argv.index("--")
    output, projects, arguments = sys.argv[1], [Path(name) for name in sys.argv[2:split]], sys.argv[split + 1 :]
    # DeepSpeed asks the processor, which does compute in fp16, if slowly.
    CPU_Accelerator.is_fp16_supported = lambda self: True
    leave = dist.destroy_process_group
    dist.destroy_process_group = lambda: None
    for index, project in enumerate(projects):
        os.chdir(project)
        sys.path.insert(0, str(project))
        train = importlib.import_module("train")
        if index:  # DeepSpeed does not join a second group
            train.join_processes = lambda _: torch.device("cpu")
        torch.manual_seed(0)
        assert train.main([*arguments, "--device", "cpu", "--output-dir", output]) == 0
        sys.path.pop(0)
        for path in project.glob("*.py"):
            sys.modules.pop(path.stem, None)
    leave()


if __name__ == "__main__":
    main()
