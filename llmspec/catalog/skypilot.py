"""What SkyPilot calls accelerators."""

from llmspec.catalog.table import table


def skypilot_name(accelerator: str) -> str | None:
    """SkyPilot's name of an accelerator of the catalog; None where none of its clouds rents that."""
    name = table("skypilot.yaml").entry(accelerator)
    return str(name) if name is not None else None
