"""Proves that every parameter is optimized as it should be."""

from tiny import tiny_model

from config import OptimizerConfig
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
