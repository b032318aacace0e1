"""The cheapest change that makes a spec fit its device."""

from collections.abc import Callable, Iterator

from llmspec.estimate.device import describe_device
from llmspec.estimate.memory import GIB, estimate_memory
from llmspec.estimate.step_time import parts_of
from llmspec.network.network import Network
from llmspec.resolve import Resolved, with_field

_STRONGER = {"none": ("none", "selective", "full"), "selective": ("selective", "full"), "full": ("full",)}
_FIELDS = ("parallelism.data", "parallelism.zero_stage", "parallelism.activation_checkpointing", "training.micro_batch_size")


def _shardings(resolved: Resolved) -> Iterator[Resolved]:
    """The spec, and what shards more over the same devices."""
    yield resolved
    layout = resolved.spec.parallelism
    if resolved.data_parallel_size == 1:
        return
    if layout.data == "ddp":
        yield with_field(resolved, "parallelism.data", "fsdp")
    elif layout.data == "zero":
        yield from (with_field(resolved, "parallelism.zero_stage", stage) for stage in range(layout.zero_stage + 1, 4))


def _micro_batches(resolved: Resolved) -> list[int]:
    """Micro batches that divide the device's share, not larger than the spec's, the largest first."""
    training = resolved.spec.training
    share = max(1, training.global_batch_size // resolved.data_parallel_size)
    # Divisors come in pairs: a share of millions has its divisors found in thousands of steps.
    small = [size for size in range(1, int(share**0.5) + 1) if share % size == 0]
    return sorted({size for low in small for size in (low, share // low) if size <= training.micro_batch_size}, reverse=True)


def cheapest_fix(resolved: Resolved, network: Network, allowed: Callable[[Resolved], bool] = lambda _: True) -> str | None:
    """The change of sharding, checkpointing and micro batch that fits and costs least time a step, in words; None where none fits.

    Args:
        resolved: The spec that does not fit.
        network: Its model.
        allowed: Whether nothing else speaks against a variant; asked of the best ones only.
    """
    device = describe_device(resolved)
    fitting: list[tuple[float, int, int, Resolved]] = []
    for sharded in _shardings(resolved):
        for checkpointing in _STRONGER[resolved.spec.parallelism.activation_checkpointing]:
            kept = with_field(sharded, "parallelism.activation_checkpointing", checkpointing)
            for size in _micro_batches(resolved):
                variant = with_field(kept, "training.micro_batch_size", size)
                memory = estimate_memory(variant, network, device)
                if memory.fits:
                    seconds = sum(parts_of(variant, network, device).values())
                    fitting.append((seconds, len(fitting), memory.peak_bytes, variant))
    for _, _, peak, variant in sorted(fitting, key=lambda entry: entry[:2]):
        if allowed(variant):
            changes = [f"`{field}: {_value(variant, field)}`" for field in _FIELDS if _value(variant, field) != _value(resolved, field)]
            return f"{' with '.join(changes)} needs {peak / GIB:.1f} of {device.memory_bytes / GIB:.1f} GiB" if changes else None
    return None


def _value(resolved: Resolved, field: str) -> object:
    section, name = field.split(".")
    value: object = getattr(getattr(resolved.spec, section), name)
    return value
