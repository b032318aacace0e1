"""`tokenizer:` how text becomes token ids."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import ByKind, Count, Section, Text, Width, derived


class Tokenizer(Section):
    """Fields that every tokenizer shares."""

    add_bos: bool = False
    """Put a beginning-of-text token before each document. Default: false."""

    add_eos: bool = True
    """Put an end-of-text token after each document. Default: true."""


class SentencePieceTokenizer(Tokenizer):
    """Fields of the tokenizers that sentencepiece trains on the run's own data."""

    vocab_size: Width
    """Number of pieces, special and byte pieces included. Required."""

    byte_fallback: bool = True
    """Spell characters outside the vocabulary as bytes (256 pieces), so that nothing is unknown. Default: true."""

    character_coverage: Annotated[float, Field(ge=0.98, le=1)] = 0.9995
    """Share of the training text's characters that get a piece of their own. Default: 0.9995."""

    normalization: Literal["identity", "nfkc"] = "identity"
    """`nfkc` folds compatibility characters and loses them. Default: identity, text comes back unchanged."""

    split_digits: bool = True
    """Each digit is a piece of its own. Default: true."""

    max_training_bytes: Count = 100_000_000
    """How much text, in bytes, the tokenizer is trained on; taken evenly from the sources. Default: 100M."""


class BpeTokenizer(SentencePieceTokenizer):
    """Byte-pair encoding (Sennrich et al. 2016), by sentencepiece."""

    kind: Literal["bpe"]
    """Byte-pair encoding trained on the run's data."""


class UnigramTokenizer(SentencePieceTokenizer):
    """Unigram language model tokenizer (Kudo 2018), by sentencepiece."""

    kind: Literal["unigram"]
    """Unigram language model trained on the run's data."""


class ByteTokenizer(Tokenizer):
    """One token a UTF-8 byte; ids 0-255 are the bytes, the special tokens follow."""

    kind: Literal["byte"]
    """One token a byte."""

    @property
    def vocab_size(self) -> int:
        """256 bytes and the special tokens that are in use."""
        return 256 + self.add_bos + self.add_eos


class CharTokenizer(Tokenizer):
    """One token a character of the training text; the rarest share one unknown token."""

    kind: Literal["char"]
    """One token a character."""

    vocab_size: Width
    """Number of characters kept, special tokens included. Required."""


class PretrainedTokenizer(Tokenizer):
    """A tokenizer that exists: a Hugging Face `tokenizer.json` or a sentencepiece `.model`."""

    kind: Literal["pretrained"]
    """A tokenizer that exists."""

    path: Text
    """The `tokenizer.json` or `.model` file, relative to the spec. Required."""

    vocab_size: Width = derived("architecture.vocab_size")
    """Number of token ids it may produce. Default: architecture.vocab_size."""

    bos_token: Text | None = None
    """Text of the beginning-of-text token, needed with add_bos for a `tokenizer.json`. Default: null, the file's own."""

    eos_token: Text | None = None
    """Text of the end-of-text token, needed with add_eos for a `tokenizer.json`. Default: null, the file's own."""


AnyTokenizer = Annotated[BpeTokenizer | UnigramTokenizer | ByteTokenizer | CharTokenizer | PretrainedTokenizer, ByKind()]
