"""The cheapest change that makes a spec fit its device."""

from collections.abc import Iterator
from dataclasses import replace

from llmspec.estimate.device import describe_device
from llmspec.estimate.memory import GIB, estimate_memory
from llmspec.estimate.step_time import parts_of
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved

_STRONGER = {"none": ("none", "selective", "full"), "selective": ("selective", "full"), "full": ("full",)}


def _variants(resolved: Resolved) -> Iterator[Resolved]:
    """The spec with stronger checkpointing and with smaller micro batches that still divide the device's share."""
    spec = resolved.spec
    share = max(1, spec.training.global_batch_size // resolved.data_parallel_size)
    largest = min(spec.training.micro_batch_size, share)
    # Divisors come in pairs: a share of millions has its divisors found in thousands of steps.
    small = [size for size in range(1, int(share**0.5) + 1) if share % size == 0]
    sizes = sorted({size for low in small for size in (low, share // low) if size <= largest}, reverse=True)
    for checkpointing in _STRONGER[spec.parallelism.activation_checkpointing]:
        parallelism = spec.parallelism.model_copy(update={"activation_checkpointing": checkpointing})
        for size in sizes:
            training = spec.training.model_copy(update={"micro_batch_size": size})
            yield replace(resolved, spec=spec.model_copy(update={"parallelism": parallelism, "training": training}))


def cheapest_fix(resolved: Resolved, network: Network) -> str | None:
    """The change of checkpointing and micro batch that fits and costs least time a step, in words; None where none fits."""
    device = describe_device(resolved)
    best: tuple[float, int, Resolved] | None = None
    for variant in _variants(resolved):
        memory = estimate_memory(variant, network, device)
        if not memory.fits:
            continue
        seconds = sum(parts_of(variant, network, device).values())
        if best is None or seconds < best[0]:
            best = seconds, memory.peak_bytes, variant
    if best is None:
        return None
    _, peak, variant = best
    old, new = resolved.spec, variant.spec
    changes = []
    if new.parallelism.activation_checkpointing != old.parallelism.activation_checkpointing:
        changes.append(f"`parallelism.activation_checkpointing: {new.parallelism.activation_checkpointing}`")
    if new.training.micro_batch_size != old.training.micro_batch_size:
        changes.append(f"`training.micro_batch_size: {new.training.micro_batch_size}`")
    return f"{' with '.join(changes)} needs {peak / GIB:.1f} of {device.memory_bytes / GIB:.1f} GiB" if changes else None
