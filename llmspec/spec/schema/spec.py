"""The whole spec."""

from typing import Annotated, Literal

from pydantic import Field

from llmspec.spec.schema.architecture import DecoderArchitecture
from llmspec.spec.schema.base import ByKind, Name, One, Section, Text, derived, section
from llmspec.spec.schema.checkpoint import Checkpoint
from llmspec.spec.schema.data import Data
from llmspec.spec.schema.evaluation import Evaluation
from llmspec.spec.schema.generation import Generation
from llmspec.spec.schema.hardware import Hardware
from llmspec.spec.schema.launch import Launch
from llmspec.spec.schema.logging import Logging
from llmspec.spec.schema.objectives import CausalLm
from llmspec.spec.schema.optimizer import AnyOptimizer
from llmspec.spec.schema.parallelism import Parallelism
from llmspec.spec.schema.schedule import AnySchedule
from llmspec.spec.schema.tokenizer import AnyTokenizer
from llmspec.spec.schema.training import Training


class Spec(Section):
    """One training run."""

    llmspec: One
    """Version of the spec language. Required; 1."""

    name: Name
    """Name of the run, and of the directory it is built into. Required."""

    description: Text | None = None
    """What the run is for, in a sentence or two; stands in the emitted README. Default: none."""

    extends: Text | tuple[Text, ...] | None = None
    """Other spec files, relative to this one, whose fields this one overrides. Default: none."""

    preset: Text | None = None
    """Name of a published model whose fields this spec overrides; `llmspec presets` lists them. Default: none."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1337
    """Seed of initialisation, data order and dropout. Default: 1337."""

    architecture: DecoderArchitecture
    """The network."""

    tokenizer: AnyTokenizer
    """How text becomes token ids."""

    data: Data
    """Where the text comes from and how it is packed."""

    objectives: Annotated[tuple[Annotated[CausalLm, ByKind()], ...], Field(min_length=1, max_length=1)] = Field(
        default=({"kind": "causal_lm"},), validate_default=True
    )
    """What the model learns to do. Default: [{kind: causal_lm}]."""

    training: Training
    """Batch, length and numerics of the run."""

    optimizer: AnyOptimizer
    """How weights move."""

    schedule: AnySchedule = section(kind="cosine")
    """How the learning rate moves. Default: cosine."""

    precision: Literal["bf16", "fp16", "fp32", "fp8", "fp4"] = derived("bf16 where the accelerator has it, else fp32")
    """Number format of matrix products; weights and optimizer state stay fp32. Default: bf16 where the accelerator has it."""

    parallelism: Parallelism = section()
    """How the run is laid over devices."""

    hardware: Hardware
    """What the run runs on, where, and at what price."""

    checkpoint: Checkpoint = section()
    """When the run is saved."""

    evaluation: Evaluation = section()
    """When and how the validation documents are scored."""

    logging: Logging = section()
    """What the run reports while it trains."""

    generation: Generation = section()
    """What generate.py writes when asked for nothing else."""

    launch: Launch = section()
    """The launch scripts to emit."""
