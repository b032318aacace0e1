"""`llmspec completion SHELL`: the script that completes commands, options and names in a shell."""

from typing import Literal

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(ctx: click.Context, shell: Literal["bash", "zsh", "fish"]) -> None:
    r"""Print the completion script of SHELL.

    \b
    bash   eval "$(llmspec completion bash)"            in ~/.bashrc
    zsh    eval "$(llmspec completion zsh)"             in ~/.zshrc
    fish   llmspec completion fish | source             in ~/.config/fish/config.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(ctx.find_root().command, {}, "llmspec", "_LLMSPEC_COMPLETE").source())
