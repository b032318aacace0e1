"""Rules on the tokenizer and its vocabulary."""

from collections.abc import Iterator
from pathlib import Path

from llmspec.check.corpus import largest_vocabulary, matching_files, nearest_existing
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Fact, Severity
from llmspec.resolve import OriginKind, Resolved
from llmspec.spec.schema.tokenizer import CharTokenizer, PretrainedTokenizer, SentencePieceTokenizer

TOKENIZER_FILES = (".json", ".model")


@rule("LS305", "vocabulary-smaller-than-tokenizer", since="0.1")
def vocabulary_smaller_than_tokenizer(resolved: Resolved) -> Iterator[Finding]:
    """Tokens without a row in the embedding table.

    ## What it checks
    `architecture.vocab_size` is at least the tokenizer's `vocab_size`.

    ## Why it matters
    The embedding table needs a row for every token. More rows than tokens are fine: they pad the table.

    ## Example
    ```yaml
    architecture: {vocab_size: 32000}
    tokenizer: {kind: bpe, vocab_size: 64000}
    ```

    Use instead:
    ```yaml
    architecture: {vocab_size: 64000}
    tokenizer: {kind: bpe, vocab_size: 64000}
    ```
    """
    rows, tokens = resolved.spec.architecture.vocab_size, resolved.spec.tokenizer.vocab_size
    if rows >= tokens:
        return
    where = "tokenizer.vocab_size" if not resolved.spec.tokenizer.kind == "byte" else "tokenizer.kind"
    from_preset = resolved.origin("architecture.vocab_size").kind is OriginKind.PRESET
    yield Finding(
        "the embedding table has fewer rows than the tokenizer has tokens",
        where if from_preset else "architecture.vocab_size",
        f"{tokens} > {rows}" if from_preset else f"{rows} < {tokens}",
        (
            fact(resolved, "architecture.vocab_size"),
            Fact("tokenizer.vocab_size", str(tokens), resolved.origin("tokenizer.vocab_size").text),
        ),
        (f"write `vocab_size: {tokens}` under `architecture`" + (" to override the preset" if from_preset else ", or leave it out there"),),
    )


@rule("LS306", "vocabulary-undetermined", since="0.1")
def vocabulary_undetermined(resolved: Resolved) -> Iterator[Finding]:
    """A vocabulary of unknown size.

    ## What it checks
    With a `pretrained` tokenizer, its `vocab_size` or the architecture's is given.

    ## Why it matters
    The size of the embedding table cannot be told without reading the tokenizer's file, which may be on another machine.

    ## Example
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.json, eos_token: "</s>"}
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.json, eos_token: "</s>", vocab_size: 32000}
    ```
    """
    sizes = (resolved.origin("architecture.vocab_size"), resolved.origin("tokenizer.vocab_size"))
    if isinstance(resolved.spec.tokenizer, PretrainedTokenizer) and all(origin.kind is OriginKind.DERIVED for origin in sizes):
        message = "neither the tokenizer nor the architecture says how large the vocabulary is"
        yield Finding(message, "tokenizer", help=("add `vocab_size: 32000`, with the number of tokens in the tokenizer's file",))


@rule("LS320", "vocabulary-too-small", since="0.1")
def vocabulary_too_small(resolved: Resolved) -> Iterator[Finding]:
    """A vocabulary without room for text.

    ## What it checks
    A tokenizer that is trained has room for what every vocabulary holds: the unknown token, the special tokens in use, the tab, 256
    bytes with `byte_fallback`, and at least one character.

    ## Why it matters
    With less the tokenizer cannot be trained.

    ## Example
    ```yaml
    tokenizer: {kind: bpe, vocab_size: 256}
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: bpe, vocab_size: 4096}
    ```
    """
    tokenizer = resolved.spec.tokenizer
    if not isinstance(tokenizer, CharTokenizer | SentencePieceTokenizer):
        return
    special = 1 + tokenizer.add_bos + tokenizer.add_eos
    facts = [Fact("special tokens", str(special), "the unknown token" + " and those of add_bos and add_eos" * (special > 1))]
    needed = special + 1
    if isinstance(tokenizer, SentencePieceTokenizer):
        needed += 1 + 256 * tokenizer.byte_fallback
        facts.append(Fact("tab", "1", "always"))
        if tokenizer.byte_fallback:
            facts.append(Fact("bytes", "256", f"byte_fallback, {resolved.origin('tokenizer.byte_fallback').text}"))
    if tokenizer.vocab_size < needed:
        hints = [f"use at least {needed}, and some thousands for text"]
        if isinstance(tokenizer, SentencePieceTokenizer):
            hints.append("or a tokenizer of kind `byte`, which has no other pieces")
        message = "`vocab_size` has no room for a single character"
        yield Finding(message, "tokenizer.vocab_size", f"{tokenizer.vocab_size} < {needed}", tuple(facts), tuple(hints))


@rule("LS321", "vocabulary-beyond-corpus", since="0.1")
def vocabulary_beyond_corpus(resolved: Resolved) -> Iterator[Finding]:
    """A vocabulary that the text cannot fill.

    ## What it checks
    The vocabulary is not larger than the sources can train, where they are here and have at most 8 MB of text. The bound counts every
    character, and every stretch that training could make of the unique words, so what it refuses cannot be trained.

    ## Why it matters
    The tokenizer's training would stop with an error, after the data was read.

    ## Example
    ```yaml
    tokenizer: {kind: bpe, vocab_size: 64000}
    data:
      sources: [{name: notes, kind: text, path: notes.txt}]     # ten kilobytes
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: bpe, vocab_size: 1000}
    data:
      sources: [{name: notes, kind: text, path: notes.txt}]
    ```
    """
    found = largest_vocabulary(resolved.spec, resolved.directory)
    size = resolved.spec.tokenizer.vocab_size
    if found is not None and size > found[0]:
        bound, corpus = found
        yield Finding(
            "`vocab_size` is larger than the sources can train",
            "tokenizer.vocab_size",
            f"{size} > {bound}",
            (
                Fact("text in the sources", f"{corpus} bytes", resolved.origin("data.sources").text),
                Fact("largest vocabulary", str(bound), "an upper bound"),
            ),
            (f"use less than {bound}, or more text",),
        )


@rule("LS322", "tokenizer-file-missing", since="0.1", severity=Severity.WARNING)
def tokenizer_file_missing(resolved: Resolved) -> Iterator[Finding]:
    """A tokenizer's file that is not here.

    ## What it checks
    The file of a `pretrained` tokenizer exists, as seen from the spec's directory.

    ## Why it matters
    Preparing the data reads it. It may be on the machine that trains only; then this warning can be ignored.

    ## Example
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizr.json, vocab_size: 32000, eos_token: "</s>"}
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.json, vocab_size: 32000, eos_token: "</s>"}
    ```
    """
    tokenizer = resolved.spec.tokenizer
    if isinstance(tokenizer, PretrainedTokenizer) and matching_files(resolved.directory, tokenizer.path) == []:
        near = nearest_existing(resolved.directory, tokenizer.path)
        yield Finding("the tokenizer's file is not here", "tokenizer.path", help=(near,) if near else ())


@rule("LS323", "tokenizer-file-unknown", since="0.1")
def tokenizer_file_unknown(resolved: Resolved) -> Iterator[Finding]:
    """A tokenizer's file that cannot be read.

    ## What it checks
    The file of a `pretrained` tokenizer is a `.json` of Hugging Face tokenizers or a `.model` of sentencepiece.

    ## Why it matters
    The emitted project reads these two.

    ## Example
    ```yaml
    tokenizer: {kind: pretrained, path: vocab.txt, vocab_size: 32000}
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.model, vocab_size: 32000}
    ```
    """
    tokenizer = resolved.spec.tokenizer
    if isinstance(tokenizer, PretrainedTokenizer) and Path(tokenizer.path).suffix not in TOKENIZER_FILES:
        message = "the tokenizer's file is neither a `.json` nor a `.model`"
        yield Finding(
            message, "tokenizer.path", help=("give the `tokenizer.json` of a Hugging Face tokenizer or a sentencepiece `.model`",)
        )


@rule("LS324", "special-token-unnamed", since="0.1")
def special_token_unnamed(resolved: Resolved) -> Iterator[Finding]:
    """A special token that is not named.

    ## What it checks
    With a `tokenizer.json`, `add_bos` comes with `bos_token` and `add_eos` with `eos_token`.

    ## Why it matters
    The file lists its special tokens, and does not say which of them begins or ends a text. A sentencepiece model does.

    ## Example
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.json, vocab_size: 50257, add_eos: true}
    ```

    Use instead:
    ```yaml
    tokenizer: {kind: pretrained, path: tokenizer.json, vocab_size: 50257, add_eos: true, eos_token: <|endoftext|>}
    ```
    """
    tokenizer = resolved.spec.tokenizer
    if not isinstance(tokenizer, PretrainedTokenizer) or not tokenizer.path.endswith(".json"):
        return
    for flag, name, wanted, token in (
        ("add_bos", "bos_token", tokenizer.add_bos, tokenizer.bos_token),
        ("add_eos", "eos_token", tokenizer.add_eos, tokenizer.eos_token),
    ):
        if wanted and token is None:
            written = resolved.origin(f"tokenizer.{flag}").span is not None
            yield Finding(
                f"`{flag}` needs `{name}` with a `tokenizer.json`",
                f"tokenizer.{flag}" if written else "tokenizer",
                "",
                (fact(resolved, f"tokenizer.{flag}"),),
                (f"add `{name}` with the text of that token, or `{flag}: false`",),
            )
