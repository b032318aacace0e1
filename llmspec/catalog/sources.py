"""Where the figures come from."""

from llmspec.catalog.table import table


def citation(source: str) -> str:
    """What a source's short name stands for."""
    text = table("sources.yaml").entry(source)
    return str(text) if text is not None else source
