"""What to do when a GPU runs out of memory: a snapshot of what is in it, and what to change."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from config import TrainingConfig

GIB = 2**30
# Changes of the spec that leave the results as they are, the cheapest first.
CHANGES = (
    "`parallelism.activation_checkpointing: selective` in the spec: cheap parts are computed twice",
    "`parallelism.activation_checkpointing: full` in the spec: whole layers are computed twice",
)


@contextmanager
def explained_out_of_memory(output_dir: Path) -> Iterator[None]:
    """End the run with an explanation where memory runs out."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        path = output_dir / "memory-snapshot.pickle"
        lines = [f"out of memory: {str(error).splitlines()[0]}", find_place(error)]
        if torch.cuda.is_available():
            lines += describe_memory()
            output_dir.mkdir(parents=True, exist_ok=True)
            torch.cuda.memory._dump_snapshot(str(path))
            lines.append(f"  what lies in it: {path}, for https://pytorch.org/memory_viz")
        raise SystemExit("\n".join([*lines, *advise()])) from error


def find_place(error: BaseException) -> str:
    """The last line of this project that was being run."""
    here = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent == here]
    return f"  in {ours[-1].name}, {Path(ours[-1].filename).name}:{ours[-1].lineno}"


def describe_memory() -> list[str]:
    """What of the GPU's memory is taken, and by whom."""
    free, total = torch.cuda.mem_get_info()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    lines = [
        f"  {allocated / GIB:.2f} GiB in tensors, {reserved / GIB:.2f} GiB reserved by this "
        f"process, {free / GIB:.2f} GiB free, of {total / GIB:.2f} GiB"
    ]
    if reserved - allocated > 0.1 * total:
        lines.append(
            "  much of it is reserved and in pieces too small: "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment may be enough"
        )
    return lines


def advise() -> list[str]:
    """What to change, the cheapest first."""
    micro = TrainingConfig().micro_batch_size
    lines = []
    if micro > 1:
        lines.append(
            f"`micro_batch_size` {micro // 2} instead of {micro} in config.py: the same batch "
            "in smaller parts, with about half the activations"
        )
    lines += CHANGES
    lines.append("a shorter `sequence_length`, which changes what is learned")
    return ["What helps:", *(f"  - {line}" for line in lines)]
