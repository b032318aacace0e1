"""Proves that every parameter is optimized as it should be."""

from tiny import MadeUpData, tiny_model
from torch import Tensor

from config import OptimizerConfig
from objectives import count_targets, loss
from optim import build_optimizer


def test_every_parameter_is_in_one_group() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    optimized = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(optimized) == sorted(id(parameter) for parameter in model.parameters())


def test_what_decays() -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig())
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        is_vector = "norm" in name or name.endswith("bias")
        expected = 0.0 if is_vector else OptimizerConfig().weight_decay
        assert decay[id(parameter)] == expected, name


def test_steps_lower_the_loss_and_leave_a_state_to_save() -> None:
    model, batch = tiny_model(), MadeUpData().batch(0, 8)
    optimizer = build_optimizer(model, OptimizerConfig())
    losses = []
    for _ in range(8):
        part = loss(model, batch, count_targets(batch))
        part.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.003
        optimizer.step()
        optimizer.zero_grad()
        losses.append(part.item())
    assert losses[-1] < losses[0]
    for parameter in model.parameters():
        for value in optimizer.state[parameter].values():
            assert type(value) is Tensor
