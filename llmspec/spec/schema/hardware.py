"""`hardware:` what the run runs on, where, and at what price."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.base import Positive, Section, Text


class Hardware(Section):
    """What the run runs on, where, and at what price."""

    accelerator: Text
    """Identifier of the device in the catalog, such as h100-sxm or cpu. Required."""

    nodes: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Number of machines. Default: 1."""

    accelerators_per_node: Annotated[int, Field(ge=1, le=1024)] = 1
    """Devices in use on each machine; one process each. Default: 1."""

    host_memory_gib: Positive | None = None
    """Memory of each machine outside its accelerators, in GiB: what offloading has to fit into. Default: null, not checked."""

    region: Text | None = None
    """Cloud region, country or grid whose carbon intensity counts. Default: null, the world average."""

    price: Literal["on_demand", "spot", "reserved"] | Positive = "on_demand"
    """`on_demand`, `spot` or `reserved` for the cheapest quote of that kind, or US dollars for one accelerator hour. Default: on_demand."""

    prices: Text | None = None
    """A YAML file of one's own quotes, with the columns of the catalog's, which stand in place of the catalog's for the accelerators in it;
    relative to the spec. Default: null, the catalog's quotes."""
