"""How the project is started: the launch scripts."""

from dataclasses import dataclass

from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.resolve.resolved import Resolved


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What the launch scripts need to know."""

    local: bool
    torchrun: bool
    num_nodes: int
    last_node_rank: int
    devices_per_node: int
    port: int
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]


def lower_launch(resolved: Resolved) -> LaunchPlan:
    """Decide which launch scripts are emitted and for how many machines and devices."""
    launch, hardware = resolved.spec.launch, resolved.spec.hardware
    files = []
    if launch.local is not None:
        files.append(EmittedFile("launch/local.sh", "project/launch/local.sh.jinja", executable=True))
    if launch.torchrun is not None:
        files.append(EmittedFile("launch/torchrun.sh", "project/launch/torchrun.sh.jinja", executable=True))
    return LaunchPlan(
        local=launch.local is not None,
        torchrun=launch.torchrun is not None,
        num_nodes=hardware.nodes,
        last_node_rank=hardware.nodes - 1,
        devices_per_node=hardware.accelerators_per_node,
        port=launch.torchrun.port if launch.torchrun is not None else 0,
        config_classes=(),
        files=tuple(files),
    )
