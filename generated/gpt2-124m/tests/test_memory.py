"""Proves that a run that is out of memory ends with what to change."""

from pathlib import Path

import pytest
import torch

from config import TrainingConfig
from memory import explained_out_of_memory


def test_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended, explained_out_of_memory(tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")
    text = str(ended.value)
    assert text.startswith("out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    micro = TrainingConfig().micro_batch_size
    assert (f"`micro_batch_size` {micro // 2} instead of {micro}" in text) == (micro > 1)
