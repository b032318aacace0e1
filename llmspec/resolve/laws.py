"""Published laws for the learning rate, the batch size and the critical batch of pretraining with AdamW.

StepLaw: Li et al. 2025, "Predictable Scale: Part I, Step Law", arXiv 2503.04715; 3,700 models from 60 million to a billion parameters, on
2 to 100 billion tokens. DeepSeek LLM: Bi et al. 2024, arXiv 2401.02954, section 3.1; fitted up to 2e19 FLOPs, and used for models of 7
and 67 billion parameters on two trillion tokens. OLMo ladder: Bhagia et al. 2024, arXiv 2412.04403, after Porian et al. 2024; for
sequences of 2048 tokens and 20 tokens a parameter. Critical batch: Zhang et al. 2024, arXiv 2410.21676 (catalog: loss_laws.yaml).
"""

from typing import NamedTuple

from llmspec.catalog.loss_laws import loss_effect
from llmspec.spec.schema import Spec

# The largest run that StepLaw was fitted on: a billion parameters on 100 billion tokens. Beyond, its rates and batches keep growing with
# the data and leave what large runs use; DeepSeek's, which large runs were trained with, take over.
STEP_LAW_FLOPS = 1e21
# Below these, all laws are far from what they were fitted on, and prove nothing about a number that a spec gives.
FITTED_PARAMETERS, FITTED_TOKENS = 10_000_000, 100_000_000
LADDER_PARAMETERS, LADDER_TOKENS = 108e6, 160 * 2048


class Scale(NamedTuple):
    """How large a run is: parameters of the layers' matrices, tokens, and the FLOPs of a token without embedding and head."""

    parameters: int
    tokens: int
    flops_per_token: int

    @property
    def flops(self) -> float:
        """Of the whole run."""
        return float(self.tokens) * self.flops_per_token


class Suggestion(NamedTuple):
    """What a law says, and the formula with its numbers. A batch is in tokens."""

    value: float
    formula: str
    law: str = ""


def scale(spec: Spec, tokens: int) -> Scale:
    """The size of a run of so many tokens."""
    return _scale(spec, tokens, 1.0)


def rate_scale(spec: Spec, tokens: int) -> Scale:
    """The size of the run whose learning rate the spec gives: with muP, that of the model at the base width."""
    mup = spec.architecture.mup
    return _scale(spec, tokens, mup.base_hidden_size / spec.architecture.hidden_size if mup else 1.0)


def _scale(spec: Spec, tokens: int, width: float) -> Scale:
    """All widths are multiplied by `width`."""
    architecture = spec.architecture
    attention, feed_forward = architecture.attention, architecture.feed_forward
    queries, keys = attention.num_heads * attention.head_dim, attention.key_value_heads * attention.head_dim
    matrices = 3 if feed_forward.gated else 2
    layer = architecture.hidden_size * (2 * (queries + keys) + matrices * feed_forward.ffn_hidden_size)
    parameters = max(1, round(architecture.num_layers * layer * width**2))
    attended = round(12 * architecture.num_layers * queries * spec.training.sequence_length * width)
    return Scale(parameters, tokens, 6 * parameters + attended)


def law_for(run: Scale, law: str) -> str:
    """The law that `auto` means; any other is itself."""
    if law != "auto":
        return law
    return "step_law" if run.flops <= STEP_LAW_FLOPS else "deepseek_llm"


def learning_rate(run: Scale, law: str) -> Suggestion:
    """The peak learning rate that a law suggests, to three digits."""
    size, tokens, flops = run.parameters, run.tokens, run.flops
    match law_for(run, law):
        case "step_law":
            value = _rounded(1.79 * size**-0.713 * tokens**0.307)
            formula = f"1.79 * N^-0.713 * D^0.307 = {value:g} with N = {size:,}, D = {tokens:,}"
            return _suggestion("StepLaw (Li et al. 2025)", value, formula)
        case "olmo_ladder":
            value = _rounded(0.0047 * (size / LADDER_PARAMETERS) ** (-1 / 3))
            return _suggestion("OLMo ladder (Bhagia et al. 2024)", value, f"0.0047 * (N / 108M)^(-1/3) = {value:g} with N = {size:,}")
        case _:
            value = _rounded(0.3118 * flops**-0.1250)
            return _suggestion("DeepSeek LLM (Bi et al. 2024)", value, f"0.3118 * C^-0.1250 = {value:g} with C = {flops:.3g} FLOPs")


def batch_tokens(run: Scale, law: str) -> Suggestion:
    """The tokens of a batch that a law suggests."""
    size, tokens, flops = run.parameters, run.tokens, run.flops
    match law_for(run, law):
        case "step_law":
            value = 0.58 * tokens**0.571
            return _suggestion("StepLaw (Li et al. 2025)", value, f"0.58 * D^0.571 = {value:,.0f} tokens with D = {tokens:,}")
        case "olmo_ladder":
            value = LADDER_TOKENS * (size / LADDER_PARAMETERS) ** (2 / 3)
            formula = f"160 * 2048 * (N / 108M)^(2/3) = {value:,.0f} tokens with N = {size:,}"
            return _suggestion("OLMo ladder (Bhagia et al. 2024)", value, formula)
        case _:
            value = 0.2920 * flops**0.3271
            formula = f"0.2920 * C^0.3271 = {value:,.0f} tokens with C = {flops:.3g} FLOPs"
            return _suggestion("DeepSeek LLM (Bi et al. 2024)", value, formula)


def critical_batch(run: Scale) -> Suggestion:
    """The tokens of a batch at which a run needs a fifth more tokens than with a small one."""
    effect = loss_effect("critical_batch")
    scale, exponent, sequence = effect["scale"], effect["exponent"], effect["sequence"]
    value = sequence * scale * (run.tokens / 1e6) ** exponent
    formula = f"{sequence} * {scale} * (D / 1M)^{exponent} = {value:,.0f} tokens with D = {run.tokens:,}"
    return _suggestion("critical batch (Zhang et al. 2024)", value, formula)


def near_power(sequences: float, unit: int) -> int:
    """The multiple of `unit` nearest to `sequences` among 1, 2, 3, 4, 6, 8, 12, ... times it, which split well into micro batches."""
    candidates: list[int] = [unit * (factor << power) for power in range(40) for factor in (1, 3)]
    candidates = [candidate for candidate in candidates if candidate <= 2**24] or [unit]
    return min(candidates, key=lambda candidate: max(candidate / sequences, sequences / candidate))


def _suggestion(law: str, value: float, formula: str) -> Suggestion:
    return Suggestion(value, f"{law}: {formula}", law)


def _rounded(rate: float) -> float:
    return float(f"{min(rate, 10.0):.3g}")
