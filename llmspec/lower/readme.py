"""The emitted README: commands, arithmetic, estimate and file tree, in the words that it prints."""

from collections.abc import Iterable
from dataclasses import dataclass

from llmspec.estimate import Estimate
from llmspec.estimate.host import offloaded_gib
from llmspec.lower.pieces import EmittedFile
from llmspec.resolve.resolved import Resolved

_PURPOSES = {
    "README.md": "this file",
    "pyproject.toml": "dependencies, and the settings of ruff, mypy and pytest",
    "spec.yaml": "the spec that this project was compiled from",
    "spec.resolved.yaml": "the spec with every value filled in, and where each came from",
    "config.py": "every number of the run",
    "model.py": "the network, on one device",
    "objectives.py": "from a batch to the loss",
    "sources.py": "raw files to documents, split into training and validation",
    "tokenizer.py": "trains or loads the tokenizer",
    "prepare_data.py": "raw sources to shards of token ids",
    "data.py": "shards to batches; resumes exactly",
    "optim.py": "parameter groups, optimizer, schedule",
    "parallelize.py": "checkpointing, compilation and data parallelism, applied to the model from outside",
    "ema.py": "a running mean of the weights, which is what evaluation and generation use",
    "engine.py": "hands the model to DeepSpeed",
    "ds_config.json": "DeepSpeed's settings",
    "checkpoint.py": "saves and restores all state, atomically",
    "guard.py": "skips steps that would ruin the weights",
    "watch.py": "ends the run when a process does not come, and says which",
    "metrics.py": "speed, memory and the log of the run",
    "energy.py": "what the run draws from the grid",
    "trackers.py": "sends the log to other services as well",
    "profiling.py": "traces a few steps",
    "memory.py": "says what to change when a GPU runs out of memory",
    "train.py": "the training loop",
    "evaluate.py": "scores a checkpoint on the validation documents",
    "generate.py": "continues prompts with a checkpoint",
    "export.py": "writes a checkpoint as a Hugging Face model",
    "launch/local.sh": "everything in order on this machine",
    "launch/torchrun.sh": "training, one process a device, on one or several machines",
    "launch/deepspeed.sh": "training with DeepSpeed's launcher, on one or several machines",
    "launch/hostfile": "the names of those machines",
    "launch/deepspeed.env": "what they set before training",
    "launch/slurm.sbatch": "training as a job of a Slurm cluster",
    "launch/kubernetes_data.yaml": "tokenizer and data on a Kubernetes cluster, before training",
    "launch/kubernetes.yaml": "training as a job of a Kubernetes cluster",
    "launch/skypilot.yaml": "everything in order on machines that SkyPilot rents",
    "Dockerfile": "an image of this project",
    ".dockerignore": "what stays out of that image",
    "tests/": "what proves this project right, on a CPU",
    ".llmspec/": "what the last build wrote, so that the next one keeps your edits",
}
# How each launcher is started, and how it is stopped so that it saves first.
_LAUNCHERS = (
    ("launch/torchrun.sh", "launch/torchrun.sh", "Ctrl-C, or `kill` of the script"),
    ("launch/deepspeed.sh", "launch/deepspeed.sh", "Ctrl-C"),
    ("launch/slurm.sbatch", "sbatch launch/slurm.sbatch", "`scancel JOB`"),
    ("launch/kubernetes.yaml", "kubectl apply -f launch/kubernetes.yaml", "`kubectl delete -f launch/kubernetes.yaml`"),
    ("launch/skypilot.yaml", "sky jobs launch launch/skypilot.yaml", "`sky jobs cancel JOB`"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its value in a table."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a listing; `text` is padded so that the comments stand in a column."""

    text: str
    comment: str


@dataclass(frozen=True, slots=True)
class ReadmePlan:
    """What the README says in numbers and names. All of it is text of ours."""

    summary: str
    devices: str
    steps: tuple[Line, ...]
    launchers: tuple[Row, ...]
    arithmetic: tuple[Row, ...]
    figures: tuple[Row, ...]
    tree: tuple[Line, ...]
    logging_every: int
    tensorboard: bool
    export: bool


def lower_readme(resolved: Resolved, estimate: Estimate, files: Iterable[EmittedFile]) -> ReadmePlan:
    """Put the run into the words of its README."""
    spec = resolved.spec
    paths = sorted(file.path for file in files)
    return ReadmePlan(
        summary=_summary(resolved, estimate),
        devices=_devices(resolved),
        steps=_padded(_steps(resolved, paths)),
        launchers=tuple(Row(start, stop) for path, start, stop in _LAUNCHERS if path in paths),
        arithmetic=_arithmetic(resolved),
        figures=_figures(resolved, estimate),
        tree=_padded(_tree(paths)),
        logging_every=spec.logging.every,
        tensorboard=spec.logging.tensorboard,
        export="export.py" in paths,
    )


def _summary(resolved: Resolved, estimate: Estimate) -> str:
    training = resolved.spec.training
    return (
        f"A decoder of {estimate.parameters.total.value:,.0f} parameters, trained for {training.max_steps:,} steps "
        f"on {resolved.total_tokens:,} tokens."
    )


def _devices(resolved: Resolved) -> str:
    """The hardware in a few words: `2 nodes with 8 x h100-sxm each`."""
    hardware = resolved.spec.hardware
    each = f"{hardware.accelerators_per_node} x {hardware.accelerator}"
    return each if hardware.nodes == 1 else f"{hardware.nodes} nodes with {each} each"


def _steps(resolved: Resolved, paths: list[str]) -> list[tuple[str, str]]:
    per_node = resolved.spec.hardware.accelerators_per_node
    started = [start for path, start, _ in _LAUNCHERS if path in paths]
    if started:
        train = started[0]
    elif per_node > 1:
        train = f"torchrun --standalone --nproc-per-node {per_node} train.py"
    else:
        train = "python train.py"
    steps = [
        ("python tokenizer.py", "data/tokenizer/"),
        ("python prepare_data.py", "data/: token ids for training and validation"),
        (train, "run/: checkpoints and metrics.jsonl"),
    ]
    if "evaluate.py" in paths:
        steps.append(("python evaluate.py", "the last checkpoint on all validation documents"))
    steps.append(("python generate.py", "the last checkpoint continues the spec's prompts"))
    if "export.py" in paths:
        steps.append(("python export.py", "run/hugging_face/, for transformers"))
    return steps


def _arithmetic(resolved: Resolved) -> tuple[Row, ...]:
    training = resolved.spec.training
    accumulation = resolved.gradient_accumulation_steps
    return (
        Row(
            "sequences",
            f"{training.global_batch_size:,} = {training.micro_batch_size:,} in a forward pass "
            f"x {resolved.data_parallel_size:,} {_plural(resolved.data_parallel_size, 'replica')} "
            f"x {accumulation:,} accumulation {_plural(accumulation, 'step')}",
        ),
        Row("tokens", f"{resolved.tokens_per_step:,} = {training.global_batch_size:,} sequences x {training.sequence_length:,}"),
        Row("steps", f"{training.max_steps:,}, which is {resolved.total_tokens:,} tokens"),
        *((Row("layout", _layout(resolved)),) if resolved.world_size > 1 else ()),
    )


def _layout(resolved: Resolved) -> str:
    """How the replicas keep in step, in a few words: `fsdp over 8`."""
    layout, replicas = resolved.spec.parallelism, resolved.data_parallel_size
    if layout.data == "hsdp":
        return f"hsdp: {replicas // layout.shard_size:,} replicas in {layout.shard_size:,} shards each"
    if layout.data == "zero":
        return f"ZeRO stage {layout.zero_stage} over {replicas:,}"
    return f"{layout.data} over {replicas:,}"


def _figures(resolved: Resolved, estimate: Estimate) -> tuple[Row, ...]:
    """The figures that a reader asks for first; what is not known is left out."""
    memory, money, energy, carbon = estimate.memory, estimate.money, estimate.energy, estimate.carbon
    rows = [
        Row("parameters", f"{estimate.parameters.total.value:,.0f}"),
        Row("peak memory of one device", f"{memory.peak.value:.1f} of {memory.capacity.value:.0f} GiB"),
        *_host_memory(resolved, estimate),
        Row("speed", f"{estimate.step_time.tokens_per_second.value:,.0f} tokens/s, {estimate.step_time.step.value:.3g} s a step"),
        Row("model FLOPs utilisation", f"{estimate.step_time.mfu.value:.0%}"),
        Row("wall-clock", _duration(estimate.wall_clock.total_hours.value)),
    ]
    if money.cost is not None:
        rows.append(Row("money", f"{money.cost.value:,.{0 if money.cost.value >= 10 else 3}f} US dollars"))
    if energy.kwh is not None:
        rows.append(Row("energy", f"{_rounded(energy.kwh.value)} kWh"))
    if carbon.total is not None:
        rows.append(Row("carbon", f"{_rounded(carbon.total.value)} kg CO2e"))
    if estimate.loss.within_fitted_range:
        expected = estimate.loss.expected
        rows.append(Row("final loss", f"{expected.low:.2f} to {expected.high:.2f} nats a token of web text, a yardstick between specs"))
    return tuple(rows)


def _host_memory(resolved: Resolved, estimate: Estimate) -> list[Row]:
    """What offloading takes of a machine's own memory."""
    needed, there = offloaded_gib(resolved, int(estimate.parameters.total.value)), resolved.spec.hardware.host_memory_gib
    if not needed:
        return []
    return [Row("offloaded to the memory of a machine", f"{needed:,.1f}{'' if there is None else f' of {there:,.0f}'} GiB")]


def _rounded(value: float) -> str:
    """Three digits, or all before the point where there are more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _duration(hours: float) -> str:
    if hours < 1.5:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _tree(paths: list[str]) -> list[tuple[str, str]]:
    """A line for each file that stands in the root or in launch/, and one for each other directory."""
    order = list(_PURPOSES)
    shown = {path if "/" not in path or path.startswith("launch/") else path.partition("/")[0] + "/" for path in paths}
    shown = (shown | {".llmspec/"}) - {".gitignore"}
    return [(path, _PURPOSES[path]) for path in sorted(shown, key=order.index)]


def _padded(lines: list[tuple[str, str]]) -> tuple[Line, ...]:
    width = max(len(text) for text, _ in lines)
    return tuple(Line(f"{text:{width}}", comment) for text, comment in lines)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
