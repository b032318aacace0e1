"""Rules on the sources of text."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from llmspec.check.corpus import matching_files, nearest_existing, paths_of
from llmspec.check.registry import Finding, rule
from llmspec.diagnostics import Fact, Severity
from llmspec.resolve import Resolved

_UNREADABLE = {
    ".bz2": "bzip2",
    ".xz": "xz",
    ".lzma": "LZMA",
    ".lz4": "LZ4",
    ".zip": "zip",
    ".7z": "7-Zip",
    ".tar": "tar",
    ".tgz": "tar",
    ".rar": "RAR",
}
_KIND_BY_SUFFIX = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text"}


@rule("LS330", "source-files-missing", since="0.1", severity=Severity.WARNING)
def source_files_missing(resolved: Resolved) -> Iterator[Finding]:
    """Sources whose files are not here.

    ## What it checks
    Each path or glob of a source matches a file, as seen from the spec's directory.

    ## Why it matters
    Preparing the data reads them. They may be on the machine that trains only; then this warning can be ignored.

    ## Example
    ```yaml
    data:
      sources: [{name: english, kind: text, path: dta/*.txt}]
    ```

    Use instead:
    ```yaml
    data:
      sources: [{name: english, kind: text, path: data/*.txt}]
    ```
    """
    for index, source in enumerate(resolved.spec.data.sources):
        for pattern, field in paths_of(source):
            if matching_files(resolved.directory, pattern) == []:
                near = nearest_existing(resolved.directory, pattern)
                yield Finding("no file here matches this path", f"data.sources[{index}].{field}", help=(near,) if near else ())


@rule("LS331", "source-name-twice", since="0.1")
def source_name_twice(resolved: Resolved) -> Iterator[Finding]:
    """Two sources of one name.

    ## What it checks
    No two sources have the same name.

    ## Why it matters
    Names become directories of prepared data and stand in logs; two sources would write over each other. On some systems `A` and `a`
    are one name for a directory, so capitals do not count.

    ## Example
    ```yaml
    data:
      sources:
        - {name: web, kind: text, path: en/*.txt}
        - {name: web, kind: text, path: de/*.txt}
    ```

    Use instead:
    ```yaml
    data:
      sources:
        - {name: english, kind: text, path: en/*.txt}
        - {name: german, kind: text, path: de/*.txt}
    ```
    """
    first: dict[str, int] = {}
    for index, source in enumerate(resolved.spec.data.sources):
        earlier = first.setdefault(source.name.lower(), index)
        if earlier != index:
            origin = resolved.origin(f"data.sources[{earlier}].name").text
            facts = (Fact(f"sources[{earlier}].name", resolved.spec.data.sources[earlier].name, origin),)
            yield Finding(
                f"two sources have the name `{source.name}`", f"data.sources[{index}].name", "", facts, ("give each a name of its own",)
            )


@rule("LS332", "weights-incomplete", since="0.1")
def weights_incomplete(resolved: Resolved) -> Iterator[Finding]:
    """Weights for some of the sources.

    ## What it checks
    Either all sources have a `weight` or none has.

    ## Why it matters
    Weights are relative to each other; a source without one has no place among them. Without any, sources are mixed by their size.

    ## Example
    ```yaml
    data:
      sources:
        - {name: english, kind: text, path: en/*.txt, weight: 0.7}
        - {name: german, kind: text, path: de/*.txt}
    ```

    Use instead:
    ```yaml
    data:
      sources:
        - {name: english, kind: text, path: en/*.txt, weight: 0.7}
        - {name: german, kind: text, path: de/*.txt, weight: 0.3}
    ```
    """
    sources = resolved.spec.data.sources
    if not any(source.weight is not None for source in sources):
        return
    given = [index for index, source in enumerate(sources) if source.weight is not None]
    facts = tuple(
        Fact(f"sources[{index}].weight", f"{sources[index].weight:g}", resolved.origin(f"data.sources[{index}].weight").text)
        for index in given[:3]
    )
    for index, source in enumerate(sources):
        if source.weight is None:
            message = f"the source `{source.name}` has no `weight`, and others have one"
            yield Finding(message, f"data.sources[{index}]", "", facts, ("give each source a weight, or none",))


@rule("LS333", "source-compression-unknown", since="0.1")
def source_compression_unknown(resolved: Resolved) -> Iterator[Finding]:
    """Files packed in a way that is not read.

    ## What it checks
    Paths of sources do not end in a compression or archive format other than `.gz` and `.zst`.

    ## Why it matters
    The emitted project reads plain files, `.gz` and `.zst`; other archives would be read as noise.

    ## Example
    ```yaml
    data:
      sources: [{name: wiki, kind: text, path: wiki.txt.bz2}]
    ```

    Use instead:
    ```yaml
    data:
      sources: [{name: wiki, kind: text, path: wiki.txt.zst}]
    ```
    """
    for index, source in enumerate(resolved.spec.data.sources):
        for pattern, field in paths_of(source):
            suffix = PurePosixPath(pattern).suffix.lower()
            path = f"data.sources[{index}].{field}"
            if suffix in _UNREADABLE:
                yield Finding(
                    f"reading {_UNREADABLE[suffix]} files is not built yet",
                    path,
                    help=("pack the text again as `.gz` or `.zst`, or unpack it",),
                )
            elif source.kind == "parquet" and suffix in (".gz", ".zst"):
                yield Finding(
                    "a compressed parquet file cannot be read in parts", path, help=("unpack it; parquet compresses its columns itself",)
                )


@rule("LS334", "source-kind-doubtful", since="0.1", severity=Severity.WARNING)
def source_kind_doubtful(resolved: Resolved) -> Iterator[Finding]:
    """Files that look like another kind.

    ## What it checks
    The ending of a source's path does not speak for another kind.

    ## Why it matters
    A parquet file read as text is noise, and JSON lines read as text train the model on braces.

    ## Example
    ```yaml
    data:
      sources: [{name: web, kind: text, path: web/*.jsonl.gz}]
    ```

    Use instead:
    ```yaml
    data:
      sources: [{name: web, kind: jsonl, path: web/*.jsonl.gz}]
    ```
    """
    for index, source in enumerate(resolved.spec.data.sources):
        for pattern, field in paths_of(source):
            path = PurePosixPath(pattern.lower())
            suffix = PurePosixPath(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix
            kind = _KIND_BY_SUFFIX.get(suffix)
            if kind is not None and kind != source.kind:
                message = f"a path that ends in `{suffix}` is read as `{source.kind}`"
                yield Finding(message, f"data.sources[{index}].{field}", help=(f"write `kind: {kind}` if that is what the files are",))
