"""`llmspec presets`: the published models that a spec can start from."""

import click
from click.shell_completion import CompletionItem


def complete_preset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of presets for the shell."""
    from llmspec.catalog import preset_names, preset_title

    return [CompletionItem(name, help=preset_title(name)) for name in preset_names() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=complete_preset)
def command(name: str | None) -> None:
    """List the published models that `preset:` knows; with NAME, print what that preset sets."""
    from llmspec.catalog import preset_names, preset_path, preset_title

    if name is None:
        width = max(len(preset) for preset in preset_names())
        for preset in preset_names():
            click.echo(f"{preset:{width}}  {preset_title(preset)}")
        return
    path = preset_path(name)
    if path is None:
        from difflib import get_close_matches

        near = get_close_matches(name, preset_names(), n=1)
        raise click.UsageError(f"there is no preset `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""))
    click.echo(path.read_text(encoding="utf-8"), nl=False)
