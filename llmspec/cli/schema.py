"""`llmspec schema`: the language as a JSON Schema, for editors."""

import click


@click.command()
def command() -> None:
    """Print the JSON Schema of the spec language, for completion and checks in an editor.

    Save it beside the specs (`llmspec schema > llmspec.schema.json`) and start them with the line
    `# yaml-language-server: $schema=llmspec.schema.json`.
    """
    import json

    from llmspec.cli.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=1))
