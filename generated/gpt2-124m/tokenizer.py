"""The tokenizer: byte-pair encoding by sentencepiece, trained on the run's own documents.

Train it into data/tokenizer/ (nothing is done where that is done):

    python tokenizer.py
"""

import argparse
import hashlib
import io
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from config import DataConfig, TokenizerConfig
from sources import is_validation, plan_units, progress, read_documents

SENTENCE_CHARACTERS = 2**12
# sentencepiece writes a space as this character; the character itself is spelled in bytes.
SPACE_SYMBOL = "\u2581"


class Tokenizer:
    """Text to token ids and back."""

    def __init__(self, model: bytes) -> None:
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size: int = self.processor.get_piece_size()
        self.bos_id = None
        self.eos_id: int = self.processor.eos_id()
        self.space_symbol_ids: list[int] = [
            self.processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_SYMBOL.encode()
        ]
        self.fingerprint = hashlib.blake2b(model, digest_size=16).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        first, *others = self.processor.encode(text.split(SPACE_SYMBOL))
        ids: list[int] = first
        for other in others:
            ids += self.space_symbol_ids
            ids += other
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special tokens are left out."""
        text: str = self.processor.decode(list(ids))
        return text


def load_tokenizer(data_dir: Path) -> Tokenizer:
    """The tokenizer that `python tokenizer.py` trained."""
    path = model_path(data_dir)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `python tokenizer.py` first")
    return Tokenizer(path.read_bytes())


def model_path(data_dir: Path) -> Path:
    """Where the trained tokenizer is kept."""
    return data_dir / "tokenizer" / "tokenizer.model"


def train(texts: Iterable[str], config: TokenizerConfig) -> bytes:
    """Train a sentencepiece model; equal texts give equal bytes on every machine."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            # Short, because sentencepiece skips a sentence that has one of its reserved characters.
            sentence_iterator=(
                text[start : start + SENTENCE_CHARACTERS]
                for text in texts
                for start in range(0, len(text), SENTENCE_CHARACTERS)
            ),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            normalization_rule_name=config.normalization,
            split_digits=config.split_digits,
            unk_id=0,
            bos_id=-1,
            eos_id=1,
            pad_id=-1,
            # Spaces come back as they were, and runs of them, as in indented code, are pieces.
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            # Pieces may join letters with punctuation and line ends: code is full of `):`.
            split_by_unicode_script=False,
            # sentencepiece keeps tabs out of its own pieces.
            user_defined_symbols=["\t"],
            required_chars="\n",
            max_sentence_length=4 * SENTENCE_CHARACTERS,
            # Not the number of processors: the rounding of sums depends on it.
            num_threads=16,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise explain(error, config) from error
    return model.getvalue()


def explain(error: RuntimeError, config: TokenizerConfig) -> Exception:
    """Say a vocabulary size that the text cannot give in terms of the config."""
    message = str(error)
    if match := re.search(r"set it to a value <= (\d+)", message):
        return ValueError(
            f"tokenizer.vocab_size is {config.vocab_size:,}, but the training text gives at most "
            f"{int(match[1]):,} pieces: lower it, or add text"
        )
    if match := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return ValueError(
            f"tokenizer.vocab_size is {config.vocab_size:,}, but the characters of the training "
            f"text take {int(match[1]):,}: raise it, or lower tokenizer.character_coverage"
        )
    if "sentences_.empty()" in message:
        return ValueError("there is no text to train the tokenizer on")
    return error


def training_texts(config: DataConfig, max_bytes: int) -> Iterator[str]:
    """About `max_bytes` of training documents, an equal share from each source and each unit of it.

    What a small source or unit cannot give, the larger ones do.
    """
    sources = [plan_units(source) for source in config.sources]
    sources.sort(key=lambda units: sum(unit.num_bytes for unit in units))
    bytes_left = max_bytes
    for sources_left, units in zip(range(len(sources), 0, -1), sources, strict=True):
        source_bytes_left = bytes_left // sources_left
        for units_left, unit in zip(range(len(units), 0, -1), units, strict=True):
            unit_bytes_left = source_bytes_left // units_left
            for document in read_documents(unit):
                if unit_bytes_left <= 0:
                    break
                kept: list[str] = []
                kept_bytes = 0
                text_hash = hashlib.blake2b()
                for piece in document:
                    data = piece.encode()
                    text_hash.update(data)
                    if kept_bytes < unit_bytes_left:
                        kept.append(piece)
                        kept_bytes += len(data)
                if is_validation(text_hash.digest(), config.validation_fraction):
                    continue
                yield from kept
                unit_bytes_left -= kept_bytes
                source_bytes_left -= kept_bytes
                bytes_left -= kept_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tokenizer.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    data_dir: Path = parser.parse_args().data_dir
    try:
        train_if_needed(data_dir, TokenizerConfig(), DataConfig())
    except (OSError, ValueError) as error:
        sys.exit(f"tokenizer.py: {error}")


def train_if_needed(data_dir: Path, config: TokenizerConfig, data: DataConfig) -> None:
    """Train the tokenizer, unless the one that is there was trained with the same settings."""
    path, settings_path = model_path(data_dir), model_path(data_dir).with_suffix(".json")
    settings = json.dumps(
        {
            "tokenizer": repr(config),
            "sources": repr(data.sources),
            "validation_fraction": data.validation_fraction,
        },
        indent=2,
    )
    if path.exists() and settings_path.exists():
        if settings_path.read_text() == settings:
            print(f"{path}: done before, {load_tokenizer(data_dir).vocab_size:,} pieces")
            return
        print(f"{path}: the settings have changed, training again")

    num_bytes = sum(unit.num_bytes for source in data.sources for unit in plan_units(source))
    with progress("reading text", min(num_bytes, config.max_training_bytes)) as advance:
        texts = []
        for text in training_texts(data, config.max_training_bytes):
            texts.append(text)
            advance(len(text.encode()))
    num_bytes = sum(len(text.encode()) for text in texts)
    print(f"training {config.vocab_size:,} pieces on {num_bytes / 1e6:,.1f} MB of text", flush=True)
    start = time.monotonic()
    model = train(texts, config)
    seconds = time.monotonic() - start

    path.parent.mkdir(parents=True, exist_ok=True)
    settings_path.unlink(missing_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(model)
    partial.replace(path)
    settings_path.write_text(settings)
    tokenizer = Tokenizer(model)
    sample = texts[:: len(texts) // 100 + 1]
    sample_bytes = sum(len(text.encode()) for text in sample)
    sample_tokens = sum(len(tokenizer.encode(text)) for text in sample)
    print(f"{path}: {sample_bytes / sample_tokens:.2f} bytes per token, trained in {seconds:.0f} s")


if __name__ == "__main__":
    main()
