"""Lays a project's model over the processes, and tells how much memory that took and what the weights are.

python initial.py PROJECT
"""

import gc
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_fp32_param


def tensor_bytes() -> int:
    """What all tensors of this process hold."""
    tensors = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    tensors += [tensor.ds_tensor for tensor in tensors if getattr(tensor, "ds_tensor", None) is not None]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors if not tensor.is_meta}
    return sum(storages.values())


def main() -> None:
    project = Path(sys.argv[1])
    os.chdir(project)
    sys.path.insert(0, str(project))
    import config
    import engine
    import optim
    from model import Transformer

    device = engine.join_processes("cpu")
    samples = []
    calls = itertools.count()

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            result = function(*args)
            if next(calls) % 5 == 0:  # to look at all objects takes long
                samples.append(tensor_bytes())
            return result

        return counted

    deepspeed.zero.Init._convert_to_deepspeed_param = counting(deepspeed.zero.Init._convert_to_deepspeed_param)
    Transformer.init_weight = counting(Transformer.init_weight)
    model = engine.build_shards(8, 2, device)
    engine.init_weights(model, torch.Generator().manual_seed(7))
    sharded, peak, num_samples = tensor_bytes(), max(samples), len(samples)
    used = engine.build_engine(model, optim.build_optimizer(model, config.OptimizerConfig()), 8, 2)
    weights = {name: safe_get_full_fp32_param(parameter) for name, parameter in used.module.named_parameters()}
    whole = Transformer(config.ModelConfig())
    whole.init_weights(torch.Generator().manual_seed(7))
    result = {
        "whole": sum(parameter.nbytes for parameter in whole.parameters()),
        "largest": max(parameter.nbytes for parameter in whole.parameters()),
        "num_samples": num_samples,
        "peak": peak,
        "sharded": sharded,
        "different": [name for name, parameter in whole.named_parameters() if not torch.equal(weights[name], parameter)],
    }
    if dist.get_rank() == 0:
        print("RESULT", json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
