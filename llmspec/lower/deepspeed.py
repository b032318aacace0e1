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

    `convertible_stages` are those whose checkpoints can be resumed here by converting them. `scales` says that the loss is scaled, which
    `loss_scaler` does. `sharded` says that a device holds only its share of the parameters between steps, `replicated` that nothing at
    all is sharded. `optimizer_title` and `optimizer_mode` are for DeepSpeed's own optimizer: what it is, and the argument that says
    which Adam.
    """

    zero_stage: int
    convertible_stages: tuple[int, ...]
    loss_scaler: str
    scales: bool
    sharded: bool
    replicated: bool
    sharding_phrase: str
    offloads_optimizer: bool
    optimizer_title: str
    optimizer_mode: str
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


_SHARDED = {
    0: "nothing: every process holds all of it",
    1: "the optimizer's state",
    2: "the optimizer's state and the gradients",
    3: "the optimizer's state, the gradients and the parameters",
}


_OPTIMIZERS = {"adam": "Adam (Kingma and Ba 2014)", "adamw": "AdamW (Loshchilov and Hutter 2017)", "lion": "Lion (Chen et al. 2023)"}


def lower_deepspeed(resolved: Resolved, network: Network) -> DeepspeedPlan | None:
    """Decide DeepSpeed's configuration; None with another engine."""
    spec = resolved.spec
    if spec.parallelism.engine != "deepspeed":
        return None
    stage = spec.parallelism.zero_stage
    offload = spec.parallelism.offload
    offloads_optimizer = offload is not None and offload.optimizer != "none"
    mode = "adamw_mode" if offloads_optimizer else "adam_w_mode"
    return DeepspeedPlan(
        zero_stage=stage,
        convertible_stages=_convertible_stages(spec),
        loss_scaler="DynamicLossScaler" if spec.precision == "fp16" else "LossScaler",
        scales=spec.precision == "fp16",
        sharded=stage == 3,
        replicated=stage == 0,
        sharding_phrase=_SHARDED[stage],
        offloads_optimizer=offloads_optimizer,
        optimizer_title=_OPTIMIZERS.get(spec.optimizer.kind, ""),
        optimizer_mode="" if spec.optimizer.kind == "lion" else f"{mode}={spec.optimizer.kind == 'adamw'}",
        dependencies=("deepspeed>=0.19",),
        config_classes=(),
        files=(
            EmittedFile("engine.py", "project/engine.py.jinja"),
            EmittedFile("ds_config.json", None, json.dumps(_ds_config(spec, network), indent=2) + "\n"),
            EmittedFile("tests/conftest.py", "components/deepspeed/conftest.py.jinja"),
            EmittedFile("tests/test_engine.py", "project/tests/test_engine.py.jinja"),
        ),
    )


def _convertible_stages(spec: Spec) -> tuple[int, ...]:
    """What ds_to_universal, DeepSpeed's converter, can do: it knows Adam's state alone, and that of stage 3 is of another form."""
    stage = spec.parallelism.zero_stage
    if stage == 0 or spec.optimizer.kind not in ("adam", "adamw"):
        return ()
    return (3,) if stage == 3 else (1, 2)


def _ds_config(spec: Spec, network: Network) -> dict[str, Any]:
    """All that DeepSpeed reads. Its defaults change between versions, so whatever matters is written down."""
    clipping = spec.training.max_grad_norm
    return {
        "gradient_clipping": 0.0 if clipping == "none" else clipping,
        **_numerics(spec),
        "zero_optimization": _zero_optimization(spec, network),
        **_asynchronous_io(spec),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }


def _numerics(spec: Spec) -> dict[str, Any]:
    """Number formats: of parameters, of the gradients that are added up, and of what the processes send one another."""
    off = {"enabled": False}
    reduction = {"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"}
    if spec.precision == "fp16":
        scaling = {"loss_scale": 0, "initial_scale_power": 16, "loss_scale_window": 1000, "hysteresis": 1, "min_loss_scale": 1}
        return {"bf16": off, "fp16": {"enabled": True, **scaling}, **reduction}
    if spec.precision == "bf16":
        return {"bf16": {"enabled": True, "check_grad_overflow": True}, "fp16": off, **reduction}
    return {"bf16": off, "fp16": off, **reduction}


def _asynchronous_io(spec: Spec) -> dict[str, Any]:
    """How a disk is read and written, as DeepSpeed's own tuning of NVMe disks suggests to begin with."""
    offload = spec.parallelism.offload
    if offload is None or "nvme" not in (offload.optimizer, offload.parameters):
        return {}
    aio = {"block_size": 1_048_576, "queue_depth": 8, "thread_count": 1, "single_submit": False, "overlap_events": True}
    return {"aio": aio}


def _offload(spec: Spec, network: Network) -> dict[str, Any]:
    """Where optimizer state and parameters are kept."""
    offload = spec.parallelism.offload
    if offload is None:
        return {}
    settings: dict[str, Any] = {}
    if offload.optimizer != "none":
        settings["offload_optimizer"] = {"device": offload.optimizer, "pin_memory": True}
        if offload.optimizer == "nvme":
            settings["offload_optimizer"] |= {"nvme_path": offload.nvme_path, "buffer_count": 4}
    if offload.parameters != "none":
        settings["offload_param"] = {"device": offload.parameters, "pin_memory": True}
        if offload.parameters == "nvme":
            largest = max(weight.size for weight in network.weights)
            buffers = {"buffer_count": 5, "buffer_size": max(100_000_000, largest)}
            settings["offload_param"] |= {"nvme_path": offload.nvme_path, **buffers}
    return settings


def _zero_optimization(spec: Spec, network: Network) -> dict[str, Any]:
    stage = spec.parallelism.zero_stage
    if stage == 0:
        return {"stage": 0}
    bucket = min(_BUCKET, sum(weight.size for weight in network.weights))
    shared = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": True,
        "reduce_scatter": True,
        "reduce_bucket_size": bucket,
        **_offload(spec, network),
    }
    if stage < 3:
        return {**shared, "allgather_partitions": True, "allgather_bucket_size": bucket, "round_robin_gradients": False}
    return {
        **shared,
        "stage3_prefetch_bucket_size": bucket,
        "stage3_param_persistence_threshold": _PERSISTENT,
        "stage3_max_live_parameters": 1_000_000_000,
        "stage3_max_reuse_distance": 1_000_000_000,
        # Else building the model in shards puts a function of DeepSpeed's in the place of torch's linear, for good.
        "memory_efficient_linear": False,
        "sub_group_size": 1_000_000_000,
    }
