"""Every number of the run.

The modules of this project read their constants here and nowhere else. Change a value and run
again, or change the spec and rebuild: `spec.resolved.yaml` tells where each value came from.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    vocab_size: int = 4096  # rows of the embedding table
    hidden_size: int = 192  # width of the residual stream
    num_layers: int = 6  # transformer layers
    num_heads: int = 6  # query heads
    num_kv_heads: int = 2  # key and value heads
    head_dim: int = 32  # width of one head
    ffn_hidden_size: int = 512  # width of the feed-forward's hidden layer
    norm_eps: float = 1e-05  # added to the variance before its root
    rope_theta: float = 10000.0  # base of the rotary frequencies
    init_std: float = 0.04  # standard deviation of new matrices and embeddings


@dataclass(frozen=True)
class GenerationConfig:
    """What generate.py writes when asked for nothing else."""

    prompts: tuple[str, ...] = (
        "def read_file(path):\n",
        "def __init__(self, ",
        "import ",
    )  # texts to continue
    max_new_tokens: int = 80  # tokens to write after each prompt
    temperature: float = 0.7  # divides the logits; 0 takes the likeliest token
    top_k: int = 0  # draw from this many likeliest tokens; 0 from all
    top_p: float = 0.95  # draw from the likeliest tokens with this much probability together
    seed: int = 1337  # seed of the draws


@dataclass(frozen=True)
class TokenizerConfig:
    """Byte-pair encoding, trained by sentencepiece."""

    vocab_size: int = 4096  # pieces, special and byte pieces included
    byte_fallback: bool = True  # spell characters outside the vocabulary as bytes
    character_coverage: float = 0.9995  # share of characters that get a piece of their own
    normalization: str = "identity"  # identity: text comes back unchanged; nfkc folds variants
    split_digits: bool = True  # each digit is a piece of its own
    max_training_bytes: int = 100_000_000  # of text, taken evenly from the sources


@dataclass(frozen=True)
class PythonStdlibSource:
    """The standard library of the Python that runs, without its tests and generated tables."""

    name: str  # in logs and directory names


@dataclass(frozen=True)
class DataConfig:
    """Where the text comes from."""

    sources: tuple[PythonStdlibSource, ...] = (PythonStdlibSource(name="stdlib"),)  # what is read
    validation_fraction: float = 0.05  # share of documents that are never trained on
    token_dtype: str = "uint16"  # of a token id on disk; the vocabulary fits


@dataclass(frozen=True)
class TrainingConfig:
    """Batch, length and numerics of the run."""

    seed: int = 1337  # of weights, data order and dropout
    sequence_length: int = 256  # tokens in one sequence
    global_batch_size: int = 8  # sequences in one step, over all devices
    micro_batch_size: int = 8  # sequences in one forward pass on one device
    max_steps: int = 480  # optimizer steps
    max_grad_norm: float = 1.0  # gradients of a larger norm are scaled down to it


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW."""

    beta1: float = 0.9  # decay of the first moment
    beta2: float = 0.95  # decay of the second moment
    adam_eps: float = 1e-08  # added to the root of the second moment
    weight_decay: float = 0.1  # of matrices and embeddings, times the learning rate


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run."""

    learning_rate: float = 0.003  # at the peak
    warmup_steps: int = 20  # steps until the peak
    decay_fraction: float = 0.3  # share of the steps in which the rate falls
    min_learning_rate: float = 0.0  # at the last step


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run is saved."""

    every: int = 100  # steps between checkpoints
    keep: int = 2  # how many stay, the newest


@dataclass(frozen=True)
class GuardConfig:
    """Which steps are skipped."""

    max_skipped_steps: int = 10  # of the last `window` steps; more of them stop the run
    window: int = 128  # steps that are looked at


@dataclass(frozen=True)
class LoggingConfig:
    """What the run reports."""

    every: int = 10  # steps between lines
    flops_per_token: int = 22_413_312  # of the model, forward and backward
    peak_flops: float = 2.24e11  # FLOP/s of one device in fp32, as its maker states it
    device_type: str = "cpu"  # what that peak is of; on another type utilisation is not reported
    processor_watts: float = 30.0  # rated power of a machine's processors, for the energy


@dataclass(frozen=True)
class EvaluationConfig:
    """When the validation documents are scored."""

    every: int = 100  # steps between evaluations
    max_tokens: int = 30000  # validation tokens scored each time; evaluate.py scores all
