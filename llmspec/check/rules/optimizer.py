"""Rules on the optimizer and its parameter groups."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from llmspec.catalog import find_accelerator
from llmspec.check.registry import Finding, Run, fact, rule, run_rule
from llmspec.diagnostics import Severity
from llmspec.diagnostics.suggest import choice, nearest
from llmspec.resolve import OriginKind, Resolved
from llmspec.spec.schema.optimizer import Adam, AdamW8bit, Lion, Muon, ScheduleFreeAdamW
from llmspec.spec.schema.schedule import ConstantSchedule

LION_LEARNING_RATE = 1e-3
SPECTRAL_LEARNING_RATE = 2e-3
# What moves each weight by itself works on any part of a tensor.
_ELEMENTWISE = ("sgd", "rmsprop", "adam", "adamw", "lion")
_SHARDED = (*_ELEMENTWISE, "muon", "schedule_free_adamw")
_REASONS = {
    "adafactor": "keeps means of whole rows and columns, and torch's does not work on sharded tensors",
    "lamb": "needs the norm of each whole tensor, and the library's does not work on sharded ones",
    "soap": "needs whole matrices for its eigenbases, and the library's does not work on sharded ones",
    "adamw_8bit": "quantises in blocks that shards would cut, and its state could not be read by another number of devices",
    "muon": "gathers matrices over the devices of fsdp and hsdp only",
    "schedule_free_adamw": "has not been tried on matrices that are split",
}


@run_rule("LS380", "pattern-matches-nothing", since="0.1")
def pattern_matches_nothing(run: Run) -> Iterator[Finding]:
    """A parameter group without parameters.

    ## What it checks
    Each `pattern` under `optimizer.groups` matches the name of a parameter of the model that no pattern before it has taken.

    ## Why it matters
    The group would have no effect. Most often a name is that of another library, or a pattern lacks a `*`.

    ## Example
    ```yaml
    optimizer:
      learning_rate: 3e-4
      groups: [{pattern: embed_token, weight_decay: 0}]
    ```

    Use instead:
    ```yaml
    optimizer:
      learning_rate: 3e-4
      groups: [{pattern: embed_tokens.*, weight_decay: 0}]
    ```
    """
    names = [weight.name for weight in run.network.weights]
    left = names
    for index, group in enumerate(run.resolved.spec.optimizer.groups or ()):
        matched = [name for name in names if fnmatchcase(name, group.pattern)]
        path = f"optimizer.groups[{index}].pattern"
        if not matched:
            shapes = list(dict.fromkeys(_patterns(names)))
            near = nearest(group.pattern, shapes)
            advice = f"did you mean {choice(near)}?" if near else f"there are {', '.join(f'`{shape}`' for shape in shapes[:12])}"
            yield Finding("no parameter has a name like this", path, help=(advice,))
        elif not set(matched) & set(left):
            yield Finding(
                "all that this pattern matches is taken by those before it",
                path,
                help=(f"the first pattern that matches counts; put it before them, or remove it ({len(matched)} names match)",),
            )
        left = [name for name in left if name not in matched]


def _patterns(names: list[str]) -> list[str]:
    """The names as patterns: layers alike are one."""
    return [".".join("*" if part.isdigit() else part for part in name.split(".")) for name in names]


@rule("LS381", "optimizer-on-this-hardware", since="0.1")
def optimizer_on_this_hardware(resolved: Resolved) -> Iterator[Finding]:
    """An optimizer that cannot work on this layout or accelerator.

    ## What it checks
    Where tensors are spread over devices (`data: fsdp` or `hsdp`, `tensor` above 1), the optimizer is one that gives the same steps
    there. `adamw_8bit` runs on an accelerator that torchao's kernels are compiled for.

    ## Why it matters
    SGD, RMSprop, Adam, AdamW and Lion move each weight by itself, so it does not matter which device holds it. Muon gathers a matrix before
    it moves it (`fsdp`, `hsdp`). The others need norms, rows or blocks of whole tensors: they would stop, or take other steps than on one
    device.

    ## Example
    ```yaml
    optimizer: {kind: soap, learning_rate: 3e-3}
    parallelism: {data: fsdp}
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: muon, learning_rate: 3e-3}
    parallelism: {data: fsdp}
    hardware: {accelerator: h100-sxm, accelerators_per_node: 8}
    ```
    """
    optimizer, layout = resolved.spec.optimizer, resolved.spec.parallelism
    if layout.engine == "torch" and layout.tensor > 1:
        allowed: tuple[str, ...] = _ELEMENTWISE
    elif layout.data in ("fsdp", "hsdp") and resolved.world_size > 1:
        allowed = _SHARDED
    else:
        allowed = (*_SHARDED, *_REASONS)
    if optimizer.kind not in allowed:
        replicated = () if layout.tensor > 1 else ("or `data: ddp`, where every device holds all of it",)
        yield Finding(
            f"`{optimizer.kind}` does not work where tensors are spread over devices",
            "optimizer.kind",
            f"it {_REASONS[optimizer.kind]}",
            (fact(resolved, "parallelism.tensor" if layout.tensor > 1 else "parallelism.data"),),
            (f"use {choice(allowed)}", *replicated),
        )
    accelerator = find_accelerator(resolved.spec.hardware.accelerator)
    if isinstance(optimizer, AdamW8bit) and accelerator is not None and accelerator.vendor not in ("nvidia", "amd", "cpu"):
        yield Finding(
            f"torchao has no 8-bit optimizer for {accelerator.name}",
            "optimizer.kind",
            facts=(fact(resolved, "hardware.accelerator"),),
            help=("use `adamw`, or `lion` or `adafactor`, which remember less",),
        )


@rule("LS382", "schedule-free-with-schedule", since="0.1", severity=Severity.WARNING)
def schedule_free_with_schedule(resolved: Resolved) -> Iterator[Finding]:
    """A decaying learning rate, or a second average, beside an average that stands in its place.

    ## What it checks
    With `schedule_free_adamw`, the schedule is `constant`, and there is no `training.ema`.

    ## Why it matters
    Schedule-free AdamW averages the weights instead of lowering the rate, and weights each step by the square of the highest rate so
    far. It was made for a constant rate with warm-up (Defazio et al. 2024); with a decay on top the last steps hardly move anything.

    ## Example
    ```yaml
    optimizer: {kind: schedule_free_adamw, learning_rate: 2.5e-3}
    schedule: {kind: cosine}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: schedule_free_adamw, learning_rate: 2.5e-3}
    schedule: {kind: constant}
    ```
    """
    schedule = resolved.spec.schedule
    if isinstance(resolved.spec.optimizer, ScheduleFreeAdamW) and not isinstance(schedule, ConstantSchedule):
        yield Finding(
            f"`schedule_free_adamw` stands in for the decay that `{schedule.kind}` makes",
            "schedule.kind",
            facts=(fact(resolved, "optimizer.kind"),),
            help=("use `schedule: {kind: constant}`, which warms up too",),
        )
    if isinstance(resolved.spec.optimizer, ScheduleFreeAdamW) and resolved.spec.training.ema is not None:
        message = "`schedule_free_adamw` averages the weights already"
        yield Finding(message, "training.ema", facts=(fact(resolved, "optimizer.kind"),), help=("leave `training.ema` out",))


@rule("LS383", "learning-rate-of-another-optimizer", since="0.1", severity=Severity.WARNING)
def learning_rate_of_another_optimizer(resolved: Resolved) -> Iterator[Finding]:
    """A learning rate that fits another optimizer.

    ## What it checks
    With `lion`, `learning_rate` is at most 1e-3. With `muon` and `scaling: spectral`, the matrices' rate is at least 2e-3.

    ## Why it matters
    Lion moves each weight by the whole rate in every step, so it wants a rate 3 to 10 times smaller than AdamW, and a weight decay as
    much larger (Chen et al. 2023). Muon with its first scaling makes steps of a fixed spectral norm, and rates near 0.02 are usual; AdamW's
    rates fit with `scaling: match_rms_adamw` (Liu et al. 2025).

    ## Example
    ```yaml
    optimizer: {kind: lion, learning_rate: 3e-3}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: lion, learning_rate: 3e-4, weight_decay: 1.0}
    ```
    """
    optimizer = resolved.spec.optimizer
    rate = optimizer.learning_rate
    if resolved.origin("optimizer.learning_rate").kind is OriginKind.DERIVED:
        return  # laws have rules of their own
    if isinstance(optimizer, Lion) and rate > LION_LEARNING_RATE:
        message = "`learning_rate` is large for `lion`"
        advice = "it wants a rate 3 to 10 times smaller than AdamW, and a weight decay as much larger"
        yield Finding(message, "optimizer.learning_rate", f"above {LION_LEARNING_RATE:g}", help=(advice,))
    if isinstance(optimizer, Muon) and optimizer.scaling == "spectral" and rate < SPECTRAL_LEARNING_RATE:
        message = "`learning_rate` is small for `muon` with `scaling: spectral`"
        advice = "rates near 0.02 are usual; AdamW's fit with `scaling: match_rms_adamw`"
        yield Finding(
            message, "optimizer.learning_rate", f"below {SPECTRAL_LEARNING_RATE:g}", (fact(resolved, "optimizer.scaling"),), (advice,)
        )


@rule("LS384", "decay-inside-adam", since="0.1", severity=Severity.WARNING)
def decay_inside_adam(resolved: Resolved) -> Iterator[Finding]:
    """A weight decay that Adam divides by the size of the gradients.

    ## What it checks
    With `adam`, neither the optimizer nor a group has a `weight_decay`.

    ## Why it matters
    Adam adds its penalty to the gradient, and divides both by the root of the second moment: weights with large gradients hardly decay, and
    the decay no longer means what it does elsewhere. AdamW takes it apart from the gradient (Loshchilov and Hutter 2017).

    ## Example
    ```yaml
    optimizer: {kind: adam, learning_rate: 3e-4, weight_decay: 0.1}
    ```

    Use instead:
    ```yaml
    optimizer: {kind: adamw, learning_rate: 3e-4, weight_decay: 0.1}
    ```
    """
    optimizer = resolved.spec.optimizer
    if not isinstance(optimizer, Adam):
        return
    paths = ["optimizer.weight_decay"] if optimizer.weight_decay else []
    paths += [f"optimizer.groups[{index}].weight_decay" for index, group in enumerate(optimizer.groups or ()) if group.weight_decay]
    for path in paths:
        yield Finding("`adam` takes weight decay as an L2 penalty on the gradient", path, help=("`kind: adamw` has it decoupled",))
