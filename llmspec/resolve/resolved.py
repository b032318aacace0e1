"""What resolution gives: the spec with every derived field filled, and where each value came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from llmspec.catalog import Quote, prices_for
from llmspec.diagnostics import Span
from llmspec.resolve import batches
from llmspec.spec.schema import Spec


class OriginKind(StrEnum):
    """Who decided a value."""

    SPEC = "spec"
    OVERRIDE = "override"
    PRESET = "preset"
    DEFAULT = "default"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. `text` is for people: `specs/a.yaml:14`, `preset gpt2`, `default`, `derived: a / b`."""

    kind: OriginKind
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec with nothing left open.

    `spec` has every derived field filled. `origins` maps dotted paths (`training.global_batch_size`, `data.sources[0].path`)
    to their origin. `directory` is the spec file's, to which its relative paths refer.
    """

    spec: Spec
    origins: Mapping[str, Origin]
    root: Span
    directory: Path
    own_quotes: Mapping[str, tuple[Quote, ...]] = field(default_factory=dict)
    """Quotes of the file that `hardware.prices` names, by accelerator."""

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """What providers ask for the accelerator: in the spec's own file, else in the catalog."""
        name = self.spec.hardware.accelerator
        return self.own_quotes[name] if name in self.own_quotes else prices_for(name)

    @property
    def world_size(self) -> int:
        """Number of devices, one process each."""
        return self.spec.hardware.nodes * self.spec.hardware.accelerators_per_node

    @property
    def data_parallel_size(self) -> int:
        """Number of replicas of the model."""
        layout = self.spec.parallelism
        return max(1, self.world_size // (layout.tensor * layout.pipeline * layout.context))

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro batches of one device in one optimizer step (rules have made sure that it is whole)."""
        return max(1, self.spec.training.global_batch_size // (self.spec.training.micro_batch_size * self.data_parallel_size))

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one optimizer step, over all devices; while `batch_size_warmup` lasts, in one of those after it."""
        return self.spec.training.global_batch_size * self.spec.training.sequence_length

    @property
    def total_tokens(self) -> int:
        """Tokens that all steps of the run see together."""
        return batches.samples_of(self.spec, self.spec.training.max_steps) * self.spec.training.sequence_length

    @property
    def full_steps(self) -> float:
        """Steps of the full batch that see as many tokens as the run does; `max_steps` where the batch does not grow."""
        return self.total_tokens / self.tokens_per_step

    def origin(self, path: str) -> Origin:
        """The origin of a field; of the nearest section above it where the field was not written."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0] if not path.endswith("]") else path.rpartition("[")[0]
        return Origin(OriginKind.DEFAULT, "default", self.root)

    def span(self, path: str) -> Span:
        """Where to point for a field: at its text, or at the nearest section above it that is written, or at the file's start."""
        while path:
            origin = self.origins.get(path)
            if origin is not None and origin.span is not None:
                return origin.span
            path = path.rpartition(".")[0] if not path.endswith("]") else path.rpartition("[")[0]
        return self.root

    def layer_window(self, layer: int) -> int | None:
        """Sliding window of one layer, in tokens; None where it sees everything."""
        window = self.spec.architecture.attention.window
        if isinstance(window, tuple):
            entry = window[layer % len(window)]
            return None if entry == "full" else entry
        return window
