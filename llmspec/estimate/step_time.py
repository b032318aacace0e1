"""Step time: seconds of one optimizer step, by what they go to, and the rates that follow."""

from collections.abc import Mapping
from typing import NamedTuple

from llmspec.catalog import efficiency
from llmspec.estimate.arithmetic import SCALARS
from llmspec.estimate.configuration import configuration_of
from llmspec.estimate.constants import step_bounds, step_class, step_constants
from llmspec.estimate.correction import Correction
from llmspec.estimate.derivation import Input, Quantities, Quantity, constant, field
from llmspec.estimate.device import MODEL, Device
from llmspec.estimate.flops import Flops
from llmspec.estimate.processor import processor_parts
from llmspec.estimate.step_model import step_parts
from llmspec.estimate.workload import COMPILED, Configuration
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved

# Bounds of the figure on a processor, of which two machines were measured.
PROCESSOR_BOUNDS = (0.75, 1.35)
FITTED = "catalog: efficiency.yaml"

CONVENTION = "model FLOPs of the attention's all pairs, head included, recomputation not, over the stated dense peak (PaLM's 6N + 12LHT)"


class StepTime(NamedTuple):
    """One optimizer step. `parts` are seconds that add up to the step."""

    step: Quantity
    parts: Mapping[str, float]
    components: Quantities
    tokens_per_second: Quantity
    tokens_per_second_per_device: Quantity
    mfu: Quantity

    @property
    def dominant(self) -> str:
        """The part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])


def parts_of(resolved: Resolved, network: Network, device: Device) -> dict[str, float]:
    """Seconds of one optimizer step by what they go to; they add up to the step."""
    if device.is_processor:
        parts = processor_parts(resolved, network, device)
    else:
        parts = step_parts(SCALARS, configuration_of(resolved, network, device.accelerator), step_constants())
        exchange = parts.pop("gradients")
        parts["sharded_exchange" if resolved.spec.parallelism.data in ("fsdp", "hsdp") else "gradient_all_reduce"] = exchange
    return {name: seconds for name, seconds in parts.items() if seconds > 0}


def estimate_step_time(
    resolved: Resolved, network: Network, device: Device, flops: Flops, correction: Correction | None = None
) -> StepTime:
    """The time of one optimizer step, and the rates that follow from it; with `correction` as runs that were measured say."""
    parts = parts_of(resolved, network, device)
    if correction is not None:
        parts = {name: seconds * correction.factor for name, seconds in parts.items()}
    step = sum(parts.values())
    count = Input(
        "micro_batches", str(resolved.gradient_accumulation_steps), "derived: global_batch_size / (micro_batch_size * data_parallel_size)"
    )
    devices = Input("devices", f"{resolved.world_size:,}", resolved.origin("hardware.nodes").text)
    if device.is_processor:
        how = _processor_formulas(resolved, network, device, count, devices)
        low, high = PROCESSOR_BOUNDS
        bounds = constant("bounds", high, "two machines that were measured")
        source = "roofline of each operation, with what overlaps taken off"
    else:
        configuration = configuration_of(resolved, network, device.accelerator)
        how = _formulas(resolved, device, configuration, count, devices)
        low, high = step_bounds(configuration, measured=device.measured)
        whose = "" if device.measured else ", wider since nobody measured this device"
        bounds = constant("bounds", high, f"{FITTED}: 80% of {step_class(configuration)} rows of sources that the fit had not seen{whose}")
        source = f"analytic model, {efficiency().source}"
    components = {name: Quantity(seconds, "s", how[name][0], how[name][1], MODEL) for name, seconds in parts.items()}
    learned: tuple[Input, ...] = ()
    if correction is not None:
        learned = (
            correction.as_input(),
            constant("share of the bounds", correction.spread, "left of their logarithms by what was measured"),
        )
        components = {
            name: quantity._replace(formula=f"({quantity.formula}) * calibration", inputs=(*quantity.inputs, correction.as_input()))
            for name, quantity in components.items()
        }
        low, high = correction.bounds(low, high)
        source = f"{source}; calibrated by {correction.learned}"
    step_quantity = Quantity(
        step,
        "s",
        " + ".join(parts),
        (*(quantity.as_input(name) for name, quantity in components.items()), bounds, *learned),
        source,
        low=step * low,
        high=step * high,
    )
    rate = resolved.tokens_per_step / step
    tokens = Input("tokens_per_step", f"{resolved.tokens_per_step:,}", "derived: global_batch_size * sequence_length")
    tokens_per_second = Quantity(
        rate,
        "tokens/s",
        "tokens_per_step / step",
        (tokens, step_quantity.as_input("step")),
        MODEL,
        low=rate / high,
        high=rate / low,
    )
    per_device = rate / resolved.world_size
    utilisation = flops.per_token.value * per_device / device.peak
    return StepTime(
        step=step_quantity,
        parts=parts,
        components=components,
        tokens_per_second=tokens_per_second,
        tokens_per_second_per_device=Quantity(
            per_device,
            "tokens/s",
            "tokens_per_second / devices",
            (tokens_per_second.as_input("tokens_per_second"), devices),
            MODEL,
            low=per_device / high,
            high=per_device / low,
        ),
        mfu=Quantity(
            utilisation,
            "",
            "flops.per_token * tokens_per_second_per_device / peak",
            (
                flops.per_token.as_input("flops.per_token"),
                constant("tokens_per_second_per_device", per_device, "estimated here"),
                *device.inputs,
            ),
            CONVENTION,
            low=utilisation / high,
            high=min(1.0, utilisation / low),
        ),
    )


Formulas = Mapping[str, tuple[str, tuple[Input, ...]]]


def _formulas(resolved: Resolved, device: Device, configuration: Configuration, count: Input, devices: Input) -> Formulas:
    """How each part comes about on an accelerator."""
    constants, machine = step_constants(), configuration.machine
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    tensor, pipeline, context = (field(resolved, f"parallelism.{name}") for name in ("tensor", "pipeline", "context"))
    compiled = configuration.layout.kernels == COMPILED
    passes, host = (constants.compiled_passes, constants.compiled_host) if compiled else (constants.eager_passes, constants.host)
    checkpointing = field(resolved, "parallelism.activation_checkpointing")
    link = constant("link", machine.link / 1e9, f"catalog: {device.name}", "GB/s")
    network = constant("network of a device", machine.network / 1e9, f"catalog: {device.name}", "GB/s")
    shares = (
        constant("share of the link", constants.link, FITTED),
        constant("share of the network", constants.network, FITTED),
        constant("latency", constants.latency * 1e6, FITTED, "us"),
    )
    overlap = (constant("overlap", constants.overlap, FITTED), constant("contention", constants.contention, FITTED))
    sharding = (field(resolved, "parallelism.data"), field(resolved, "parallelism.shard_size"))
    return {
        "matrix_products": (
            "micro_batches * sum over products of 2 (M N + tail * tile * multiprocessors) (K + fill) / (matmul_ceiling * sustained), or "
            "their bytes / memory_bandwidth where that is more; forward, for inputs, for weights, and again where layers are recomputed",
            (
                count,
                *batch,
                tensor,
                checkpointing,
                constant("tail", constants.tail, FITTED, "waves"),
                constant("fill", constants.fill, FITTED),
                constant("sustained", constants.sustained, FITTED),
                constant("multiprocessors", machine.units, f"catalog: {device.name}"),
                *device.inputs,
            ),
        ),
        "attention": (
            "micro_batches * causal FLOPs * (forwards + attention_backward) * (head_dim + attention_fill) / head_dim / "
            "(matmul_ceiling in 16 bit * attention)",
            (
                count,
                *batch,
                field(resolved, "architecture.attention.head_dim"),
                constant("attention", constants.attention, FITTED),
                constant("attention_backward", constants.attention_backward, FITTED),
                constant("attention_fill", constants.attention_fill, FITTED),
                *device.inputs,
            ),
        ),
        "elementwise": (
            "micro_batches * (passes * bytes of norms, activations, rotations and residual additions, forward and twice backward, + "
            "accumulation * bytes to add whole gradients to those of the micro batches before) / (bandwidth * share)",
            (
                count,
                *batch,
                constant("passes", passes, FITTED),
                constant("accumulation", constants.accumulation, FITTED),
                constant("share", constants.bandwidth, FITTED),
                field(resolved, "training.compile"),
                *device.inputs,
            ),
        ),
        "loss": (
            "micro_batches * tokens * vocab_size / tensor * 16 bytes / (bandwidth * share)",
            (count, *batch, field(resolved, "architecture.vocab_size"), tensor, constant("share", constants.bandwidth, FITTED)),
        ),
        "quantisation": (
            "micro_batches * bytes to quantise what each product reads / (bandwidth * share)",
            (count, *batch, field(resolved, "precision"), constant("quantise_passes", constants.quantise_passes, FITTED)),
        ),
        "kernel_starts": (
            "micro_batches * (layers * host - what the device computes): it waits for Python",
            (count, field(resolved, "training.compile"), constant("host", host * 1e3, FITTED, "ms a layer")),
        ),
        "tensor_parallel": (
            "micro_batches * layers * 4 * (2 (t - 1) / t * bytes of the residual stream / bandwidth + latency) * exposed",
            (count, *batch, tensor, constant("exposed", constants.tensor_exposed, FITTED), link, network, *shares),
        ),
        "context_parallel": (
            "micro_batches * layers * keys and values passed round, beyond what attention hides",
            (count, *batch, context, link, network, *shares, *overlap),
        ),
        "expert_parallel": (
            "micro_batches * layers * (dispatch + combination) * exposed",
            (count, *batch, field(resolved, "parallelism.expert"), link, network, *shares),
        ),
        "pipeline_transfers": (
            "(micro_batches + pipeline - 1) * 2 * stages_per_device * bytes between stages / bandwidth * exposed",
            (count, *batch, pipeline, constant("exposed", constants.pipeline_exposed, FITTED), link, network, *shares),
        ),
        "pipeline_bubble": (
            "(pipeline - 1) * share that the schedule leaves * time of a stage",
            (
                pipeline,
                field(resolved, "parallelism.pipeline_schedule"),
                constant("share", configuration.layout.bubble, "pipeline schedule"),
            ),
        ),
        "gradient_all_reduce": (
            "what averaging gradients (or scattering them and gathering parameters) takes beyond what the backward pass hides",
            (devices, tensor, pipeline, *sharding, link, network, *shares, *overlap),
        ),
        "sharded_exchange": (
            "micro_batches * (gathers before forward and backward + scatter after), beyond what a micro batch's computation hides",
            (
                devices,
                count,
                tensor,
                pipeline,
                *sharding,
                field(resolved, "parallelism.reshard_after_forward"),
                link,
                network,
                *shares,
                *overlap,
            ),
        ),
        "optimizer": (
            "parameters of a device * bytes of its step / (bandwidth * share) + FLOPs of its products / (matmul_ceiling * sustained) "
            "+ overhead",
            (
                devices,
                field(resolved, "optimizer.kind"),
                constant("products", configuration.layout.optimizer_flops / 1e12, "counted by weight", "TFLOP"),
                *sharding,
                constant("state", configuration.layout.state_bytes, "bytes a parameter", "bytes"),
                constant("overhead", constants.step_overhead * 1e3, FITTED, "ms"),
            ),
        ),
        "stragglers": ("(sum of the rest) * jitter * sqrt(2 ln n)", (devices, constant("jitter", constants.jitter, FITTED))),
    }


def _processor_formulas(resolved: Resolved, network: Network, device: Device, count: Input, devices: Input) -> Formulas:
    """How each part comes about on a processor."""
    batch = (field(resolved, "training.micro_batch_size"), field(resolved, "training.sequence_length"))
    compiled = field(resolved, "training.compile")
    exchange = (
        devices,
        constant("parameters", network.num_parameters, "counted from the network"),
        constant("link", device.link_bandwidth / 1e9, f"catalog: {device.name}", "GB/s"),
        field(resolved, "parallelism.data"),
    )
    return {
        "matrix_products": (
            "micro_batches * sum of max(2 M N K / matmul_ceiling, bytes / memory_bandwidth), forward and twice backward",
            (count, *batch, *device.inputs),
        ),
        "attention": (
            "micro_batches * 3.5 * causal FLOPs / (matmul_ceiling * share)",
            (count, *batch, field(resolved, "architecture.attention.head_dim"), *device.inputs),
        ),
        "elementwise": (
            "micro_batches * passes * bytes / memory_bandwidth, forward and twice backward, and autocast's conversions",
            (count, *batch, compiled, *device.inputs),
        ),
        "loss": (
            "micro_batches * tokens * vocab_size * 4 bytes * passes / memory_bandwidth",
            (count, *batch, field(resolved, "architecture.vocab_size"), *device.inputs),
        ),
        "kernel_starts": (
            "kernels * seconds to start one",
            (count, compiled, constant("start", device.start_seconds * 1e6, MODEL, "us")),
        ),
        "pipeline_bubble": (
            "(pipeline - 1) / stages_per_device * time of a micro batch",
            (field(resolved, "parallelism.pipeline"), field(resolved, "parallelism.stages_per_device")),
        ),
        "optimizer": (
            "parameters * bytes of a fused AdamW step and of clipping / memory_bandwidth",
            (constant("parameters", network.num_parameters, "counted from the network"), *device.inputs),
        ),
        "gradient_all_reduce": (
            "2 (n - 1) / n * 4 bytes * parameters / link, beyond what the backward pass hides; at least one bucket's",
            exchange,
        ),
        "sharded_exchange": ("micro_batches * two gathers and a scatter of 4 bytes * parameters / link, beyond what is hidden", exchange),
        "stragglers": ("(sum of the rest) * jitter * sqrt(2 ln n)", (devices,)),
    }
