"""How much carbon a kilowatt-hour carries, by cloud region, country and part of the world."""

import re
from functools import cache
from typing import NamedTuple

from llmspec.catalog.table import table

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class Grid(NamedTuple):
    """The electricity of one region."""

    name: str
    """Name in the catalog."""
    gco2_per_kwh: float
    """Grams of CO2 equivalent for one kWh: what the grid emits there, whatever certificates the operator buys."""
    place: str
    """Where it is."""
    provider: str | None
    """The cloud provider whose region it is; None for countries and groups."""
    date: str
    source: str
    members: tuple[str, ...] = ()
    """Of a group: the regions whose plain mean it is."""


@cache
def grid_intensity(region: str | None) -> Grid | None:
    """The electricity of a region.

    Args:
        region: A cloud region (`us-east-1`, `europe-north1`, `swedencentral`, `Sweden Central`), a country by name or three-letter
            code, a US state (`us-tx`) or a group (`europe-north`); capitals, blanks and underscores do not matter. None: the world.

    Returns:
        The region's electricity; None where the catalog does not know the region.
    """
    grids = table("grids.yaml")
    name = "world" if region is None else _NOT_IN_NAMES.sub("-", region.strip().lower()).strip("-")
    if (entry := grids.entry(name)) is None:
        name = name.replace("-", "")  # Azure writes `North Europe` for people and `northeurope` for programs
        if (entry := grids.entry(name)) is None:
            country = re.search(rf"^([\w-]+): \{{iso3: {name.upper()},", grids.text, re.MULTILINE) if len(name) == 3 else None
            if country is None:
                return None
            name = country[1]
            entry = grids.entry(name)
    if "same_as" in entry:
        grid = grid_intensity(entry["same_as"])
        return grid if grid is None or "provider" not in entry else grid._replace(name=name, provider=entry["provider"])
    if "mean_of" in entry:
        members = tuple(grid for member in entry["mean_of"] if (grid := grid_intensity(member)) is not None)
        mean = sum(grid.gco2_per_kwh for grid in members) / len(members)
        names = tuple(grid.name for grid in members)
        return Grid(name, round(mean, 1), f"mean of {', '.join(names)}", None, max(grid.date for grid in members), "mean", names)
    return Grid(name, entry["gco2_kwh"], entry["place"], entry.get("provider"), str(entry["date"]), entry["source"])


def region_names() -> tuple[str, ...]:
    """All names that the catalog knows, for suggestions."""
    return table("grids.yaml").names
