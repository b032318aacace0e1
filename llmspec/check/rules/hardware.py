"""Rules on what the run runs on."""

from collections.abc import Iterator

from llmspec.catalog import accelerator_names, find_accelerator, grid_intensity, region_names
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.resolve import Resolved
from llmspec.spec.schema.launch import LAUNCHERS

_DRIVEN = ("cuda", "cpu")


@rule("LS350", "unknown-accelerator", since="0.1")
def unknown_accelerator(resolved: Resolved) -> Iterator[Finding]:
    """An accelerator that the catalog does not have.

    ## What it checks
    `hardware.accelerator` is an identifier of the catalog.

    ## Why it matters
    Memory, speed, power and price come from there, and so do defaults such as the precision.

    ## Example
    ```yaml
    hardware: {accelerator: h100}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm}
    ```
    """
    name = resolved.spec.hardware.accelerator
    if find_accelerator(name) is None:
        near = [known for known in accelerator_names() if known.startswith(f"{name.lower()}-")][:4] or nearest(name, accelerator_names())
        hints = (f"did you mean {choice(near)}?",) if near else ("the catalog has " + ", ".join(f"`{known}`" for known in _examples()),)
        yield Finding("the catalog has no such accelerator", "hardware.accelerator", help=hints)


def _examples() -> list[str]:
    known = accelerator_names()
    return [name for name in ("h100-sxm", "a100-sxm-80", "rtx-4090", "cpu") if name in known]


@rule("LS351", "unknown-region", since="0.1")
def unknown_region(resolved: Resolved) -> Iterator[Finding]:
    """A region that the catalog does not have.

    ## What it checks
    `hardware.region` is a cloud region, country or grid of the catalog.

    ## Why it matters
    The carbon of a run is its energy times the intensity of that region's grid, and intensities differ twentyfold.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, region: swedn}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, region: sweden}
    ```
    """
    region = resolved.spec.hardware.region
    if region is not None and grid_intensity(region) is None:
        near = nearest(region, region_names())
        help_line = f"did you mean {choice(near)}?" if near else "give a cloud region such as `us-east-1`, or a country such as `sweden`"
        yield Finding("the catalog has no such region", "hardware.region", help=(help_line,))


@rule("LS352", "no-bf16", since="0.1")
def no_bf16(resolved: Resolved) -> Iterator[Finding]:
    """bf16 on hardware without it.

    ## What it checks
    With `precision: bf16`, the accelerator multiplies bf16 matrices in hardware.

    ## Why it matters
    Without it bf16 is emulated, and is many times slower than fp32.

    ## Example
    ```yaml
    precision: bf16
    hardware: {accelerator: v100-sxm-16}
    ```

    Use instead:
    ```yaml
    precision: fp32
    hardware: {accelerator: v100-sxm-16}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.precision == "bf16" and accelerator is not None and not accelerator.supports("bf16"):
        hints = ["use `fp32`, or leave `precision` out for the best that the accelerator has"]
        if accelerator.is_cpu:
            hints.append("for a processor with AVX512-BF16 or AMX, `hardware.accelerator` can be `cpu-avx512-bf16`")
        yield Finding(f"`{accelerator.id}` has no bf16", "precision", "", (fact(resolved, "hardware.accelerator"),), tuple(hints))


@rule("LS353", "several-machines-without-torchrun", since="0.1")
def several_machines_without_torchrun(resolved: Resolved) -> Iterator[Finding]:
    """Several machines and no launcher for them.

    ## What it checks
    With more than one node, a launcher for several machines is emitted.

    ## Why it matters
    `launch/local.sh` starts processes on one machine only. With no launcher named, `torchrun` is emitted by itself; all others are for
    several machines too.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    launch: {local: {}}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    launch: {torchrun: {}}
    ```
    """
    launch = resolved.spec.launch
    if resolved.spec.hardware.nodes > 1 and all(getattr(launch, name) is None for name in LAUNCHERS if name != "local"):
        yield Finding(
            "no launcher for several machines is asked for",
            "launch",
            f"there are {resolved.spec.hardware.nodes} nodes",
            (fact(resolved, "hardware.nodes"),),
            ("add `torchrun: {}` under `launch`, or leave `launch` out",),
        )


@rule("LS354", "node-unusually-large", since="0.1", severity=Severity.WARNING)
def node_unusually_large(resolved: Resolved) -> Iterator[Finding]:
    """More accelerators in a machine than are sold.

    ## What it checks
    `accelerators_per_node` is at most what the usual machine with this accelerator has.

    ## Why it matters
    Links within a node are many times faster than the network between nodes, so the estimate would be too good.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 16}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    ```
    """
    hardware = resolved.spec.hardware
    accelerator = find_accelerator(hardware.accelerator)
    if accelerator is None or accelerator.is_cpu or hardware.accelerators_per_node <= accelerator.accelerators_per_node:
        return
    usual = accelerator.accelerators_per_node
    yield Finding(
        f"a machine with `{accelerator.id}` usually has {usual} of them",
        "hardware.accelerators_per_node",
        f"{hardware.accelerators_per_node} > {usual}",
        (fact(resolved, "hardware.accelerator"),),
        (f"use `nodes` for more than {usual}",),
    )


@rule("LS356", "accelerator-not-driven", since="0.1", severity=Severity.WARNING)
def accelerator_not_driven(resolved: Resolved) -> Iterator[Finding]:
    """An accelerator that emitted projects cannot drive.

    ## What it checks
    The emitted project can drive the accelerator: it is an NVIDIA or AMD GPU, or a CPU.

    ## Why it matters
    For other accelerators llmspec estimates what a run would take; training on them is not built yet.

    ## Example
    ```yaml
    hardware: {accelerator: tpu-v5p}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if accelerator is not None and accelerator.device_type not in _DRIVEN:
        message = f"training on `{accelerator.id}` is not built yet"
        yield Finding(
            message, "hardware.accelerator", help=("the estimate holds; the emitted project runs on NVIDIA and AMD GPUs and on CPUs",)
        )
