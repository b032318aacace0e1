"""What the hardware can do."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from llmspec.catalog.table import table

_DEVICE_TYPES = {
    "nvidia": "cuda",
    "amd": "cuda",
    "cpu": "cpu",
    "apple": "mps",
    "intel": "hpu",
    "google": "xla",
    "aws": "xla",
    "huawei": "npu",
}


class Accelerator(NamedTuple):
    """One kind of device, as its vendor states it and as it was measured."""

    id: str
    name: str
    vendor: str
    year: int
    memory_gb: float
    """Memory as sold, in GB."""
    memory_bytes: int
    """Memory that a program sees: what the driver reports where that is known, else `memory_gb` * 10^9."""
    memory_bandwidth_gbs: float
    """Bandwidth of that memory, GB/s (10^9)."""
    peak_tflops: Mapping[str, float]
    """Dense peak by number format (fp64, fp32, tf32, fp16, bf16, fp8, fp6, fp4; int8 in TOP/s), without sparsity. A format that is
    absent is one that the device does not have."""
    matmul_tflops: Mapping[str, float]
    """Highest measured speed of large matrix products by number format; empty where nobody measured."""
    multiprocessors: int | None
    """Streaming multiprocessors or compute units; None where nobody says, or the device is built otherwise."""
    link: str
    """What joins the accelerators of one node."""
    link_gbs: float | None
    """One-way bandwidth of that link for one accelerator, GB/s; None where there is none."""
    link_peer_gbs: float | None
    """One-way bandwidth between two accelerators, GB/s, where the link is a mesh or torus; None where a switch gives each pair it all."""
    link_domain: int
    """How many accelerators that link joins: the node's, or the rack's where it reaches further."""
    accelerators_per_node: int
    """Accelerators in the usual node."""
    network_gbps: float | None
    """Network between nodes for one accelerator, Gbit/s, a usual cloud figure; None where it is not known."""
    tdp_watts: float | None
    """Rated power; None where the vendor does not say."""
    available: bool
    """False for what was announced and could not be rented when the table was made."""
    confidence: str
    """high: vendor's documentation or two agreeing sources; medium: one source, or derived; low: recalled or announced."""
    sources: tuple[str, ...]
    notes: str

    @property
    def device_type(self) -> str:
        """PyTorch's name for this kind of device."""
        return _DEVICE_TYPES[self.vendor]

    @property
    def is_cpu(self) -> bool:
        """Whether this is a processor and not an accelerator."""
        return self.vendor == "cpu"

    def supports(self, number_format: str) -> bool:
        """Whether the device multiplies matrices in a number format in hardware."""
        return number_format in self.peak_tflops


def accelerator_names() -> tuple[str, ...]:
    """Identifiers of all accelerators."""
    return table("accelerators.yaml").names


@cache
def find_accelerator(id: str) -> Accelerator | None:
    """The accelerator with an identifier; None where there is none."""
    entry = table("accelerators.yaml").entry(id)
    return None if entry is None else _accelerator(id, entry)


@cache
def accelerators() -> Mapping[str, Accelerator]:
    """All accelerators by identifier."""
    return {id: _accelerator(id, entry) for id, entry in table("accelerators.yaml").all().items()}


def _accelerator(id: str, entry: dict[str, Any]) -> Accelerator:
    memory, link, node = entry["memory"], entry["link"], entry["node"]
    visible = memory.get("visible_mib")
    return Accelerator(
        id=id,
        name=entry["name"],
        vendor=entry["vendor"],
        year=entry["year"],
        memory_gb=memory["gb"],
        memory_bytes=visible * 2**20 if visible else int(memory["gb"] * 10**9),
        memory_bandwidth_gbs=memory["bandwidth_gbs"],
        peak_tflops=entry["peak_tflops"],
        matmul_tflops=entry.get("matmul_tflops", {}),
        multiprocessors=entry.get("multiprocessors"),
        link=link["kind"],
        link_gbs=link.get("gbs"),
        link_peer_gbs=link.get("peer_gbs", link.get("per_link_gbs")),
        link_domain=link.get("domain", node["accelerators"]),
        accelerators_per_node=node["accelerators"],
        network_gbps=node.get("network_gbps"),
        tdp_watts=entry.get("tdp_watts"),
        available=entry.get("available", True),
        confidence=entry["confidence"],
        sources=tuple(entry["sources"]),
        notes=entry.get("notes", ""),
    )
