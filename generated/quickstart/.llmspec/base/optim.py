"""How the weights move: the optimizer, and the learning rate as a pure function of the step."""

from typing import Any

from torch import nn
from torch.optim import AdamW

from config import OptimizerConfig, ScheduleConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and embeddings decay; norms and biases, which have one dimension, do not."""
    decays: list[nn.Parameter] = []
    stays: list[nn.Parameter] = []
    for parameter in model.parameters():
        (decays if parameter.ndim >= 2 else stays).append(parameter)
    return [
        {"params": decays, "weight_decay": weight_decay},
        {"params": stays, "weight_decay": 0.0},
    ]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW (Loshchilov and Hutter 2017). The learning rate is set before every step."""
    return AdamW(
        parameter_groups(model, config.weight_decay),
        betas=(config.beta1, config.beta2),
        eps=config.adam_eps,
        fused=True,
    )


def learning_rate(step: int, max_steps: int, config: ScheduleConfig) -> float:
    """Learning rate of a step, the first being 1: up in a line, level, and down.

    Warmup-stable-decay (Hu et al. 2024).
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    decay_steps = round(config.decay_fraction * max_steps)
    start = max_steps - decay_steps
    if step <= start:
        return config.learning_rate
    progress = (step - start) / decay_steps
    height = 1 - progress
    return config.min_learning_rate + height * (config.learning_rate - config.min_learning_rate)
