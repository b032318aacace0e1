"""`llmspec`: the entry point, the list of commands, and what happens when something breaks."""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import click

from llmspec import __version__

COMMANDS = ("validate", "estimate", "search", "build", "compare", "ladder", "fit", "explain", "schema", "init", "presets", "completion")
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_BUG = 70


class Commands(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; `llmspec.cli.NAME` holds it."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"llmspec.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a misspelt command."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command '{name}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="llmspec", message="%(prog)s %(version)s")
def cli() -> None:
    """Compile one YAML spec into a standalone LLM training project.

    Start with `llmspec init`, then `llmspec validate`, `estimate` and `build` the spec.
    """


def start_fast() -> None:
    """Leave out what a process that lives for a quarter of a second has no use for."""
    gc.disable()
    # Pydantic searches every installed distribution for plugins, and imports a tenth of our start-up time to do so. llmspec has
    # none. Where Pydantic keeps its loader elsewhere, this changes nothing.
    loader = ModuleType("pydantic.plugin._loader")
    vars(loader)["get_plugins"] = lambda: ()
    sys.modules.setdefault(loader.__name__, loader)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 1 problems, 2 usage, 70 a bug of ours."""
    if arguments is None:
        start_fast()
    try:
        color = False if os.environ.get("NO_COLOR") else None
        status = cli.main(None if arguments is None else list(arguments), prog_name="llmspec", standalone_mode=False, color=color)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has left (`llmspec schema | head`). What is still buffered must not be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if os.environ.get("LLMSPEC_TRACEBACK"):
            raise
        report_bug(error)
        return EXIT_BUG
    return status if isinstance(status, int) else 0


def report_bug(error: Exception) -> None:
    """Print a short page about a bug of llmspec: where it was, and how to report it."""
    import platform
    import traceback
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(package)]
    place = f"{Path(frames[-1].filename).relative_to(package.parent)}:{frames[-1].lineno} in {frames[-1].name}" if frames else "unknown"
    lines = str(error).strip().splitlines() or [""]
    click.echo(
        f"""\
error[{getattr(error, "code", "LS900")}]: llmspec broke; this is a bug in llmspec, not in your spec
  {type(error).__name__}: {lines[0][:300]}
  at {place}
  llmspec {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}
  help: no file was changed; please report this page together with the spec that caused it
  help: `LLMSPEC_TRACEBACK=1` shows the whole traceback""",
        err=True,
    )


if __name__ == "__main__":
    sys.exit(main())
