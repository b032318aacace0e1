"""The tokenizer gives text back."""

from dataclasses import replace
from pathlib import Path

import pytest

from config import TokenizerConfig
from tokenizer import Tokenizer, train

CODE = 'def main():\n\tif x  ==  1:\r\n        return "two"\n\n\n    # three   \n'
TEXTS = [
    CODE,
    "The quick brown fox jumps over the lazy dog, 1234567890 times.",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "你好,世界。今天天气很好。",
    "مرحبا بالعالم، كيف حالك؟",
    "Emoji: 👩‍👩‍👧 🇮🇳 ✨, a block: ▁▂▃, a ligature: ﬁ.",
    "  leading and trailing  ",
    " ",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """This project's own modules, and the texts above."""
    modules = sorted(Path(__file__).parents[1].glob("*.py"))
    return [*(module.read_text(encoding="utf-8") for module in modules), *TEXTS]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer(train(texts, CONFIG))


CONFIG = replace(TokenizerConfig(), vocab_size=700, character_coverage=1.0)


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unseen_characters_come_back(tokenizer: Tokenizer) -> None:
    text = "Ελληνικά, 한국어, \u2581 and \u0000"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_is_deterministic(texts: list[str]) -> None:
    assert train(texts, CONFIG) == train(texts, CONFIG)


def test_code_is_compressed(tokenizer: Tokenizer) -> None:
    code = Path(__file__).read_text(encoding="utf-8").split("TEXTS = ")[0]
    assert len(tokenizer.encode(code)) < len(code.encode()) / 1.5


def test_a_vocabulary_that_is_too_large_is_named() -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.vocab_size is 60,000.* at most"):
        train(TEXTS, replace(CONFIG, vocab_size=60_000))


def test_a_vocabulary_that_is_too_small_is_named() -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.vocab_size is 20.* raise it"):
        train(TEXTS, replace(CONFIG, vocab_size=20))


def test_ids_are_in_the_vocabulary(tokenizer: Tokenizer) -> None:
    ids = {id for text in TEXTS for id in tokenizer.encode(text)}
    assert ids <= set(range(tokenizer.vocab_size))


def test_special_tokens_are_not_in_text(tokenizer: Tokenizer) -> None:
    ids = {id for text in TEXTS for id in tokenizer.encode(text)}
    assert tokenizer.eos_id not in ids
    assert tokenizer.decode([*tokenizer.encode("a"), tokenizer.eos_id]) == tokenizer.decode(
        tokenizer.encode("a")
    )
