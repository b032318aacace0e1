"""The DeepSpeed engine: ds_config.json and the files that only its projects have."""

import json
from dataclasses import dataclass
from typing import Any

from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema import Spec

# Elements in one bucket of gradients or gathered parameters: 200 MB in fp32, enough to fill a network link.
_BUCKET = 50_000_000
# Parameters of fewer elements stay whole on every device under ZeRO-3: norms and biases, for which a message would cost more than they.
_PERSISTENT = 10_000


@dataclass(frozen=True, slots=True)
class DeepspeedPlan:
    """What the templates need to know of the DeepSpeed engine.

    `sharded` says that a device holds only its share of the parameters between steps, `replicated` that nothing at all is sharded.
    """

    zero_stage: int
    sharded: bool
    replicated: bool
    sharding_phrase: str
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


_SHARDED = {
    0: "nothing: every process holds all of it",
    1: "the optimizer's state",
    2: "the optimizer's state and the gradients",
    3: "the optimizer's state, the gradients and the parameters",
}


def lower_deepspeed(resolved: Resolved, network: Network) -> DeepspeedPlan | None:
    """Decide DeepSpeed's configuration; None with another engine."""
    spec = resolved.spec
    if spec.parallelism.engine != "deepspeed":
        return None
    stage = spec.parallelism.zero_stage
    num_parameters = sum(weight.size for weight in network.weights)
    return DeepspeedPlan(
        zero_stage=stage,
        sharded=stage == 3,
        replicated=stage == 0,
        sharding_phrase=_SHARDED[stage],
        dependencies=("deepspeed>=0.19",),
        config_classes=(),
        files=(
            EmittedFile("engine.py", "project/engine.py.jinja"),
            EmittedFile("ds_config.json", None, json.dumps(_ds_config(spec, num_parameters), indent=2) + "\n"),
            EmittedFile("tests/conftest.py", "components/deepspeed/conftest.py.jinja"),
            EmittedFile("tests/test_engine.py", "project/tests/test_engine.py.jinja"),
        ),
    )


def _ds_config(spec: Spec, num_parameters: int) -> dict[str, Any]:
    """All that DeepSpeed reads. Its defaults change between versions, so whatever matters is written down."""
    clipping = spec.training.max_grad_norm
    return {
        "gradient_clipping": 0.0 if clipping == "none" else clipping,
        **_numerics(spec),
        "zero_optimization": _zero_optimization(spec, num_parameters),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }


def _numerics(spec: Spec) -> dict[str, Any]:
    """Number formats: of parameters, of the gradients that are added up, and of what the processes send one another."""
    off = {"enabled": False}
    reduction = {"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"}
    if spec.precision == "bf16":
        return {"bf16": {"enabled": True, "check_grad_overflow": True}, "fp16": off, **reduction}
    return {"bf16": off, "fp16": off, **reduction}


def _zero_optimization(spec: Spec, num_parameters: int) -> dict[str, Any]:
    stage = spec.parallelism.zero_stage
    if stage == 0:
        return {"stage": 0}
    bucket = min(_BUCKET, num_parameters)
    shared = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": True,
        "reduce_scatter": True,
        "reduce_bucket_size": bucket,
    }
    if stage < 3:
        return {**shared, "allgather_partitions": True, "allgather_bucket_size": bucket, "round_robin_gradients": False}
    return {
        **shared,
        "stage3_prefetch_bucket_size": bucket,
        "stage3_param_persistence_threshold": _PERSISTENT,
        "stage3_max_live_parameters": 1_000_000_000,
        "stage3_max_reuse_distance": 1_000_000_000,
        "sub_group_size": 1_000_000_000,
    }
