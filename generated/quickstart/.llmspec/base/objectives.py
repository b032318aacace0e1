"""What the model learns to do: predict each token from those before it.

Axes: B sequences in the batch, T tokens of a sequence, V vocab_size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from data import IGNORED, Batch


class CrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of all targets, in fp32.

    Keeps one fp32 tensor of the logits' shape and turns it into their gradient in place, where
    `F.cross_entropy` makes three more. Its backward pass can therefore run only once.
    """

    @staticmethod
    def forward(ctx: Any, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        """-log p(target), summed."""
        log_p_BTV = logits_BTV.log_softmax(dim=-1, dtype=torch.float32)
        valid_BT1 = (targets_BT != IGNORED).unsqueeze(-1)
        index_BT1 = targets_BT.clamp(min=0).unsqueeze(-1)
        ctx.save_for_backward(log_p_BTV, valid_BT1, index_BT1)
        ctx.dtype = logits_BTV.dtype
        return -(log_p_BTV.gather(-1, index_BT1) * valid_BT1).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """p - 1 at the target, p elsewhere."""
        log_p_BTV, valid_BT1, index_BT1 = ctx.saved_tensors
        scale_BT1 = valid_BT1 * gradient
        gradient_BTV = log_p_BTV.exp_().mul_(scale_BT1).scatter_add_(-1, index_BT1, -scale_BT1)
        return gradient_BTV.to(ctx.dtype), None


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Sum of the cross-entropies of all targets, in nats."""
    total: Tensor = CrossEntropy.apply(logits_BTV, targets_BT)
    return total


def count_targets(batch: Batch) -> int:
    """Number of positions that have something to predict."""
    return int((batch.targets != IGNORED).sum())


def predict(model: nn.Module, batch: Batch) -> Tensor:
    """The model's logits for a batch."""
    logits_BTV: Tensor = model(batch.tokens, batch.positions, batch.document_ids)
    return logits_BTV


def loss(model: nn.Module, batch: Batch, num_targets: int) -> Tensor:
    """Loss of a batch as its share of the global batch, which has `num_targets` targets."""
    return cross_entropy(predict(model, batch), batch.targets) / num_targets
