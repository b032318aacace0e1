"""What each published law says of a run, with its own printed constant, where it was fitted on runs of that size and kind."""

from typing import NamedTuple

from llmspec.catalog.loss_laws import EXPERTS, INFERENCE, LAWS, PRECISION, LossLaw, loss_effect, loss_law
from llmspec.estimate.derivation import Input, Quantities, Quantity, constant
from llmspec.estimate.scaling import (
    MAIN,
    PLAIN_BITS,
    additive,
    experts_coefficients,
    fresh_tokens,
    loss_by,
    precise_share,
    single_experts,
    small_scale,
    useful_parameters,
)

# With printed constants, laws are 6% to 22% off on other data sets and tokenizers.
ERROR_UNANCHORED = 0.15
SMALL = "scale * ((Nc / non_embedding)**(alpha / beta) + Dc / {D})**beta"
CATALOG = "catalog: loss_laws.yaml"


class LawRun(NamedTuple):
    """What the laws are asked about."""

    total: float
    active: float
    body: float
    """Parameters without embeddings."""
    tokens: float
    bits: int
    """Of the operands of its products."""
    unique_tokens: float | None
    inference_tokens: float

    @property
    def repeats(self) -> bool:
        """Whether it sees tokens again."""
        return self.unique_tokens is not None and self.tokens > self.unique_tokens


def by_law(run: LawRun, inputs: tuple[Input, ...]) -> Quantities:
    """What each published law says with its own constant, where it was fitted on runs like this one."""

    def quantity(law: LossLaw, value: float, formula: str, more: tuple[Input, ...] = (), source: str = "") -> Quantity:
        unused = () if run.repeats else ("R_D", "R_N")
        coefficients = tuple(constant(name, number, CATALOG) for name, number in law.coefficients.items() if name not in unused)
        low, high = value * (1 - ERROR_UNANCHORED), value * (1 + ERROR_UNANCHORED)
        return Quantity(
            value, "nats/token", formula, (*inputs, *more, *coefficients), "; ".join(filter(None, (law.source, source))), low, high
        )

    def within(parameters: tuple[float, float], tokens: tuple[float, float], size: float) -> bool:
        return parameters[0] <= size <= parameters[1] and tokens[0] <= run.tokens <= tokens[1]

    found: dict[str, Quantity] = {}
    added = "E + A / N**alpha + B / D**beta"
    if run.active < run.total:
        law, active_body = loss_law(EXPERTS), max(run.body - (run.total - run.active), 1.0)
        experts = single_experts(run.body, active_body)
        if (
            within(law.parameters, law.tokens, run.active)
            and experts <= law.coefficients["experts"]
            and run.bits == PLAIN_BITS
            and not run.repeats
        ):
            value = experts_coefficients(law, experts).loss(run.active, run.tokens)
            formula = "a * x**delta * active**(alpha + gamma ln x) + b * x**omega * max_tokens**(beta + zeta ln x) + c, as printed"
            worth = constant(
                "experts", experts, "as many of which one takes part in a token, by the ratio of all parameters to active ones"
            )
            found["experts"] = quantity(law, value, formula, (worth,))
        return found
    main = loss_law(MAIN)
    if run.bits < PLAIN_BITS:
        effect = loss_effect(PRECISION)
        if within(effect["parameters"], effect["tokens"], run.total) and not run.repeats:
            share = precise_share(run.bits)
            value = additive(main).loss(run.total * share, run.tokens)
            kept = constant("share", share, "prod over weights and activations of (1 - exp(-bits / gamma)), over that of 16 bits")
            formula = "E + A / (total * share)**alpha + B / max_tokens**beta"
            found[PRECISION] = quantity(main, value, formula, (kept,), effect["source"])
        return found
    for name in LAWS:
        law, size = loss_law(name), run.body if name == "kaplan" else run.total
        few = run.tokens < law.tokens_per_parameter * run.total
        if few or not within(law.parameters, law.tokens, size) or (run.repeats and name != MAIN):
            continue
        if name == MAIN and run.repeats:
            unique = run.unique_tokens or run.tokens
            useful, fresh = useful_parameters(run.total, unique), fresh_tokens(run.tokens, unique)
            worth_n = constant("N", useful, "total, of which those beyond the optimum of the unique tokens count less")
            worth_d = constant("D", fresh, "the fresh tokens that max_tokens are worth")
            found[name] = quantity(law, additive(law).loss(useful, fresh), f"{added}, as printed", (worth_n, worth_d))
        elif name == "kaplan":
            body = constant("non_embedding", run.body, "estimated here")
            more = (body, constant("scale", small_scale(), f"{CATALOG}: where it meets the law data_constrained"))
            found[name] = quantity(law, loss_by(law, run.total, run.body, run.tokens), SMALL.format(D="max_tokens"), more)
        elif name == "farseer":
            formula = (
                "E + size * n**-size_exponent + data * n**-data_size_exponent * d**-(data_exponent * n**data_exponent_size), "
                "n = total / size_unit, d = max_tokens / data_unit"
            )
            found[name] = quantity(law, loss_by(law, run.total, run.body, run.tokens), formula)
        else:
            found[name] = quantity(law, loss_by(law, run.total, run.body, run.tokens), f"{added}, N = total, D = max_tokens, as printed")
    if run.inference_tokens > 0 and not run.repeats:
        law = loss_law(INFERENCE)
        if within(law.parameters, law.tokens, run.total):
            found[INFERENCE] = quantity(law, loss_by(law, run.total, run.body, run.tokens), f"{added}, N = total, D = max_tokens")
    return found
