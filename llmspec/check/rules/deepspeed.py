"""Rules on the DeepSpeed engine."""

from collections.abc import Iterator

from llmspec.check.registry import Finding, Run, fact, rule, run_rule
from llmspec.diagnostics import Fact, Severity
from llmspec.estimate.host import offloaded_gib
from llmspec.resolve import Resolved


@rule("LS370", "zero-stage-too-low", since="0.1")
def zero_stage_too_low(resolved: Resolved) -> Iterator[Finding]:
    """Half precision with ZeRO stage 0.

    ## What it checks
    With the DeepSpeed engine and `zero_stage: 0`, `precision` is fp32.

    ## Why it matters
    Below stage 1 DeepSpeed adds up bf16 gradients in bf16, and updates through an optimizer that was written for fp16. Measured over
    twenty steps on two processes, the loss drifts by 0.02 from that of one process, where stages 1 to 3 stay within 0.001.

    ## Example
    ```yaml
    precision: bf16
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 0}
    ```

    Use instead:
    ```yaml
    precision: bf16
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 1}
    ```
    """
    layout = resolved.spec.parallelism
    if layout.engine == "deepspeed" and layout.data == "zero" and layout.zero_stage == 0 and resolved.spec.precision != "fp32":
        yield Finding(
            f"ZeRO stage 0 computes something else in {resolved.spec.precision}",
            "parallelism.zero_stage",
            facts=(fact(resolved, "precision"),),
            help=("use `zero_stage: 1`, which shards the optimizer's state at no further traffic",),
        )


@rule("LS371", "zero-and-deepspeed-go-together", since="0.1")
def zero_and_deepspeed_go_together(resolved: Resolved) -> Iterator[Finding]:
    """ZeRO without DeepSpeed, or DeepSpeed without ZeRO.

    ## What it checks
    `data: zero`, a `zero_stage` above 0, `offload`, `deepspeed_optimizer` and `launch.deepspeed` stand with `engine: deepspeed`, and with
    that engine `data` is `zero`.

    ## Why it matters
    ZeRO is how DeepSpeed keeps replicas in step, and its stages and offloading mean nothing to the torch engine, which has `ddp`, `fsdp`
    and `hsdp`. A setting that nobody reads would be taken for one that works.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: torch, zero_stage: 3}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 3}
    ```
    """
    layout = resolved.spec.parallelism
    if layout.engine == "deepspeed":
        if layout.data != "zero":
            stage = {"ddp": 0, "fsdp": 3, "hsdp": 3}[layout.data]
            what = f"the DeepSpeed engine has no `{layout.data}`"
            alternative = f"use `data: zero` with `zero_stage: {stage}`, or `engine: torch`"
            yield Finding(what, "parallelism.data", facts=(fact(resolved, "parallelism.engine"),), help=(alternative,))
        return
    engine = (fact(resolved, "parallelism.engine"),)
    if layout.data == "zero":
        help_line = "use `engine: deepspeed`, or `data: fsdp`, which shards what stage 3 shards"
        yield Finding("ZeRO needs the DeepSpeed engine", "parallelism.data", facts=engine, help=(help_line,))
    elif layout.zero_stage > 0:
        yield Finding(
            f"`zero_stage` means nothing to `data: {layout.data}`",
            "parallelism.zero_stage",
            facts=engine,
            help=("use `engine: deepspeed`, or leave `zero_stage` out",),
        )
    if layout.offload is not None:
        yield Finding(
            "offloading needs the DeepSpeed engine",
            "parallelism.offload",
            facts=engine,
            help=("use `engine: deepspeed`, or leave `offload` out",),
        )
    if layout.deepspeed_optimizer:
        help_line = "use `engine: deepspeed`, or leave `deepspeed_optimizer` out"
        yield Finding(
            "DeepSpeed's optimizer needs the DeepSpeed engine", "parallelism.deepspeed_optimizer", facts=engine, help=(help_line,)
        )
    if resolved.spec.launch.deepspeed is not None:
        help_line = "use `torchrun: {}`, or `engine: deepspeed`"
        yield Finding("DeepSpeed's launcher needs the DeepSpeed engine", "launch.deepspeed", facts=engine, help=(help_line,))


@rule("LS372", "offload-needs-more-sharding", since="0.1")
def offload_needs_more_sharding(resolved: Resolved) -> Iterator[Finding]:
    """Offloading what the ZeRO stage keeps on the device.

    ## What it checks
    `offload.optimizer` stands with `zero_stage` 1 or above, `offload.parameters` and all that goes to `nvme` with stage 3.

    ## Why it matters
    DeepSpeed moves its shards to the host, so only what a stage shards can go there. Below stage 3 every device needs all parameters all
    the time, and the code that writes to disks is part of stage 3.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 2, offload: {optimizer: cpu, parameters: cpu}}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 3, offload: {optimizer: cpu, parameters: cpu}}
    ```
    """
    layout = resolved.spec.parallelism
    if layout.engine != "deepspeed" or layout.offload is None:
        return
    needed = {"optimizer": 1 if layout.offload.optimizer == "cpu" else 3, "parameters": 3}
    for name, stage in needed.items():
        where = getattr(layout.offload, name)
        if where != "none" and layout.zero_stage < stage:
            yield Finding(
                f"`offload.{name}: {where}` needs ZeRO stage {stage}{'' if stage == 3 else ' or above'}",
                f"parallelism.offload.{name}",
                facts=(fact(resolved, "parallelism.zero_stage"),),
                help=(f"use `zero_stage: {max(stage, 2)}`, or `{name}: none`",),
            )


@rule("LS373", "no-deepspeed-optimizer", since="0.1")
def no_deepspeed_optimizer(resolved: Resolved) -> Iterator[Finding]:
    """An optimizer that DeepSpeed has no code for.

    ## What it checks
    Where the optimizer is offloaded or `deepspeed_optimizer` is true, `optimizer.kind` is adam, adamw or lion.

    ## Why it matters
    An offloaded optimizer computes its step on the host. DeepSpeed has vectorised code for these three; any other would run through
    torch's operations on the processor, many times slower, while all accelerators wait.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 2, offload: {optimizer: cpu}}
    optimizer: {kind: sgd, learning_rate: 1e-3}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 2, offload: {optimizer: cpu}}
    optimizer: {kind: adamw, learning_rate: 1e-3}
    ```
    """
    spec = resolved.spec
    layout = spec.parallelism
    if layout.engine != "deepspeed":
        return
    offloaded = layout.offload is not None and layout.offload.optimizer != "none"
    kind = fact(resolved, "optimizer.kind")
    if (offloaded or layout.deepspeed_optimizer) and spec.optimizer.kind not in ("adam", "adamw", "lion"):
        path = "parallelism.offload.optimizer" if offloaded else "parallelism.deepspeed_optimizer"
        yield Finding(f"DeepSpeed has no {spec.optimizer.kind} of its own", path, facts=(kind,), help=("use adam, adamw or lion",))
    elif offloaded and not layout.deepspeed_optimizer:
        what = "an offloaded optimizer is DeepSpeed's own"
        yield Finding(what, "parallelism.deepspeed_optimizer", facts=(kind,), help=("leave `deepspeed_optimizer` out",))


@rule("LS374", "offload-without-path", since="0.1")
def offload_without_path(resolved: Resolved) -> Iterator[Finding]:
    """Offloading to a disk without saying where.

    ## What it checks
    `offload.nvme_path` is given where something goes to `nvme`.

    ## Why it matters
    DeepSpeed reads and writes there all the time, at several gigabytes a second. Which directory is on a local NVMe disk only you know; on
    a network disk or the system's it would take hours a step.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 3, offload: {optimizer: nvme}}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed, zero_stage: 3, offload: {optimizer: nvme, nvme_path: /mnt/nvme}}
    ```
    """
    offload = resolved.spec.parallelism.offload
    if offload is None or offload.nvme_path is not None:
        return
    for name in ("optimizer", "parameters"):
        if getattr(offload, name) == "nvme":
            yield Finding(
                "the disk to offload to is not named", f"parallelism.offload.{name}", help=("add `nvme_path: /mnt/nvme`, with yours",)
            )
            return


@run_rule("LS375", "offload-does-not-fit", since="0.1")
def offload_does_not_fit(run: Run) -> Iterator[Finding]:
    """Offloading more than a machine's memory holds.

    ## What it checks
    What goes to `cpu` fits into `hardware.host_memory_gib`, where that is given: 16 bytes a parameter of the machine's share for Adam's
    state (12 for Lion's), 2 for the parameters (4 in fp32).

    ## Why it matters
    A machine that runs out of memory kills the run without a word, or the machine itself stops answering.

    ## Example
    ```yaml
    preset: llama-3.1-8b
    hardware: {accelerator: rtx-4090, accelerators_per_node: 8, host_memory_gib: 64}
    parallelism: {engine: deepspeed, zero_stage: 3, offload: {optimizer: cpu}}
    ```

    Use instead:
    ```yaml
    preset: llama-3.1-8b
    hardware: {accelerator: rtx-4090, accelerators_per_node: 8, host_memory_gib: 256}
    parallelism: {engine: deepspeed, zero_stage: 3, offload: {optimizer: cpu}}
    ```
    """
    there = run.resolved.spec.hardware.host_memory_gib
    needed = offloaded_gib(run.resolved, sum(weight.size for weight in run.network.weights))
    if there is not None and needed > there:
        yield Finding(
            f"what is offloaded takes {needed:,.1f} GiB of each machine's memory",
            "hardware.host_memory_gib",
            f"{needed:,.1f} > {there:g}",
            (Fact("parameters", f"{run.estimate.parameters.total.value:,.0f}", "counted"), fact(run.resolved, "hardware.nodes")),
            ("use more machines, or offload less",),
        )


@rule("LS376", "fp8-with-deepspeed", since="0.1")
def fp8_with_deepspeed(resolved: Resolved) -> Iterator[Finding]:
    """8-bit matrix products with DeepSpeed.

    ## What it checks
    With the DeepSpeed engine `precision` is fp32, bf16 or fp16.

    ## Why it matters
    fp8 training replaces the layers' matrices by tensors that carry scales. ZeRO lays parameters end to end in buffers of one plain
    number format, in which such tensors do not survive.

    ## Example
    ```yaml
    precision: fp8
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed}
    ```

    Use instead:
    ```yaml
    precision: fp8
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: torch, data: fsdp}
    ```
    """
    spec = resolved.spec
    if spec.parallelism.engine == "deepspeed" and spec.precision in ("fp8", "fp4"):
        yield Finding(
            f"the DeepSpeed engine does not train in {spec.precision}",
            "precision",
            facts=(fact(resolved, "parallelism.engine"),),
            help=("use `bf16`, or `engine: torch` with `data: fsdp`",),
        )


@rule("LS377", "deepspeed-on-one-device", since="0.1", severity=Severity.WARNING)
def deepspeed_on_one_device(resolved: Resolved) -> Iterator[Finding]:
    """DeepSpeed where it has nothing to do.

    ## What it checks
    With the DeepSpeed engine there is more than one device, or something is offloaded.

    ## Why it matters
    ZeRO shards over devices. On one device there is nothing to shard, while its buckets and copies still cost memory and time.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm}
    parallelism: {engine: deepspeed, zero_stage: 2}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm}
    parallelism: {engine: torch}
    ```
    """
    layout = resolved.spec.parallelism
    if layout.engine == "deepspeed" and layout.offload is None and resolved.world_size == 1:
        yield Finding(
            "DeepSpeed has nothing to shard on one device",
            "parallelism.engine",
            help=("use `engine: torch`, or offload to host memory with `offload: {optimizer: cpu}` and `zero_stage: 2`",),
        )


# They treat every element alike, whatever its place.
_ELEMENTWISE = ("adam", "adamw", "sgd", "rmsprop", "lion")


@rule("LS378", "optimizer-needs-whole-tensors", since="0.1")
def optimizer_needs_whole_tensors(resolved: Resolved) -> Iterator[Finding]:
    """An optimizer that DeepSpeed would give the wrong pieces.

    ## What it checks
    With the DeepSpeed engine, `optimizer.kind` is one that treats every element alike: adam, adamw, sgd, rmsprop or lion.

    ## Why it matters
    ZeRO lays all parameters end to end, cuts the line into equal pieces and hands each process one. Muon, SOAP and Adafactor work on the
    rows and columns of a matrix and LAMB on the norm of a tensor, of which nothing is left in a piece; schedule-free AdamW swaps the
    weights behind DeepSpeed's back, and the 8-bit states are tensors that its checkpoints do not hold. Stage 0 cuts nothing, and is what
    `engine: torch` with `data: ddp` does with any optimizer.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed}
    optimizer: {kind: muon, learning_rate: 1e-3}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: torch, data: fsdp}
    optimizer: {kind: muon, learning_rate: 1e-3}
    ```
    """
    spec = resolved.spec
    if spec.parallelism.engine == "deepspeed" and spec.optimizer.kind not in _ELEMENTWISE:
        yield Finding(
            f"DeepSpeed cuts parameters into flat pieces, which {spec.optimizer.kind} cannot work on",
            "optimizer.kind",
            facts=(fact(resolved, "parallelism.engine"),),
            help=("use `engine: torch` with `data: fsdp`, or one of " + ", ".join(f"`{kind}`" for kind in _ELEMENTWISE),),
        )


@rule("LS379", "not-with-deepspeed", since="0.1")
def not_with_deepspeed(resolved: Resolved) -> Iterator[Finding]:
    """What the DeepSpeed engine does not do.

    ## What it checks
    With the DeepSpeed engine, `checkpoint.asynchronous` is false and there is no `training.ema`; with stage 3 `training.compile` is
    false; with fp16 and stage 1 to 3 there is no `training.guard.spike_sigma`.

    ## Why it matters
    DeepSpeed keeps gradients, optimizer state and shards of parameters in buffers of its own and writes its checkpoints itself. What the
    torch engine does by reaching into these would be wrong here or be lost on resuming. It skips a step whose gradient is not finite, and
    is brought to skip spikes of the loss by making it so; in fp16 it would take that for an overflow and lower the loss scale. The weights
    that a process can read are 16-bit copies, in which the small steps of a running mean are rounded away; the fp32 ones lie in flat
    shards, of which its checkpoints keep no mean. Stage 3 gathers parameters in hooks around every module, at which torch.compile breaks
    off and compiles anew until it gives up.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed}
    checkpoint: {asynchronous: true}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {engine: deepspeed}
    checkpoint: {asynchronous: false}
    ```
    """
    spec = resolved.spec
    if spec.parallelism.engine != "deepspeed":
        return
    engine = (fact(resolved, "parallelism.engine"),)
    if spec.checkpoint.asynchronous:
        what = "the DeepSpeed engine writes checkpoints while training waits"
        help_line = "use `asynchronous: false`, or `engine: torch` with `data: fsdp`"
        yield Finding(what, "checkpoint.asynchronous", facts=engine, help=(help_line,))
    if spec.training.guard.spike_sigma is not None and spec.precision == "fp16" and spec.parallelism.zero_stage > 0:
        what = "in fp16 DeepSpeed would take a skipped spike for an overflow, and lower the loss scale"
        help_line = "use `precision: bf16`, or leave `spike_sigma` out; steps whose gradient is not finite are skipped all the same"
        facts = (*engine, fact(resolved, "precision"))
        yield Finding(what, "training.guard.spike_sigma", facts=facts, help=(help_line,))
    if spec.training.ema is not None:
        help_line = "leave `ema` out, or use `engine: torch` with `data: fsdp`"
        yield Finding("the DeepSpeed engine keeps no running mean of the weights", "training.ema", facts=engine, help=(help_line,))
    if spec.training.compile and spec.parallelism.zero_stage == 3:
        what = "torch.compile breaks off at the hooks of ZeRO stage 3"
        yield Finding(what, "training.compile", facts=engine, help=("use `compile: false`, or `zero_stage: 2`",))
