"""What is derived when a spec leaves it out: one function a field, each total, whatever else is wrong with the spec.

Each gives the value and the rule with its numbers, which becomes the value's origin. `derived(...)` in the schema says the same rule
without numbers, and a test holds that every field marked there is filled here.
"""

from typing import NamedTuple

from llmspec.catalog import Accelerator, reliability, skypilot_name
from llmspec.resolve import batches, laws
from llmspec.spec.schema import Spec
from llmspec.spec.schema.launch import LocalLaunch, TorchrunLaunch
from llmspec.spec.schema.schedule import CosineRestartsSchedule, CyclicalSchedule, OneCycleSchedule, WarmedUp

PYTHON_IMAGE = "python:3.12.11-slim-bookworm"
AMD_IMAGE = "rocm/pytorch:rocm7.1.1_ubuntu24.04_py3.12_pytorch_release_2.10.0"
MICRO_BATCH_TOKENS = 16_384
MAX_WARMUP_STEPS = 2000
MAX_STEPS_BETWEEN = 1000
# Checkpoints in the time between two failures, at least.
FAILURE_PARTS = 40
# Share of the peak that a run reaches, where a rough figure does.
USUAL_SHARE = 0.4
FFN_MULTIPLE = 64
# What torch.optim.lr_scheduler.OneCycleLR divides by: the peak for the first rate, and that for the last.
ONE_CYCLE_RISE, ONE_CYCLE_FALL = 25, 10_000
UNWARMED_TIMESCALE = 10_000
CYCLES = 4
# What stands in for a size that nothing determines; a rule then asks for it, so no project is ever built with it.
UNDETERMINED_SIZE = 1


class Derived(NamedTuple):
    """A derived value and how it came about."""

    value: object
    rule: str


def head_dim(spec: Spec) -> Derived:
    """hidden_size / num_heads."""
    hidden, heads = spec.architecture.hidden_size, spec.architecture.attention.num_heads
    return Derived(max(1, hidden // heads), f"hidden_size {hidden} / num_heads {heads}")


def base_head_dim(spec: Spec) -> Derived:
    """The model's own: it is widened by more heads."""
    return Derived(spec.architecture.attention.head_dim, f"head_dim {spec.architecture.attention.head_dim}")


def ffn_hidden_size(spec: Spec) -> Derived:
    """4 * hidden_size, or 8/3 * hidden_size rounded up to a multiple of 64 when gated."""
    hidden = spec.architecture.hidden_size
    if not spec.architecture.feed_forward.gated:
        return Derived(4 * hidden, f"4 * hidden_size {hidden}")
    rounded = -(-8 * hidden // (3 * FFN_MULTIPLE)) * FFN_MULTIPLE
    return Derived(rounded, f"8/3 * hidden_size {hidden}, rounded up to a multiple of {FFN_MULTIPLE}")


def tokenizer_vocab_size(spec: Spec) -> Derived:
    """Of a pretrained tokenizer: the architecture's."""
    if spec.architecture.vocab_size is None:
        return Derived(UNDETERMINED_SIZE, "undetermined: neither architecture.vocab_size nor tokenizer.vocab_size is given")
    return Derived(spec.architecture.vocab_size, f"architecture.vocab_size {spec.architecture.vocab_size}")


def architecture_vocab_size(spec: Spec) -> Derived:
    """The tokenizer's."""
    size = spec.tokenizer.vocab_size
    if size is None:
        return Derived(UNDETERMINED_SIZE, "undetermined: neither architecture.vocab_size nor tokenizer.vocab_size is given")
    return Derived(size, f"tokenizer.vocab_size {size}")


def num_positions(spec: Spec) -> Derived:
    """The training length."""
    return Derived(spec.training.sequence_length, f"training.sequence_length {spec.training.sequence_length}")


def global_batch_size(spec: Spec) -> Derived:
    """What a law says, as a multiple of the replicas (and of a given micro batch on each)."""
    tokens = spec.training.max_tokens
    unit = _replicas(spec) * (spec.training.micro_batch_size or 1)
    if tokens is None:
        return Derived(unit, "undetermined: a law needs max_tokens")
    law = laws.batch_tokens(laws.scale(spec, tokens), str(spec.training.global_batch_size))
    length = spec.training.sequence_length
    size = laws.near_power(law.value / length, unit)
    return Derived(size, f"{law.formula}; {size} sequences of {length} are near, and a multiple of {unit}")


def learning_rate(spec: Spec) -> Derived:
    """What a law says."""
    law = laws.learning_rate(laws.rate_scale(spec, spec.training.max_tokens), str(spec.optimizer.learning_rate))
    return Derived(law.value, law.formula)


def micro_batch_size(spec: Spec) -> Derived:
    """The largest divisor of the device's share of the batch with at most 16384 tokens."""
    share = max(1, batches.common_batch(spec) // _replicas(spec))
    length = spec.training.sequence_length
    limit = max(1, min(share, MICRO_BATCH_TOKENS // length))
    size = next(size for size in range(limit, 0, -1) if share % size == 0)
    return Derived(size, f"the largest divisor of {share} sequences a device with at most {MICRO_BATCH_TOKENS} tokens of {length} each")


def data_layout(spec: Spec) -> Derived:
    """What the engine is known for."""
    engine = spec.parallelism.engine
    return Derived("zero" if engine == "deepspeed" else "ddp", f"what the {engine} engine does")


def zero_stage(spec: Spec) -> Derived:
    """1 with ZeRO: the optimizer's state costs the most and its sharding the least."""
    data = spec.parallelism.data
    return Derived(int(data == "zero"), f"parallelism.data is {data}")


def shard_size(spec: Spec) -> Derived:
    """A node's devices with hsdp, all replicas with fsdp and zero, 1 with ddp."""
    data, per_node = spec.parallelism.data, spec.hardware.accelerators_per_node
    if data == "ddp":
        return Derived(1, "parallelism.data is ddp")
    replicas = _replicas(spec)
    if data == "hsdp":
        return Derived(max(1, min(per_node, replicas)), f"the {per_node} devices of a node")
    return Derived(replicas, f"all {replicas} replicas")


def deepspeed_optimizer(spec: Spec) -> Derived:
    """Where the optimizer is offloaded: torch's own takes many times as long on a CPU."""
    offload = spec.parallelism.offload
    offloaded = offload is not None and offload.optimizer != "none"
    return Derived(offloaded, f"the optimizer is {'' if offloaded else 'not '}offloaded")


def sequence_parallel(spec: Spec) -> Derived:
    """Wherever tensor parallelism is: it costs no more traffic and saves memory."""
    return Derived(spec.parallelism.tensor > 1, f"parallelism.tensor is {spec.parallelism.tensor}")


def max_steps(spec: Spec) -> Derived:
    """max_tokens / tokens of a step, rounded up."""
    per_step, tokens = spec.training.global_batch_size * spec.training.sequence_length, spec.training.max_tokens
    if tokens is None:
        return Derived(1, "undetermined: neither max_steps nor max_tokens is given")
    if not spec.training.batch_size_warmup:
        return Derived(-(-tokens // per_step), f"max_tokens {tokens} / {per_step} tokens a step, rounded up")
    steps, warmup = batches.steps_for(spec, tokens), sum(stage.steps for stage in batches.warmup_stages(spec))
    return Derived(
        steps, f"max_tokens {tokens}: {min(warmup, steps)} steps of batch_size_warmup, then {per_step} tokens a step, rounded up"
    )


def max_tokens(spec: Spec) -> Derived:
    """Steps times the tokens of a step."""
    per_step = spec.training.global_batch_size * spec.training.sequence_length
    if spec.training.batch_size_warmup:
        tokens = batches.samples_of(spec, spec.training.max_steps) * spec.training.sequence_length
        return Derived(tokens, f"max_steps {spec.training.max_steps}, those of batch_size_warmup with fewer than {per_step} tokens")
    return Derived(spec.training.max_steps * per_step, f"max_steps {spec.training.max_steps} * {per_step} tokens a step")


def compile_model(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """True on accelerators, but for ZeRO stage 3; false on a CPU."""
    if spec.parallelism.engine == "deepspeed" and spec.parallelism.zero_stage == 3:
        return Derived(False, "the hooks of ZeRO stage 3 break every graph")
    on_cpu = accelerator is not None and accelerator.is_cpu
    return Derived(not on_cpu, "short runs on a CPU lose by it" if on_cpu else f"true on {spec.hardware.accelerator}")


def asynchronous(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """True on accelerators, false on a CPU and with DeepSpeed."""
    if spec.parallelism.engine == "deepspeed":
        return Derived(False, "DeepSpeed writes while training waits")
    on_cpu = accelerator is not None and accelerator.is_cpu
    return Derived(not on_cpu, "a CPU would train slower meanwhile" if on_cpu else "an accelerator trains on meanwhile")


def precision(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """bf16 where the accelerator has it."""
    has_it = accelerator is not None and accelerator.supports("bf16")
    return Derived("bf16" if has_it else "fp32", f"{spec.hardware.accelerator} has {'' if has_it else 'no '}bf16")


def warmup_steps(spec: Spec) -> Derived:
    """1% of the run, at most 2000 steps."""
    return Derived(
        min(MAX_WARMUP_STEPS, spec.training.max_steps // 100), f"1% of max_steps {spec.training.max_steps}, at most {MAX_WARMUP_STEPS}"
    )


def initial_learning_rate(spec: Spec) -> Derived:
    """A twenty-fifth of the peak."""
    peak = spec.optimizer.learning_rate
    return Derived(_quotient(peak, ONE_CYCLE_RISE), f"learning_rate {peak:g} / {ONE_CYCLE_RISE}")


def min_learning_rate(spec: Spec) -> Derived:
    """A tenth of the peak; of one_cycle a ten-thousandth of the first rate."""
    if isinstance(spec.schedule, OneCycleSchedule):
        first = spec.schedule.initial_learning_rate
        return Derived(_quotient(first, ONE_CYCLE_FALL), f"initial_learning_rate {first:g} / {ONE_CYCLE_FALL}")
    peak = spec.optimizer.learning_rate
    return Derived(_quotient(peak, 10), f"learning_rate {peak:g} / 10")


def decay_every(spec: Spec) -> Derived:
    """A third of the steps after the warm-up."""
    left = _steps_after_warmup(spec)
    return Derived(max(1, left // 3), f"a third of the {left} steps after the warm-up")


def timescale(spec: Spec) -> Derived:
    """The warm-up, as Vaswani et al. have it; transformers' 10000 where there is none."""
    schedule = spec.schedule
    if isinstance(schedule, WarmedUp) and schedule.warmup_steps:
        return Derived(schedule.warmup_steps, f"warmup_steps {schedule.warmup_steps}")
    return Derived(UNWARMED_TIMESCALE, "there is no warm-up")


def cycle_steps(spec: Spec) -> Derived:
    """Such that the run has four cycles, the last perhaps a little cut."""
    growth = spec.schedule.cycle_growth if isinstance(spec.schedule, CosineRestartsSchedule) else 1
    left, parts = _steps_after_warmup(spec), sum(growth**cycle for cycle in range(CYCLES))
    how = f", each {growth} times as long as the last" if growth > 1 else ""
    return Derived(-(-left // parts), f"{CYCLES} cycles in the {left} steps after the warm-up{how}")


def rise_steps(spec: Spec) -> Derived:
    """Half a cycle, of which the run has four."""
    steps = spec.training.max_steps
    return Derived(max(1, steps // (2 * CYCLES)), f"half a cycle, {CYCLES} of them in max_steps {steps}")


def fall_steps(spec: Spec) -> Derived:
    """As long as the rise."""
    rise = spec.schedule.rise_steps if isinstance(spec.schedule, CyclicalSchedule) else 1
    return Derived(rise, f"rise_steps {rise}")


def every(spec: Spec) -> Derived:
    """A tenth of the run, at most 1000 steps."""
    steps = max(1, min(MAX_STEPS_BETWEEN, spec.training.max_steps // 10))
    return Derived(steps, f"a tenth of max_steps {spec.training.max_steps}, at most {MAX_STEPS_BETWEEN}")


def checkpoint_every(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """A tenth of the run, at most 1000 steps, and at most a fortieth of the time between failures.

    Half of that is lost with each failure, so an eightieth of the run. Twice the devices fail twice as often and take half as long for a
    step, so that the steps depend on the work in them alone. How long a step takes is not known here: its FLOPs at 40% of the peak
    tell it well enough.
    """
    usual = every(spec)
    devices = spec.hardware.nodes * spec.hardware.accelerators_per_node
    if accelerator is None or accelerator.is_cpu:
        return usual
    peak = max(accelerator.peak_tflops.get(name, 0.0) for name in ("bf16", "fp16", "fp32")) * 1e12
    tokens = spec.training.global_batch_size * spec.training.sequence_length
    seconds = laws.scale(spec, tokens).flops_per_token * tokens / (USUAL_SHARE * peak * devices)
    hours = 1 / (reliability().failures.value * devices)
    steps = hours * 3600 / FAILURE_PARTS / seconds
    if usual.value == 1 or steps >= MAX_STEPS_BETWEEN or steps * 10 >= spec.training.max_steps:
        return usual
    rounded = max(1, int(float(f"{steps:.1e}")))  # two digits, as of a rule of thumb
    return Derived(rounded, f"a fortieth of the {hours:.1f} hours between failures of {devices:,} devices, at {seconds:.2g} s a step")


def local_launch(spec: Spec) -> Derived:
    """Emitted when no launcher is named."""
    if spec.launch.named:
        return Derived(None, "another launcher is named")
    return Derived(LocalLaunch.model_construct(), "no launcher is named")


def torchrun_launch(spec: Spec) -> Derived:
    """Emitted when there are several machines and no launcher is named."""
    devices = spec.hardware.nodes * spec.hardware.accelerators_per_node
    if spec.launch.skypilot is not None and devices > 1:
        return Derived(TorchrunLaunch.model_construct(), "launch/skypilot.yaml calls it")
    if spec.launch.named:
        return Derived(None, "another launcher is named")
    if spec.hardware.nodes == 1:
        return Derived(None, "there is one machine")
    return Derived(TorchrunLaunch.model_construct(), f"there are {spec.hardware.nodes} machines and no launcher is named")


def _steps_after_warmup(spec: Spec) -> int:
    warmup = spec.schedule.warmup_steps if isinstance(spec.schedule, WarmedUp) else 0
    return max(1, spec.training.max_steps - warmup)


def _quotient(rate: float, divisor: int) -> float:
    """Without the noise that binary fractions add to decimal ones."""
    return float(f"{rate / divisor:.12g}")


def max_restarts(spec: Spec) -> Derived:
    """3 where the machines find each other anew, else 0."""
    torchrun = spec.launch.torchrun
    elastic = torchrun is not None and torchrun.rendezvous == "elastic"
    return Derived(3 if elastic else 0, f"the rendezvous is {'elastic' if elastic else 'static'}")


def gres(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """All GPUs of a node that the run uses; nothing on a CPU."""
    if accelerator is not None and accelerator.is_cpu:
        return Derived("none", f"{spec.hardware.accelerator} is no GPU")
    count = spec.hardware.accelerators_per_node
    return Derived(f"gpu:{count}", f"accelerators_per_node {count}")


def skypilot_accelerators(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """SkyPilot's name of the accelerator, and how many; nothing on a CPU."""
    if accelerator is not None and accelerator.is_cpu:
        return Derived("none", f"{spec.hardware.accelerator} is no GPU")
    name = skypilot_name(accelerator.id) if accelerator is not None else None
    if name is None:
        return Derived("unknown", f"undetermined: {spec.hardware.accelerator} has no name in SkyPilot's catalog")
    return Derived(
        f"{name}:{spec.hardware.accelerators_per_node}", f"SkyPilot's name of {spec.hardware.accelerator}, accelerators_per_node"
    )


def use_spot(spec: Spec) -> Derived:
    """Whether the price is that of spot machines."""
    return Derived(spec.hardware.price == "spot", f"hardware.price is {spec.hardware.price}")


def docker_base(spec: Spec, accelerator: Accelerator | None) -> Derived:
    """Python alone, for PyTorch's packages bring CUDA; AMD's PyTorch comes as an image."""
    if accelerator is not None and accelerator.vendor == "amd":
        return Derived(AMD_IMAGE, f"AMD's PyTorch, for {spec.hardware.accelerator}")
    return Derived(PYTHON_IMAGE, "PyTorch's packages bring what else they need")


def _replicas(spec: Spec) -> int:
    layout = spec.parallelism
    return max(1, spec.hardware.nodes * spec.hardware.accelerators_per_node // (layout.tensor * layout.pipeline * layout.context))
