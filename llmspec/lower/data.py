"""The data's part of the plan: tokenizer, sources, shards and the order of training."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmspec.lower.pieces import ConfigClass, ConfigField, ConfigInstance, EmittedFile
from llmspec.resolve.resolved import Resolved
from llmspec.spec.schema.data import JsonlSource, ParquetSource, PythonStdlibSource, TextSource
from llmspec.spec.schema.tokenizer import (
    AnyTokenizer,
    BpeTokenizer,
    ByteTokenizer,
    CharTokenizer,
    PretrainedTokenizer,
    UnigramTokenizer,
)

_AnySource = TextSource | JsonlSource | ParquetSource | PythonStdlibSource

# Each class of the emitted config: what it is, and the templates that read its files.
_SOURCE_DOCS = {
    "FileSource": "Text files; each is a document.",
    "LineSource": "Text files; each line is a document.",
    "ParagraphSource": "Text files; each run of lines between blank ones is a document.",
    "JsonlSource": "Files with one JSON object a line.",
    "ParquetSource": "Parquet files.",
    "PythonStdlibSource": "The standard library of the Python that runs, without its tests and generated tables.",
}
_READERS = {
    "FileSource": ("read_pieces",),
    "PythonStdlibSource": ("read_pieces",),
    "LineSource": ("read_line_documents", "read_lines", "decode"),
    "ParagraphSource": ("read_paragraphs", "read_lines", "decode"),
    "JsonlSource": ("read_jsonl", "read_lines"),
    "ParquetSource": ("read_parquet",),
}
_LINE_CLASSES = ("LineSource", "ParagraphSource", "JsonlSource")
_TEXT_CLASSES = {"file": "FileSource", "line": "LineSource", "paragraph": "ParagraphSource"}
_TOKEN_IDS_OF_TWO_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class DataPlan:
    """What the templates of sources.py, tokenizer.py, prepare_data.py, data.py and their tests need to know.

    Attributes:
        tokenizer_component: The template that is tokenizer.py.
        data_component: The template of `TrainingData`.
        tokenizer_kind: `bpe`, `unigram`, `byte`, `char`, `pretrained_json` or `pretrained_sentencepiece`.
        trains_tokenizer: Whether the tokenizer is made from the run's own documents.
        num_special: How many ids the char tokenizer keeps for the unknown character and the special tokens.
        last_special_id: The last of them.
        lossless: Whether any text comes back from its tokens unchanged.
        normalizes: Whether the tokenizer folds variants of characters.
        source_classes: The emitted config classes of the sources, such as `JsonlSource`.
        path_source_classes: Those of them that have paths.
        whole_source_classes: Where some files can be cut, those whose files cannot.
        reader_components: The templates of the functions that read documents.
        compressed_suffixes: `.gz` and `.zst`, those of them that files may have.
        cuts_files: How a part of a file is described, or empty where files stay whole.
        splits_files: Whether uncompressed files are cut at line ends.
        read_errors: Exceptions of readers that do not name the file.
        weighted: Whether sources are mixed by weight; else in proportion to their tokens.
    """

    tokenizer_component: str
    data_component: str
    tokenizer_kind: str
    trains_tokenizer: bool
    add_bos: bool
    add_eos: bool
    num_special: int
    last_special_id: int
    byte_fallback: bool
    lossless: bool
    normalizes: bool
    source_classes: tuple[str, ...]
    path_source_classes: tuple[str, ...]
    whole_source_classes: tuple[str, ...]
    reader_components: tuple[str, ...]
    several_source_kinds: bool
    splits_lines_too: bool
    jsonl: bool
    parquet: bool
    python_stdlib: bool
    reads_paths: bool
    reads_pieces: bool
    opens_bytes: bool
    cuts_text: bool
    cuts_files: str
    splits_files: bool
    gzip: bool
    zstd: bool
    compressed_suffixes: tuple[str, ...]
    read_errors: tuple[str, ...]
    has_validation: bool
    document_mask: bool
    weighted: bool
    dependencies: tuple[str, ...]
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_data(resolved: Resolved, output_directory: Path) -> DataPlan:
    """Choose the components of the data side and the values of TokenizerConfig and DataConfig.

    Args:
        resolved: The spec with nothing left open.
        output_directory: Where the project will stand; the config's paths are relative to it.
    """
    spec = resolved.spec
    tokenizer, sources = spec.tokenizer, spec.data.sources
    directories = (resolved.directory, output_directory)
    classes = tuple(name for name in _SOURCE_DOCS if any(_source_class(source) == name for source in sources))
    line_classes = tuple(name for name in classes if name in _LINE_CLASSES)
    # Of text and JSON lines only: parquet compresses inside.
    suffixes = {suffix for source in sources if isinstance(source, TextSource | JsonlSource) for suffix in _suffixes(source)}
    line_suffixes = {suffix for source in sources if _source_class(source) in line_classes for suffix in _suffixes(source)}
    gzip, zstd, parquet = ".gz" in suffixes, ".zst" in suffixes, "ParquetSource" in classes
    splits_files = "" in line_suffixes
    reads_pieces = "FileSource" in classes or "PythonStdlibSource" in classes
    readers = dict.fromkeys(reader for name in classes for reader in _READERS[name])
    weighted = len(sources) > 1 and any(source.weight is not None for source in sources)
    kind = _tokenizer_kind(tokenizer)
    return DataPlan(
        tokenizer_component=f"components/tokenizer/{'sentencepiece' if kind in ('bpe', 'unigram') else kind}.py.jinja",
        data_component=f"components/data/{'mixture' if weighted else 'concatenation'}.py.jinja",
        tokenizer_kind=kind,
        trains_tokenizer=kind in ("bpe", "unigram", "char"),
        add_bos=tokenizer.add_bos,
        add_eos=tokenizer.add_eos,
        num_special=1 + tokenizer.add_bos + tokenizer.add_eos,
        last_special_id=tokenizer.add_bos + tokenizer.add_eos,
        byte_fallback=isinstance(tokenizer, BpeTokenizer | UnigramTokenizer) and tokenizer.byte_fallback,
        lossless=_is_lossless(tokenizer),
        normalizes=isinstance(tokenizer, BpeTokenizer | UnigramTokenizer) and tokenizer.normalization != "identity",
        source_classes=classes,
        path_source_classes=tuple(name for name in classes if name != "PythonStdlibSource"),
        whole_source_classes=tuple(name for name in classes if name in ("FileSource", "PythonStdlibSource")),
        reader_components=tuple(f"components/source/{reader}.py.jinja" for reader in readers),
        several_source_kinds=len(classes) > 1,
        splits_lines_too=len(line_classes) > 1,
        jsonl="JsonlSource" in classes,
        parquet=parquet,
        python_stdlib="PythonStdlibSource" in classes,
        reads_paths=classes != ("PythonStdlibSource",),
        reads_pieces=reads_pieces,
        opens_bytes=bool(line_classes) or (reads_pieces and (gzip or zstd)),
        cuts_text=bool(line_classes) or parquet,
        cuts_files=_cuts_files(splits_files, parquet),
        splits_files=splits_files,
        gzip=gzip,
        zstd=zstd,
        compressed_suffixes=tuple(sorted(line_suffixes - {""})),
        read_errors=_read_errors(reads_pieces=reads_pieces, gzip=gzip, zstd=zstd, parquet=parquet),
        has_validation=spec.data.validation_fraction > 0,
        document_mask=spec.data.packing.document_mask,
        weighted=weighted,
        dependencies=_dependencies(kind, parquet=parquet, zstd=zstd),
        config_classes=(
            ConfigClass("TokenizerConfig", _tokenizer_doc(tokenizer), _tokenizer_fields(tokenizer, directories)),
            *(ConfigClass(name, _SOURCE_DOCS[name], _source_fields(name)) for name in classes),
            ConfigClass("DataConfig", "Where the text comes from.", _data_fields(resolved, classes, weighted, directories)),
        ),
        files=tuple(
            EmittedFile(path, f"project/{path}.jinja")
            for path in ("sources.py", "tokenizer.py", "prepare_data.py", "data.py", "tests/test_tokenizer.py", "tests/test_data.py")
        ),
    )


def _dependencies(kind: str, *, parquet: bool, zstd: bool) -> tuple[str, ...]:
    dependencies = ["numpy>=1.26", "rich>=13", "torch>=2.6"]
    if kind in ("bpe", "unigram", "pretrained_sentencepiece"):
        dependencies.append("sentencepiece>=0.2")
    if kind == "pretrained_json":
        dependencies.append("tokenizers>=0.21")
    if parquet:
        dependencies.append("pyarrow>=18")
    if zstd:
        dependencies.append("zstandard>=0.23")
    return tuple(sorted(dependencies))


def _cuts_files(splits_files: bool, parquet: bool) -> str:
    if splits_files and parquet:
        return "bytes `start` to `stop`, or parquet row group `start`"
    if splits_files:
        return "bytes `start` to `stop`"
    return "row group `start`" if parquet else ""


def _read_errors(*, reads_pieces: bool, gzip: bool, zstd: bool, parquet: bool) -> tuple[str, ...]:
    """Exceptions of the readers that do not say which file they are about."""
    errors = []
    if gzip or zstd:
        errors.append("EOFError")
    if reads_pieces or parquet:
        errors.append("UnicodeDecodeError")
    if gzip:
        errors += ["gzip.BadGzipFile", "zlib.error"]
    if parquet:
        errors.append("pyarrow.ArrowInvalid")
    if zstd:
        errors.append("zstandard.ZstdError")
    return tuple(errors)


def _tokenizer_kind(tokenizer: AnyTokenizer) -> str:
    if isinstance(tokenizer, PretrainedTokenizer):
        return "pretrained_sentencepiece" if tokenizer.path.endswith(".model") else "pretrained_json"
    return tokenizer.kind


def _is_lossless(tokenizer: AnyTokenizer) -> bool:
    match tokenizer:
        case BpeTokenizer() | UnigramTokenizer():
            return tokenizer.byte_fallback and tokenizer.normalization == "identity"
        case ByteTokenizer():
            return True
        case CharTokenizer() | PretrainedTokenizer():
            return False


def _tokenizer_doc(tokenizer: AnyTokenizer) -> str:
    match tokenizer:
        case BpeTokenizer():
            return "Byte-pair encoding, trained by sentencepiece."
        case UnigramTokenizer():
            return "Unigram language model tokenizer, trained by sentencepiece."
        case ByteTokenizer():
            return "One token a byte."
        case CharTokenizer():
            return "One token a character."
        case PretrainedTokenizer():
            return "A tokenizer that was trained before."


def _tokenizer_fields(tokenizer: AnyTokenizer, directories: tuple[Path, Path]) -> tuple[ConfigField, ...]:
    match tokenizer:
        case BpeTokenizer() | UnigramTokenizer():
            return (
                ConfigField("vocab_size", "int", tokenizer.vocab_size, "pieces, special and byte pieces included"),
                ConfigField("byte_fallback", "bool", tokenizer.byte_fallback, "spell characters outside the vocabulary as bytes"),
                ConfigField(
                    "character_coverage", "float", tokenizer.character_coverage, "share of characters that get a piece of their own"
                ),
                ConfigField("normalization", "str", tokenizer.normalization, "identity: text comes back unchanged; nfkc folds variants"),
                ConfigField("split_digits", "bool", tokenizer.split_digits, "each digit is a piece of its own"),
                ConfigField("max_training_bytes", "int", tokenizer.max_training_bytes, "of text, taken evenly from the sources"),
            )
        case ByteTokenizer():
            return (ConfigField("vocab_size", "int", tokenizer.vocab_size, "bytes and special tokens"),)
        case CharTokenizer():
            return (ConfigField("vocab_size", "int", tokenizer.vocab_size, "characters, special tokens included"),)
        case PretrainedTokenizer():
            fields = [
                ConfigField("path", "str", _relative_path(tokenizer.path, directories, pattern=False), "relative to this directory"),
                ConfigField("vocab_size", "int", tokenizer.vocab_size, "most token ids that the model has room for"),
            ]
            if tokenizer.add_bos:
                fields.append(ConfigField("bos_token", "str | None", tokenizer.bos_token, "beginning of a document"))
            if tokenizer.add_eos:
                fields.append(ConfigField("eos_token", "str | None", tokenizer.eos_token, "end of a document"))
            return tuple(fields)


def _source_class(source: _AnySource) -> str:
    match source:
        case TextSource():
            return _TEXT_CLASSES[source.document]
        case JsonlSource():
            return "JsonlSource"
        case ParquetSource():
            return "ParquetSource"
        case PythonStdlibSource():
            return "PythonStdlibSource"


def _source_fields(class_name: str) -> tuple[ConfigField, ...]:
    fields = [ConfigField("name", "str", None, "in logs and directory names", required=True)]
    if class_name != "PythonStdlibSource":
        fields.append(ConfigField("paths", "tuple[str, ...]", None, "files or globs, relative to this directory", required=True))
    if class_name == "JsonlSource":
        fields.append(ConfigField("text_field", "str", None, "key of the text", required=True))
    if class_name == "ParquetSource":
        fields.append(ConfigField("text_field", "str", None, "column of the text", required=True))
    return tuple(fields)


def _data_fields(resolved: Resolved, classes: tuple[str, ...], weighted: bool, directories: tuple[Path, Path]) -> tuple[ConfigField, ...]:
    data, tokenizer = resolved.spec.data, resolved.spec.tokenizer
    instances = tuple(_source_instance(source, directories) for source in data.sources)
    fields = [ConfigField("sources", f"tuple[{' | '.join(classes)}, ...]", instances, "what is read")]
    if weighted:
        weights = tuple(source.weight for source in data.sources)
        fields.append(ConfigField("weights", "tuple[float, ...]", weights, "of the sources in training; only their ratios count"))
    if data.validation_fraction > 0:
        fields.append(ConfigField("validation_fraction", "float", data.validation_fraction, "share of documents that are never trained on"))
    dtype = "uint16" if tokenizer.vocab_size <= _TOKEN_IDS_OF_TWO_BYTES else "uint32"
    fields.append(ConfigField("token_dtype", "str", dtype, "of a token id on disk; the vocabulary fits"))
    return tuple(fields)


def _source_instance(source: _AnySource, directories: tuple[Path, Path]) -> ConfigInstance:
    arguments: list[tuple[str, object]] = [("name", source.name)]
    if not isinstance(source, PythonStdlibSource):
        arguments.append(("paths", tuple(_relative_path(path, directories, pattern=True) for path in _paths(source))))
    if isinstance(source, JsonlSource | ParquetSource):
        arguments.append(("text_field", source.text_field))
    return ConfigInstance(_source_class(source), tuple(arguments))


def _paths(source: _AnySource) -> tuple[str, ...]:
    if isinstance(source, PythonStdlibSource):
        return ()
    return (source.path,) if isinstance(source.path, str) else source.path


def _suffixes(source: _AnySource) -> set[str]:
    """Compressions that the files of a source may have: `.gz`, `.zst`, and empty for none. A pattern may leave it open."""
    suffixes = set()
    for path in _paths(source):
        name = PurePosixPath(path)
        if name.suffix in (".gz", ".zst"):
            suffixes.add(name.suffix)
        elif any(character in (name.suffix or name.name) for character in "*?["):
            suffixes |= {".gz", ".zst", ""}
        else:
            suffixes.add("")
    return suffixes


def _relative_path(path: str, directories: tuple[Path, Path], *, pattern: bool) -> str:
    """A path of the spec as seen from the project. Its own glob characters keep their meaning, those of the spec's directory have none."""
    if Path(path).is_absolute():
        return path
    spec_directory, output_directory = directories
    parts = PurePosixPath(path).parts
    # Only leading `..` are folded: behind a symbolic link or a glob they would mean something else.
    levels = next((level for level, part in enumerate(parts) if part != ".."), len(parts))
    start = spec_directory.resolve().joinpath(*parts[:levels]).resolve()
    prefix = Path(os.path.relpath(start, output_directory.resolve())).as_posix()
    return PurePosixPath(glob.escape(prefix) if pattern else prefix, *parts[levels:]).as_posix()
