"""Proves that how the model runs changes neither names nor results."""

import pytest
import torch
from tiny import MadeUpData, shrink, tiny_model

from objectives import cross_entropy, predict
from parallelize import parallelize


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation would take too long."""
    shrink(monkeypatch.setattr)


def test_names_and_gradients_stay() -> None:
    batch = MadeUpData().batch(0, 4)
    gradients = []
    for parallel in (False, True):
        model = tiny_model()
        names = list(model.state_dict())
        replica = model
        if parallel:
            parallelize(model)
        torch.manual_seed(0)  # of dropout
        cross_entropy(predict(replica, batch), batch.targets).backward()
        assert list(model.state_dict()) == names
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, parallelized in zip(*gradients, strict=True):
        torch.testing.assert_close(parallelized, plain)
