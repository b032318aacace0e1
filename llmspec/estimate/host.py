"""Memory of a machine, outside its accelerators, for what DeepSpeed offloads."""

from llmspec.resolve.resolved import Resolved

_GIB = 2**30
# Bytes an element in fp32: the parameter, its gradient, and the moments.
_STATE_BYTES = {"adam": 16, "adamw": 16, "lion": 12}


def offloaded_gib(resolved: Resolved, num_parameters: int) -> float:
    """GiB that one machine needs: its share of the optimizer's state and of the parameters (Ren et al. 2021, ZeRO-Offload)."""
    spec = resolved.spec
    offload = spec.parallelism.offload
    if offload is None:
        return 0.0
    state = _STATE_BYTES.get(spec.optimizer.kind, 16) if offload.optimizer == "cpu" else 0
    parameters = (4 if spec.precision == "fp32" else 2) if offload.parameters == "cpu" else 0
    return (state + parameters) * num_parameters / spec.hardware.nodes / _GIB
