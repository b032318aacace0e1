"""The catalog: facts with their sources, and the small functions that read them.

One YAML file a table, written for people: accelerators, prices, grids, facilities, embodied carbon, names of other tools and of
SkyPilot, what is not built yet, and one spec fragment for each published model in `presets/`. Nothing is read before it is asked for,
and one entry is read without parsing the rest of its file. The catalog decides nothing: what a figure means for a run is said in
`estimate` and `check`.
"""

from llmspec.catalog.accelerators import Accelerator, accelerator_names, accelerators, find_accelerator
from llmspec.catalog.efficiency import Efficiency, efficiency
from llmspec.catalog.footprint import Embodied, Facility, embodied_carbon, facility
from llmspec.catalog.grids import Grid, grid_intensity, region_names
from llmspec.catalog.names import Alias, Future, aliases, find_alias, find_future, futures
from llmspec.catalog.presets import preset_names, preset_path, preset_title
from llmspec.catalog.prices import MARKETS, Market, MarketPrice, Quote, best_quote, market_price, prices_for
from llmspec.catalog.reliability import Reliability, Spread, reliability
from llmspec.catalog.skypilot import skypilot_name
from llmspec.catalog.sources import citation

__all__ = [
    "MARKETS",
    "Accelerator",
    "Alias",
    "Efficiency",
    "Embodied",
    "Facility",
    "Future",
    "Grid",
    "Market",
    "MarketPrice",
    "Quote",
    "Reliability",
    "Spread",
    "accelerator_names",
    "accelerators",
    "aliases",
    "best_quote",
    "citation",
    "efficiency",
    "embodied_carbon",
    "facility",
    "find_accelerator",
    "find_alias",
    "find_future",
    "futures",
    "grid_intensity",
    "market_price",
    "preset_names",
    "preset_path",
    "preset_title",
    "prices_for",
    "region_names",
    "reliability",
    "skypilot_name",
]
