"""The constants of the analytic core."""

from llmspec.estimate.memory_model import MemoryConstants

MEMORY_CONSTANTS = MemoryConstants(
    context_bytes=1.5e9, collective_bytes=0.7e9, eager_stream=6.0, fused_stream=3.0, loss_bytes=10.0, fragmentation=0.06
)
