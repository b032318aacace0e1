"""Drawing tokens."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model.emitted import GPT2, Emitted, emit, spec


@pytest.fixture
def emitted(tmp_path: Path) -> Emitted:
    return emit(spec({}), tmp_path)


def drawn(emitted: Emitted, logits: list[float], **settings: Any) -> Counter[int]:
    generator = torch.Generator().manual_seed(0)
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **settings}
    return Counter(emitted.generate.sample(torch.tensor(logits), **settings, generator=generator) for _ in range(4000))


LOGITS = [math.log(share) for share in (0.05, 0.5, 0.15, 0.3)]


def test_shares(emitted: Emitted) -> None:
    counts = drawn(emitted, LOGITS)
    for token, share in enumerate((0.05, 0.5, 0.15, 0.3)):
        assert counts[token] / 4000 == pytest.approx(share, abs=0.03)


def test_temperature(emitted: Emitted) -> None:
    assert set(drawn(emitted, LOGITS, temperature=0)) == {1}
    squares = [share**2 for share in (0.05, 0.5, 0.15, 0.3)]
    counts = drawn(emitted, LOGITS, temperature=0.5)
    for token, square in enumerate(squares):
        assert counts[token] / 4000 == pytest.approx(square / sum(squares), abs=0.03)


def test_top_k(emitted: Emitted) -> None:
    counts = drawn(emitted, LOGITS, top_k=2)
    assert set(counts) == {1, 3}
    assert counts[1] / 4000 == pytest.approx(0.5 / 0.8, abs=0.03)
    assert set(drawn(emitted, LOGITS, top_k=1)) == {1}
    assert set(drawn(emitted, LOGITS, top_k=100)) == {0, 1, 2, 3}


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, {1}), (0.55, {1, 3}), (0.79, {1, 3}), (0.81, {1, 2, 3}), (1.0, {0, 1, 2, 3})])
def test_top_p_keeps_the_token_that_crosses_it(emitted: Emitted, top_p: float, kept: set[int]) -> None:
    assert set(drawn(emitted, LOGITS, top_p=top_p)) == kept


def written(emitted: Emitted, model: Any, prompt: list[int], seed: int = 0, **settings: Any) -> list[int]:
    settings = {"max_new_tokens": 12, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "eos_id": None, **settings}
    return list(emitted.generate.generate(model, prompt, **settings, generator=torch.Generator().manual_seed(seed)))


def test_seeds(emitted: Emitted) -> None:
    model = emitted.new_model()
    first = written(emitted, model, [1, 2, 3])
    assert len(first) == 12
    assert written(emitted, model, [1, 2, 3]) == first
    assert written(emitted, model, [1, 2, 3], seed=1) != first


def test_it_stops_at_the_end_of_the_text(emitted: Emitted) -> None:
    model = emitted.new_model()
    first = written(emitted, model, [1, 2, 3])
    assert written(emitted, model, [1, 2, 3], eos_id=first[5]) == first[: first.index(first[5])]


def test_it_stops_where_positions_end(tmp_path: Path) -> None:
    emitted = emit(spec({**GPT2, "position": {"kind": "learned", "num_positions": 8}}), tmp_path)
    model = emitted.new_model()
    assert len(written(emitted, model, [1, 2, 3])) == 5
    assert written(emitted, model, [1] * 8) == []
    with pytest.raises(ValueError, match="1 tokens more than the model has positions"):
        written(emitted, model, [1] * 9)


def test_each_step_sees_one_token(emitted: Emitted) -> None:
    model, lengths = emitted.new_model(), []
    model.register_forward_pre_hook(lambda _, arguments: lengths.append(arguments[0].size(1)))
    written(emitted, model, [1, 2, 3, 4])
    assert lengths == [4] + [1] * 11
