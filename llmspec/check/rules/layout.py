"""Rules on how the run is laid over devices by the torch engine, and on number formats that depend on the device."""

from collections.abc import Iterator

from llmspec.catalog import find_accelerator
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Severity
from llmspec.resolve import Resolved
from llmspec.resolve.resolved import OriginKind

FP8_MULTIPLE = 16


def _is_written(resolved: Resolved, path: str) -> bool:
    origin = resolved.origins.get(path)
    return origin is not None and origin.kind in (OriginKind.SPEC, OriginKind.OVERRIDE, OriginKind.PRESET)


@rule("LS362", "shard-size", since="0.1")
def shard_size(resolved: Resolved) -> Iterator[Finding]:
    """Groups of shards that the replicas cannot be divided into.

    ## What it checks
    With `hsdp` the replicas divide into groups of `shard_size`; with `fsdp` one group is all of them; with `ddp` nothing is sharded.

    ## Why it matters
    Each group holds the model once. `fsdp` over a part of the devices is what `hsdp` is.

    ## Example
    ```yaml
    parallelism: {data: fsdp, shard_size: 8}
    hardware: {accelerator: h100-sxm, nodes: 4, accelerators_per_node: 8}
    ```

    Use instead:
    ```yaml
    parallelism: {data: hsdp, shard_size: 8}
    hardware: {accelerator: h100-sxm, nodes: 4, accelerators_per_node: 8}
    ```
    """
    parallelism, replicas = resolved.spec.parallelism, resolved.data_parallel_size
    size, path = parallelism.shard_size, "parallelism.shard_size"
    if parallelism.data == "hsdp" and replicas % size:
        divisors = [divisor for divisor in range(1, replicas + 1) if replicas % divisor == 0]
        near = min(divisors, key=lambda divisor: abs(divisor - size))
        facts = (fact(resolved, "parallelism.shard_size"),)
        yield Finding(f"{replicas} replicas do not divide into groups of {size}", path, f"{replicas} % {size}", facts, (f"use {near}",))
    elif parallelism.data == "fsdp" and size != replicas:
        help_line = "leave `shard_size` out, or use `data: hsdp` for several groups"
        yield Finding(f"`fsdp` shards over all {replicas} replicas, not over {size}", path, help=(help_line,))
    elif parallelism.data == "ddp" and size != 1:
        yield Finding("`ddp` shards nothing", path, help=("leave `shard_size` out, or use `data: hsdp`",))


@rule("LS363", "fp8-without-compile", since="0.1", severity=Severity.WARNING)
def fp8_without_compile(resolved: Resolved) -> Iterator[Finding]:
    """fp8 without compilation.

    ## What it checks
    With `precision: fp8`, `training.compile` is true.

    ## Why it matters
    Each product needs its operands scaled and cast. Only a compiled layer does that in the passes that read them anyway; else casting
    takes more time than fp8 saves.

    ## Example
    ```yaml
    precision: fp8
    training: {compile: false}
    ```

    Use instead:
    ```yaml
    precision: fp8
    training: {compile: true}
    ```
    """
    if resolved.spec.precision == "fp8" and not resolved.spec.training.compile:
        message = "fp8 is slower than bf16 in a model that is not compiled"
        yield Finding(message, "training.compile", "", (fact(resolved, "precision"),), ("leave `compile` out",))


@rule("LS364", "no-fp16", since="0.1")
def no_fp16(resolved: Resolved) -> Iterator[Finding]:
    """fp16 on hardware without it.

    ## What it checks
    With `precision: fp16`, the accelerator multiplies fp16 matrices in hardware.

    ## Why it matters
    Without it fp16 is emulated and slower than fp32, and its narrow range still costs loss scaling and skipped steps.

    ## Example
    ```yaml
    precision: fp16
    hardware: {accelerator: cpu}
    ```

    Use instead:
    ```yaml
    precision: fp32
    hardware: {accelerator: cpu}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.precision == "fp16" and accelerator is not None and not accelerator.supports("fp16"):
        help_line = "leave `precision` out for the best that the accelerator has"
        yield Finding(f"`{accelerator.id}` has no fp16", "precision", "", (fact(resolved, "hardware.accelerator"),), (help_line,))


@rule("LS365", "fp16-where-bf16-is", since="0.1", severity=Severity.WARNING)
def fp16_where_bf16_is(resolved: Resolved) -> Iterator[Finding]:
    """fp16 where bf16 would do.

    ## What it checks
    `precision: fp16` is asked for only where the accelerator has no bf16.

    ## Why it matters
    Both are equally fast. Gradients leave the range of fp16, so that losses must be scaled and steps are skipped when that goes wrong
    (Micikevicius et al. 2018); bf16 has the range of fp32 and needs neither.

    ## Example
    ```yaml
    precision: fp16
    hardware: {accelerator: h100-sxm}
    ```

    Use instead:
    ```yaml
    precision: bf16
    hardware: {accelerator: h100-sxm}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.precision == "fp16" and accelerator is not None and accelerator.supports("bf16"):
        message = f"`{accelerator.id}` has bf16, which is as fast as fp16 and skips no steps"
        yield Finding(message, "precision", "", (fact(resolved, "hardware.accelerator"),), ("use `bf16`",))


@rule("LS366", "no-fp8", since="0.1")
def no_fp8(resolved: Resolved) -> Iterator[Finding]:
    """fp8 on hardware without it.

    ## What it checks
    With `precision: fp8`, the accelerator multiplies fp8 matrices in hardware.

    ## Why it matters
    There is no such instruction on older accelerators: the first step would fail.

    ## Example
    ```yaml
    precision: fp8
    hardware: {accelerator: a100-80-sxm}
    ```

    Use instead:
    ```yaml
    precision: bf16
    hardware: {accelerator: a100-80-sxm}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.precision == "fp8" and accelerator is not None and not accelerator.supports("fp8"):
        help_line = "leave `precision` out for the best that the accelerator has"
        yield Finding(f"`{accelerator.id}` has no fp8", "precision", "", (fact(resolved, "hardware.accelerator"),), (help_line,))


@rule("LS367", "fp8-sizes", since="0.1")
def fp8_sizes(resolved: Resolved) -> Iterator[Finding]:
    """Matrices whose sizes fp8 products do not take.

    ## What it checks
    With `precision: fp8`, the sizes of every matrix of a layer, and the tokens of a micro batch, are multiples of 16.

    ## Why it matters
    The fp8 instructions work on blocks of 16 values; torch refuses other sizes in the first step.

    ## Example
    ```yaml
    precision: fp8
    architecture: {hidden_size: 1000}
    ```

    Use instead:
    ```yaml
    precision: fp8
    architecture: {hidden_size: 1008}
    ```
    """
    spec = resolved.spec
    if spec.precision != "fp8":
        return
    attention = spec.architecture.attention
    head_dim = attention.head_dim or 1
    sizes = {
        "architecture.hidden_size": ("hidden_size", spec.architecture.hidden_size),
        "architecture.feed_forward.ffn_hidden_size": ("ffn_hidden_size", spec.architecture.feed_forward.ffn_hidden_size or 1),
        "architecture.attention.num_heads": ("num_heads * head_dim", attention.num_heads * head_dim),
        "training.micro_batch_size": ("tokens of a micro batch", spec.training.micro_batch_size * spec.training.sequence_length),
    }
    for path, (name, size) in sizes.items():
        if size % FP8_MULTIPLE:
            near = -(-size // FP8_MULTIPLE) * FP8_MULTIPLE
            message = f"fp8 needs multiples of {FP8_MULTIPLE}, and {name} is {size}"
            yield Finding(message, path, "", (fact(resolved, "precision"),), (f"the next multiple is {near}",))


@rule("LS368", "nothing-to-shard", since="0.1", severity=Severity.WARNING)
def nothing_to_shard(resolved: Resolved) -> Iterator[Finding]:
    """Sharding over one device.

    ## What it checks
    `fsdp` and `hsdp` have more than one replica to shard over.

    ## Why it matters
    One device holds everything whatever the layout; the project is then written for one device, without a trace of sharding.

    ## Example
    ```yaml
    parallelism: {data: fsdp}
    hardware: {accelerator: h100-sxm}
    ```

    Use instead:
    ```yaml
    parallelism: {data: fsdp}
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    ```
    """
    data = resolved.spec.parallelism.data
    if data in ("fsdp", "hsdp") and resolved.data_parallel_size == 1:
        facts = (fact(resolved, "hardware.nodes"), fact(resolved, "hardware.accelerators_per_node"))
        yield Finding(f"`{data}` has nothing to shard on one device", "parallelism.data", "", facts, ("leave `data` out",))


@rule("LS369", "nothing-to-gather", since="0.1", severity=Severity.WARNING)
def nothing_to_gather(resolved: Resolved) -> Iterator[Finding]:
    """`reshard_after_forward` where nothing is sharded.

    ## What it checks
    `reshard_after_forward` stands beside `fsdp` or `hsdp`.

    ## Why it matters
    With `ddp` and one device parameters are never sharded, and with `zero` the stage says what is.

    ## Example
    ```yaml
    parallelism: {data: ddp, reshard_after_forward: false}
    ```

    Use instead:
    ```yaml
    parallelism: {data: fsdp, reshard_after_forward: false}
    ```
    """
    path = "parallelism.reshard_after_forward"
    if resolved.spec.parallelism.data not in ("fsdp", "hsdp") and _is_written(resolved, path):
        message = f"`{resolved.spec.parallelism.data}` does not read `reshard_after_forward`"
        yield Finding(message, path, "", (fact(resolved, "parallelism.data"),), ("leave it out, or use `fsdp` or `hsdp`",))
