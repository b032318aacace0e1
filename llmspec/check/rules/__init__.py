"""The rules, one module a theme. Importing this package registers all of them."""

<<<<<<< HEAD
from llmspec.check.rules import architecture, batch, data, hardware, launch, laws, memory, schedule, tokenizer, unbuilt

__all__ = ["architecture", "batch", "data", "hardware", "launch", "laws", "memory", "schedule", "tokenizer", "unbuilt"]
=======
from llmspec.check.rules import architecture, batch, data, hardware, launch, logging, memory, schedule, tokenizer, unbuilt

__all__ = ["architecture", "batch", "data", "hardware", "launch", "logging", "memory", "schedule", "tokenizer", "unbuilt"]
>>>>>>> 50e67fb (Trackers, profiler, and advice when memory runs out; tested by real runs)
