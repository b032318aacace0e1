"""llmspec: a compiler from one YAML spec to a standalone, runnable LLM training project."""

__version__ = "0.1.0"
