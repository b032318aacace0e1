"""The Jinja environment: strict, and with filters that keep a spec's strings strings."""

import re
import shlex
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmspec.emit.locations import templates_directory

# What Markdown or HTML reads anywhere, and what opens a list, a rule or a heading at the start of a line.
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#&|~$]|^[-+=:]|(?<=^\d)[.)])")
# What single quotes cannot hold, or would hold to a reader's surprise; and what double quotes need a backslash for.
_SHELL_EXPANDS = re.compile(r"['$`]")
_SHELL_SPECIAL = re.compile(r'["$`\\]')


def python_literal(value: object) -> str:
    """A Python literal for a plan value: text is quoted, so that it can never become code. Long numbers are grouped."""
    if isinstance(value, tuple):
        items = [python_literal(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 100_000:
        return f"{value:_}"
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1e6:
        return f"{value:.6g}" if float(f"{value:.6g}") == value else repr(value)
    return repr(value)


def shell_word(value: object) -> str:
    """One shell word, in the quotes that need the least escaping."""
    text = str(value)
    if not _SHELL_EXPANDS.search(text):
        return shlex.quote(text)
    return '"' + _SHELL_SPECIAL.sub(r"\\\g<0>", text) + '"'


def yaml_scalar(value: object) -> str:
    """A YAML scalar, which is TOML's too. Text stands in double quotes; what is not printable ASCII is escaped as both know it."""
    import json

    if not isinstance(value, str):
        return json.dumps(value)
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def markdown_text(value: object) -> str:
    """Text in Markdown prose: one line, with everything that Markdown or HTML would read escaped."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def grouped(value: int) -> str:
    """A whole number with commas between thousands, for people."""
    return f"{value:,}"


@cache
def environment() -> Environment:
    """The environment that all templates are rendered in; it keeps the templates that it has compiled."""
    # Line statements start with `#:`, a comment in Python, shell, YAML and TOML: templates stay valid files of their language.
    jinja = Environment(
        loader=FileSystemLoader(templates_directory()),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        line_statement_prefix="#:",
        comment_start_string="{##",
        comment_end_string="##}",
    )
    jinja.filters.update(py=python_literal, sh=shell_word, yaml=yaml_scalar, md=markdown_text, grouped=grouped)
    return jinja
