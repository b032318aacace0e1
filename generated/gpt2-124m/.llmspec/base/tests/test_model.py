"""The network does what it should: small models of the same kind, on a CPU."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from config import ModelConfig
from generate import generate
from model import Transformer

# The same components as the real model's, in a size that a CPU runs in milliseconds.
SMALL = dataclasses.replace(
    ModelConfig(),
    vocab_size=97,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=4,
    head_dim=16,
    ffn_hidden_size=96,
    num_positions=64,
)


@pytest.fixture
def model() -> Transformer:
    """A small model with weights large enough that everything matters, without dropout."""
    model = Transformer(SMALL)
    model.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model.eval()


def random_tokens(batch_size: int, length: int) -> torch.Tensor:
    """Token ids that are the same in every run."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(SMALL.vocab_size, (batch_size, length), generator=generator)


def test_number_of_parameters() -> None:
    with torch.device("meta"):
        model = Transformer(ModelConfig())
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert num_parameters == 124_475_904


def test_new_weights_predict_nothing() -> None:
    model = Transformer(SMALL)
    model.init_weights(torch.Generator().manual_seed(0))
    tokens = random_tokens(8, 33)
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - math.log(SMALL.vocab_size)) < 0.2


def test_a_step_downhill_lowers_the_loss() -> None:
    model = Transformer(SMALL).eval()
    model.init_weights(torch.Generator().manual_seed(0))
    tokens = random_tokens(4, 33)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.01 * parameter.grad)
    assert losses[1] < losses[0]


@torch.no_grad()
def test_no_token_sees_the_future(model: Transformer) -> None:
    tokens = random_tokens(2, 24)
    changed = tokens.clone()
    changed[:, 15] = (changed[:, 15] + 1) % SMALL.vocab_size
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :15], before[:, :15])
    assert not torch.allclose(after[:, 15], before[:, 15], atol=1e-3)


@torch.no_grad()
def test_tokens_see_what_came_before(model: Transformer) -> None:
    tokens = random_tokens(2, 24)
    changed = tokens.clone()
    changed[:, 15] = (changed[:, 15] + 1) % SMALL.vocab_size
    assert not torch.allclose(model(changed)[:, 16], model(tokens)[:, 16], atol=1e-4)


@torch.no_grad()
def test_the_cache_changes_nothing(model: Transformer) -> None:
    tokens = random_tokens(2, 24)
    cache = model.empty_cache(2, 24)
    parts = [model(tokens[:, :9], cache=cache)]
    parts += [model(tokens[:, i : i + 1], cache=cache) for i in range(9, 24)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_generation_takes_the_likeliest_tokens(model: Transformer) -> None:
    prompt = random_tokens(1, 5)[0].tolist()
    generator = torch.Generator().manual_seed(0)
    written = list(
        generate(
            model,
            prompt,
            max_new_tokens=8,
            temperature=0,
            top_k=0,
            top_p=1.0,
            eos_id=None,
            generator=generator,
        )
    )
    tokens = list(prompt)
    with torch.autocast("cpu", torch.bfloat16):
        for token in written:
            # In 16 bits two tokens may be equally likely.
            logits = model(torch.tensor([tokens]))[0, -1].float()
            assert logits[token] >= logits.max() - 0.05 * logits.abs().max()
            tokens.append(token)
