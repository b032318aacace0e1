"""How much an optimizer remembers of each weight: for memory estimates, and held against the emitted optimizers by a test."""

from llmspec.network.network import Weight
from llmspec.spec.schema.optimizer import (
    Adafactor,
    AdamW8bit,
    AnyOptimizer,
    Lion,
    Muon,
    RmsProp,
    Sgd,
    Soap,
)

FLOAT = 4
# torchao leaves smaller tensors in fp32, and keeps the values of the 256 codes with each quantised moment.
MIN_QUANTIZED = 4096
CODES = 256


def optimizer_state_bytes(optimizer: AnyOptimizer, weight: Weight) -> int:
    """Bytes of an optimizer's state for one weight on one device that holds all of it; counters of a few bytes are left out.

    Sum it over `Network.weights` for the model. Where layouts shard the state, the optimizers that they allow are those whose state is
    shared out evenly, so a device's part is this over the size of the group. Gradients and parameters are not in it.
    """
    size = weight.size
    match optimizer:
        case Sgd():
            return FLOAT * size if optimizer.momentum else 0
        case RmsProp():
            return FLOAT * size * (2 if optimizer.momentum else 1)
        case Lion():
            return FLOAT * size
        case Adafactor():
            return FLOAT * (sum(weight.shape) if len(weight.shape) == 2 else size)
        case Muon():
            return FLOAT * size * (1 if weight.layer is not None and len(weight.shape) == 2 else 2)
        case Soap():
            sides = weight.shape if len(weight.shape) == 2 else ()
            # A covariance and its eigenvectors for each side.
            return 2 * FLOAT * (size + sum(side**2 for side in sides if side <= optimizer.max_precondition_size))
        case AdamW8bit() if _is_quantized(optimizer, weight):
            return 2 * (size + FLOAT * (size // optimizer.block_size + CODES))
        case _:
            return 2 * FLOAT * size


def _is_quantized(optimizer: AdamW8bit, weight: Weight) -> bool:
    chosen = optimizer.quantize_embeddings or weight.layer is not None
    return chosen and weight.size >= MIN_QUANTIZED and weight.size % optimizer.block_size == 0
