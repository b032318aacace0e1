"""`llmspec explain NAME`: the documentation of a diagnostic's code or of a field."""

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from llmspec.cli.fields import Field


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes and fields for the shell."""
    from llmspec.check import documentation
    from llmspec.cli.fields import all_fields

    codes = [CompletionItem(page.code, help=page.name) for page in documentation() if page.code.startswith(incomplete.upper())]
    paths = dict.fromkeys(field.path for field in all_fields() if field.path.startswith(incomplete))
    return [*codes, *(CompletionItem(path) for path in paths)]


@click.command()
@click.argument("name", shell_complete=complete_name)
def command(name: str) -> None:
    """Explain NAME: a diagnostic's code such as LS302, its name, or a field such as training.micro_batch_size."""
    from llmspec.check import documentation

    for page in documentation():
        if name.upper() == page.code or name.lower() == page.name:
            click.secho(f"{page.name} ({page.code})", bold=True)
            click.echo(f"\n{page.text}", nl=False)
            return
    found = find_fields(name)
    if not found:
        raise click.UsageError(unknown(name))
    click.echo("\n\n".join(field_page(fields) for fields in found))


def find_fields(name: str) -> "list[list[Field]]":
    """The fields that a name means, those of one path together: by whole path, else by the end of it, else as another tool's name."""
    import re

    from llmspec.catalog import find_alias
    from llmspec.cli.fields import all_fields

    wanted = re.sub(r"\[\d*\]", "", name)
    alias = find_alias(wanted)
    whole = [field for field in all_fields() if field.path == wanted]
    ending = [field for field in all_fields() if field.path.endswith(f".{wanted}")]
    named = [field for field in all_fields() if alias is not None and field.path == alias.path]
    by_path: dict[str, list[Field]] = {}
    for field in whole or ending or named:
        by_path.setdefault(field.path, []).append(field)
    return list(by_path.values())


def field_page(fields: "list[Field]") -> str:
    """The page of one path: what its kinds say of it."""
    from llmspec.cli.fields import all_fields

    path = fields[0].path
    lines = [click.style(path, bold=True)]
    for field in fields:
        kinds = f", for kind {' or '.join(f'`{kind}`' for kind in field.kinds)}" if field.kinds and not path.endswith("kind") else ""
        lines += ["", f"  {field.type}{kinds}", *(f"  {line}" for line in field.doc.splitlines())]
    below = dict.fromkeys(f.path.rpartition(".")[2] for f in all_fields() if f.path.rpartition(".")[0] == path)
    if below:
        lines += ["", f"  fields: {', '.join(below)}"]
    return "\n".join(lines)


def unknown(name: str) -> str:
    """The message for a name that means nothing, with the nearest names that do."""
    from difflib import get_close_matches

    from llmspec.check import documentation
    from llmspec.cli.fields import all_fields

    known = [text for page in documentation() for text in (page.code, page.name)]
    known += [text for field in all_fields() for text in (field.path, field.path.rpartition(".")[2])]
    near = get_close_matches(name, dict.fromkeys(known), n=3) or get_close_matches(name.upper(), known, n=3)
    hint = f"; did you mean {', '.join(f'`{text}`' for text in near)}?" if near else ""
    return f"`{name}` is neither a diagnostic's code nor a field{hint}"
