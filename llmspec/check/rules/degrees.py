"""Rules on the degrees of parallelism: what cannot be divided as the spec says."""

from collections.abc import Iterator

from llmspec.catalog import find_accelerator
from llmspec.check.registry import Finding, fact, rule
from llmspec.diagnostics import Fact, Severity
from llmspec.resolve import Resolved


def _divisors(*numbers: int, most: int) -> str:
    """The numbers that divide all of some, up to one, as text."""
    return ", ".join(str(divisor) for divisor in range(1, most + 1) if all(number % divisor == 0 for number in numbers))


@rule("LS403", "degrees-do-not-divide-devices", since="0.1")
def degrees_do_not_divide_devices(resolved: Resolved) -> Iterator[Finding]:
    """Degrees whose product does not divide the devices.

    ## What it checks
    `nodes * accelerators_per_node` is a multiple of `tensor * pipeline * context`.

    ## Why it matters
    Each replica of the model takes that many devices; what is left over could not take part.

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {tensor: 3}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    parallelism: {tensor: 4}
    ```
    """
    layout, devices = resolved.spec.parallelism, resolved.world_size
    product = layout.tensor * layout.pipeline * layout.context
    if devices % product:
        largest = max(("tensor", "pipeline", "context"), key=lambda name: int(getattr(layout, name)))
        facts = (
            Fact("devices", f"{devices:,}", "derived: nodes * accelerators_per_node"),
            *(fact(resolved, f"parallelism.{name}") for name in ("tensor", "pipeline", "context") if getattr(layout, name) > 1),
        )
        yield Finding(
            "`tensor * pipeline * context` does not divide the number of devices",
            f"parallelism.{largest}",
            f"{devices:,} % {product} = {devices % product}",
            facts,
            ("use degrees whose product divides the devices, or other `nodes`",),
        )


@rule("LS404", "more-stages-than-layers", since="0.1")
def more_stages_than_layers(resolved: Resolved) -> Iterator[Finding]:
    """A pipeline with stages that have no layer.

    ## What it checks
    `pipeline * stages_per_device` is at most `num_layers`.

    ## Why it matters
    A stage without a layer computes nothing and passes on what it gets: its devices would be wasted.

    ## Example
    ```yaml
    architecture: {num_layers: 12}
    parallelism: {pipeline: 16}
    ```

    Use instead:
    ```yaml
    architecture: {num_layers: 12}
    parallelism: {pipeline: 4}
    ```
    """
    layout, layers = resolved.spec.parallelism, resolved.spec.architecture.num_layers
    stages = layout.pipeline * (layout.stages_per_device if layout.pipeline_schedule == "interleaved_1f1b" else 1)
    if stages > layers:
        yield Finding(
            "the pipeline has more stages than the model has layers",
            "parallelism.pipeline",
            f"{stages} > {layers}",
            (fact(resolved, "architecture.num_layers"),),
            (f"use one of {_divisors(layers, most=layers)} stages in all",),
        )


@rule("LS405", "tensor-does-not-divide-model", since="0.1")
def tensor_does_not_divide_model(resolved: Resolved) -> Iterator[Finding]:
    """Tensor parallelism that cannot split the model evenly.

    ## What it checks
    `num_heads`, `num_kv_heads` and `ffn_hidden_size` are multiples of `tensor`.

    ## Why it matters
    Each device of a tensor group takes whole heads and as many columns of the feed-forward as the others.

    ## Example
    ```yaml
    architecture: {attention: {kind: gqa, num_heads: 32, num_kv_heads: 8}}
    parallelism: {tensor: 16}
    ```

    Use instead:
    ```yaml
    architecture: {attention: {kind: gqa, num_heads: 32, num_kv_heads: 8}}
    parallelism: {tensor: 8}
    ```
    """
    architecture, tensor = resolved.spec.architecture, resolved.spec.parallelism.tensor
    sizes = {
        "num_heads": architecture.attention.num_heads,
        "num_kv_heads": architecture.attention.key_value_heads,
        "ffn_hidden_size": architecture.feed_forward.ffn_hidden_size,
    }
    for name, size in sizes.items():
        if size % tensor:
            yield Finding(
                f"`tensor` does not divide `{name}`",
                "parallelism.tensor",
                f"{size} % {tensor} = {size % tensor}",
                (Fact(name, str(size), resolved.origin("architecture").text),),
                (f"use one of {_divisors(*sizes.values(), most=min(sizes.values()))}",),
            )
            return


@rule("LS406", "sequence-cannot-be-split", since="0.1")
def sequence_cannot_be_split(resolved: Resolved) -> Iterator[Finding]:
    """A sequence that the layout cannot split evenly.

    ## What it checks
    `sequence_length` is a multiple of `2 * context`, where context is above 1, and of `context * tensor` with sequence parallelism.

    ## Why it matters
    With the causal mask late tokens attend to more than early ones, so that each device of a context group takes one early and one late
    chunk. The devices of a tensor group then share what is left for norms and dropout.

    ## Example
    ```yaml
    training: {sequence_length: 4100}
    parallelism: {context: 8}
    ```

    Use instead:
    ```yaml
    training: {sequence_length: 4096}
    parallelism: {context: 8}
    ```
    """
    layout, length = resolved.spec.parallelism, resolved.spec.training.sequence_length
    chunks = 2 * layout.context if layout.context > 1 else 1
    parts = layout.context * (layout.tensor if layout.sequence_parallel else 1)
    for name, divisor in (("2 * context", chunks), ("context * tensor", parts)):
        if length % divisor:
            below = length // divisor * divisor
            yield Finding(
                f"`sequence_length` is not a multiple of `{name}`",
                "training.sequence_length",
                f"{length} % {divisor} = {length % divisor}",
                tuple(fact(resolved, f"parallelism.{degree}") for degree in ("context", "tensor") if getattr(layout, degree) > 1),
                (f"use {below} or {below + divisor}" if below else f"use {divisor}",),
            )
            return


@rule("LS407", "interleaving-needs-rounds", since="0.1")
def interleaving_needs_rounds(resolved: Resolved) -> Iterator[Finding]:
    """An interleaved pipeline whose micro batches do not come in whole rounds.

    ## What it checks
    With `stages_per_device` above 1 the micro batches of a step are a multiple of `pipeline`.

    ## Why it matters
    Devices take turns between their stages, and each turn takes as many micro batches as the pipeline has devices (Narayanan et al. 2021).

    ## Example
    ```yaml
    training: {global_batch_size: 6, micro_batch_size: 1}
    parallelism: {pipeline: 4, pipeline_schedule: interleaved_1f1b, stages_per_device: 2}
    ```

    Use instead:
    ```yaml
    training: {global_batch_size: 8, micro_batch_size: 1}
    parallelism: {pipeline: 4, pipeline_schedule: interleaved_1f1b, stages_per_device: 2}
    ```
    """
    layout, micro_batches = resolved.spec.parallelism, resolved.gradient_accumulation_steps
    if layout.pipeline == 1 or layout.pipeline_schedule != "interleaved_1f1b" or layout.stages_per_device == 1:
        return
    if micro_batches % layout.pipeline:
        yield Finding(
            "the micro batches of a step are no multiple of `pipeline`",
            "parallelism.pipeline",
            f"{micro_batches} % {layout.pipeline} = {micro_batches % layout.pipeline}",
            (fact(resolved, "training.global_batch_size"), fact(resolved, "training.micro_batch_size")),
            ("use a larger `global_batch_size`, or `pipeline_schedule: 1f1b`",),
        )


@rule("LS408", "pipeline-mostly-waits", since="0.1", severity=Severity.WARNING)
def pipeline_mostly_waits(resolved: Resolved) -> Iterator[Finding]:
    """A pipeline with fewer micro batches than devices.

    ## What it checks
    The micro batches of a step are at least as many as `pipeline`.

    ## Why it matters
    While a pipeline fills and drains its devices wait: `pipeline - 1` turns of every `micro_batches + pipeline - 1`. With fewer micro
    batches than devices that is about half of the time.

    ## Example
    ```yaml
    training: {global_batch_size: 4, micro_batch_size: 1}
    parallelism: {pipeline: 8}
    ```

    Use instead:
    ```yaml
    training: {global_batch_size: 32, micro_batch_size: 1}
    parallelism: {pipeline: 8}
    ```
    """
    pipeline, micro_batches = resolved.spec.parallelism.pipeline, resolved.gradient_accumulation_steps
    if micro_batches < pipeline:
        yield Finding(
            "the pipeline has fewer micro batches than devices, which wait for about half of the time",
            "parallelism.pipeline",
            f"{micro_batches} < {pipeline}",
            (fact(resolved, "training.global_batch_size"), fact(resolved, "training.micro_batch_size")),
            ("use a smaller `micro_batch_size`, fewer stages or a larger batch",),
        )


@rule("LS409", "tensor-leaves-node", since="0.1", severity=Severity.WARNING)
def tensor_leaves_node(resolved: Resolved) -> Iterator[Finding]:
    """Tensor parallelism over the network.

    ## What it checks
    `tensor` is at most the number of devices that a fast link joins.

    ## Why it matters
    The devices of a tensor group exchange the residual stream four times in every layer and wait for it. Over the network between nodes
    that takes two to three times as long as the computation (vTrain, MICRO 2024).

    ## Example
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    parallelism: {tensor: 16}
    ```

    Use instead:
    ```yaml
    hardware: {accelerator: h100-sxm, nodes: 2, accelerators_per_node: 8}
    parallelism: {tensor: 8, pipeline: 2}
    ```
    """
    hardware, tensor = resolved.spec.hardware, resolved.spec.parallelism.tensor
    accelerator = find_accelerator(hardware.accelerator)
    if accelerator is None:
        return
    reaches_further = accelerator.link_domain > accelerator.accelerators_per_node
    domain = accelerator.link_domain if reaches_further else hardware.accelerators_per_node
    if tensor > domain:
        yield Finding(
            f"`tensor` is larger than the {domain} devices that a fast link joins",
            "parallelism.tensor",
            f"{tensor} > {domain}",
            (fact(resolved, "hardware.accelerators_per_node"),),
            (f"use at most {domain}, and `pipeline` beyond",),
        )


@rule("LS410", "no-fp4", since="0.1")
def no_fp4(resolved: Resolved) -> Iterator[Finding]:
    """Training in fp4 on a device without it.

    ## What it checks
    With `precision: fp4` the accelerator multiplies matrices in fp4.

    ## Why it matters
    Devices before Blackwell and MI350 have no such units; they would compute in a wider format and only lose accuracy.

    ## Example
    ```yaml
    precision: fp4
    hardware: {accelerator: h100-sxm}
    ```

    Use instead:
    ```yaml
    precision: fp4
    hardware: {accelerator: b200}
    ```
    """
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if resolved.spec.precision == "fp4" and accelerator is not None and not accelerator.supports("fp4"):
        yield Finding(
            f"`{accelerator.id}` does not multiply in fp4",
            "precision",
            "",
            (fact(resolved, "hardware.accelerator"),),
            ("use `bf16`, or an accelerator such as b200",),
        )


@rule("LS411", "no-experts-to-share", since="0.1")
def no_experts_to_share(resolved: Resolved) -> Iterator[Finding]:
    """Expert parallelism without experts.

    ## What it checks
    `parallelism.expert` is 1 where the model has no experts.

    ## Why it matters
    Expert parallelism spreads the experts of a layer over devices. A dense model has none.

    ## Example
    ```yaml
    parallelism: {expert: 8}
    ```

    Use instead:
    ```yaml
    parallelism: {tensor: 8}
    ```
    """
    if resolved.spec.parallelism.expert > 1:
        yield Finding("the model has no experts to spread", "parallelism.expert", help=("leave `expert` out",))


@rule("LS412", "stages-without-interleaving", since="0.1")
def stages_without_interleaving(resolved: Resolved) -> Iterator[Finding]:
    """Several stages a device in a pipeline that is not interleaved.

    ## What it checks
    `stages_per_device` is above 1 if and only if `pipeline_schedule` is `interleaved_1f1b`, and `pipeline` is then above 1.

    ## Why it matters
    Only the interleaved schedule turns between stages of one device; the others would ignore the number.

    ## Example
    ```yaml
    parallelism: {pipeline: 4, stages_per_device: 2}
    ```

    Use instead:
    ```yaml
    parallelism: {pipeline: 4, stages_per_device: 2, pipeline_schedule: interleaved_1f1b}
    ```
    """
    layout = resolved.spec.parallelism
    interleaved = layout.pipeline_schedule == "interleaved_1f1b"
    if layout.stages_per_device > 1 and not (interleaved and layout.pipeline > 1):
        yield Finding(
            "`stages_per_device` is for interleaved pipelines",
            "parallelism.stages_per_device",
            "",
            (fact(resolved, "parallelism.pipeline"), fact(resolved, "parallelism.pipeline_schedule")),
            ("add `pipeline_schedule: interleaved_1f1b` with `pipeline` above 1, or leave it out",),
        )
    elif interleaved and layout.stages_per_device == 1:
        yield Finding(
            "an interleaved pipeline needs several stages a device",
            "parallelism.pipeline_schedule",
            "",
            (fact(resolved, "parallelism.stages_per_device"),),
            ("add `stages_per_device: 2`, or use `1f1b`",),
        )
