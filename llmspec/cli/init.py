"""`llmspec init`: write a first spec."""

import sys
from dataclasses import dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from llmspec.cli.presets import complete_preset


def complete_accelerator(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Identifiers of accelerators for the shell."""
    from llmspec.catalog import accelerator_names

    return [CompletionItem(name) for name in accelerator_names() if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person wants. `preset` is None for a small decoder of their own, `data` None for Python's standard library."""

    name: str
    preset: str | None
    accelerator: str
    num_accelerators: int
    data: str | None
    max_tokens: str


@click.command()
@click.option("--preset", shell_complete=complete_preset, help="Published model to start from; `llmspec presets` lists them.")
@click.option("--accelerator", shell_complete=complete_accelerator, help="Device to train on, such as h100-sxm or cpu.")
@click.option("--num-accelerators", type=click.IntRange(1, 10_000), help="How many of them.  [default: 1]")
@click.option("--data", help="Path or glob of .txt, .jsonl or .parquet files.  [default: Python's own standard library]")
@click.option("--max-tokens", help="Tokens to train on, such as 20B.  [default: 2M]")
@click.option("--name", help="Name of the run.  [default: that of the preset, or my-run]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write.  [default: <name>.yaml]")
def command(
    preset: str | None,
    accelerator: str | None,
    num_accelerators: int | None,
    data: str | None,
    max_tokens: str | None,
    name: str | None,
    output: Path | None,
) -> None:
    """Write a commented spec to start from.

    On a terminal, asks for whatever is not given as an option; elsewhere --preset and --accelerator must be given.
    """
    asking = sys.stdin.isatty() and sys.stdout.isatty()
    if not asking and (preset is None or accelerator is None):
        raise click.UsageError("without a terminal to ask on, `--preset` and `--accelerator` must be given")
    if asking:
        preset = preset or click.prompt("Published model to start from, or none", default="none", value_proc=_preset)
        accelerator = accelerator or click.prompt("Accelerator", default="cpu", value_proc=_accelerator)
        num_accelerators = num_accelerators or click.prompt("How many of them", default=1, type=click.IntRange(1, 10_000))
        data = data or click.prompt("Text to train on (.txt, .jsonl or .parquet; none: Python's standard library)", default="none")
        max_tokens = max_tokens or click.prompt("Tokens to train on", default="2M", value_proc=_count)
        name = name or click.prompt("Name of the run", default=_preset(preset) or "my-run")
    known_preset = _preset(preset)
    answers = Answers(
        name=name or known_preset or "my-run",
        preset=known_preset,
        accelerator=_accelerator(accelerator or "cpu"),
        num_accelerators=num_accelerators or 1,
        data=None if data in (None, "none") else data,
        max_tokens=_count(max_tokens or "2M"),
    )
    path = output or Path(f"{answers.name}.yaml")
    if path.exists():
        raise click.UsageError(f"`{path}` is there already; name another file with `--output`")
    text = spec_text(answers)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}") from None
    click.echo(f"Wrote {path}. Next: llmspec validate {path}")


def _preset(value: str | None) -> str | None:
    from llmspec.catalog import preset_names

    if value in (None, "none"):
        return None
    _one_of(value, preset_names(), "preset", "`llmspec presets` lists them")
    return value


def _accelerator(value: str) -> str:
    from llmspec.catalog import accelerator_names

    _one_of(value, accelerator_names(), "accelerator", f"such as {', '.join(accelerator_names()[:5])}")
    return value


def _one_of(value: str, known: tuple[str, ...], what: str, hint: str) -> None:
    from difflib import get_close_matches

    if value not in known:
        near = get_close_matches(value, known, n=3)
        raise click.BadParameter(f"there is no {what} `{value}`; " + (f"did you mean {', '.join(near)}?" if near else hint))


def _count(value: str) -> str:
    from pydantic_core import PydanticCustomError

    from llmspec.spec.schema.base import parse_count
    from llmspec.spec.tree import parse_scalar

    try:
        number = parse_count(parse_scalar(value))
    except PydanticCustomError as error:
        raise click.BadParameter(f"`{value}` {error.message()}") from None
    if not isinstance(number, int) or number < 1:
        raise click.BadParameter(f"`{value}` should be a whole number above 0, such as 2M or 20B")
    return value


def spec_text(answers: Answers) -> str:
    """A commented spec that says what was answered. Every text of the person's is quoted."""
    from llmspec.catalog import find_accelerator
    from llmspec.spec.standalone import scalar_text

    accelerator = find_accelerator(answers.accelerator)
    assert accelerator is not None
    per_node = min(answers.num_accelerators, accelerator.accelerators_per_node)
    nodes = -(-answers.num_accelerators // per_node)
    devices = nodes * per_node
    vocab_size, num_positions = _preset_sizes(answers.preset)
    sequence_length = min(256 if accelerator.is_cpu else 2048, num_positions or 2048)
    # A whole number of sequences for each device.
    global_batch_size = -(-(16 if accelerator.is_cpu else 256) // devices) * devices

    if answers.preset is None:
        network = [
            "architecture:",
            _line("  hidden_size: 256", "width of the residual stream, in elements"),
            "  num_layers: 6",
            _line("  attention: {kind: gqa, num_heads: 4, num_kv_heads: 2}", "two query heads share each key/value head"),
            _line("  tie_embeddings: true", "input and output share one matrix"),
        ]
    else:
        network = [_line(f"preset: {answers.preset}", "what is written below overrides what it sets")]
    if answers.data is None:
        # The standard library is some 20 MB of text: too little for the vocabulary of a large model.
        vocab_size = 4096
        if answers.preset is not None:
            network += ["architecture:", _line(f"  vocab_size: {vocab_size}", "that of the tokenizer below")]
    lines = [
        "# yaml-language-server: $schema=llmspec.schema.json",
        "# (`llmspec schema > llmspec.schema.json` lets an editor complete and check this file.)",
        "#",
        "# What is left out has a default: `llmspec explain training.micro_batch_size` tells what a field means and what it is by default.",
        _line("llmspec: 1", "version of the spec language"),
        f"name: {scalar_text(answers.name)}",
        "",
        *network,
        "",
        "tokenizer:",
        _line("  kind: bpe", "trained on the data below; kind: pretrained takes a tokenizer.json"),
        f"  vocab_size: {vocab_size}",
        "",
        "data:",
        "  sources:",
        *_source(answers.data),
        _line(f"  validation_fraction: {0.05 if answers.data is None else 0.001}", "share of documents that are never trained on"),
        "",
        "training:",
        _line(f"  sequence_length: {sequence_length}", "in tokens"),
        _line(f"  global_batch_size: {global_batch_size}", "sequences in one optimizer step, over all devices"),
        _line(f"  max_tokens: {answers.max_tokens}", "or max_steps"),
        "",
        _line(f"optimizer: {{learning_rate: {'3e-3' if accelerator.is_cpu else '6e-4'}, weight_decay: 0.1}}", "kind: adamw"),
        _line("schedule: {kind: cosine}", "constant, linear, cosine or wsd, after a warm-up"),
        "",
        "hardware:",
        _line(f"  accelerator: {answers.accelerator}", accelerator.name),
        _line(f"  nodes: {nodes}", "machines"),
        _line(f"  accelerators_per_node: {per_node}", "devices in use on each of them"),
    ]
    return "\n".join([*lines, ""])


def _line(text: str, comment: str) -> str:
    return f"{text:<40}  # {comment}"


def _source(data: str | None) -> list[str]:
    from llmspec.spec.standalone import scalar_text

    if data is None:
        return [_line("    - {name: stdlib, kind: python_stdlib}", "the source files of Python's own library: no download")]
    plain = data.removesuffix(".gz").removesuffix(".zst")
    kind = "jsonl" if plain.endswith((".jsonl", ".json")) else "parquet" if plain.endswith(".parquet") else "text"
    return ["    - name: text", f"      kind: {kind}", _line(f"      path: {scalar_text(data)}", "relative to this file")]


def _preset_sizes(preset: str | None) -> tuple[int, int | None]:
    """The vocabulary of a preset, and the rows of its position table where it has one."""
    from llmspec.catalog import preset_path
    from llmspec.diagnostics import Bag
    from llmspec.spec.source import parse, read_source

    path = preset_path(preset) if preset is not None else None
    if path is None:
        return 32_000, None
    bag = Bag()
    architecture = parse(read_source(path, bag), bag).mapping["architecture"].mapping
    position = architecture["position"].mapping if "position" in architecture else {}
    rows = position["num_positions"].value if "num_positions" in position else None
    vocab_size = architecture["vocab_size"].value
    assert isinstance(vocab_size, int)
    return vocab_size, rows if isinstance(rows, int) else None
