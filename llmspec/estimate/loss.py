"""Expected loss, and the size and tokens that would be optimal for the same compute, from published scaling laws.

Which law is used when: a fit to own runs (`llmspec fit`) where there is one; else that of Muennighoff et al. 2023, whose constant comes
from a named data set where one is named, with their worth of repeated tokens where the unique ones are known; below its range Kaplan's,
scaled to meet it. Experts count as the geometric mean of active and total parameters, narrow numbers by Kumar et al., a learning rate
and a batch beside StepLaw's by its own grids. The other laws are told too, each with its printed constant, where they were fitted on runs
of that size and kind.
"""

from math import log
from statistics import median
from typing import NamedTuple

from llmspec.catalog.loss_laws import LossData, loss_data, loss_data_names, loss_effect, loss_law
from llmspec.estimate.derivation import Input, Quantities, Quantity, constant, field
from llmspec.estimate.loss_by_law import CATALOG, ERROR_UNANCHORED, SMALL, LawRun, by_law
from llmspec.estimate.loss_fit import LAW as COUPLED
from llmspec.estimate.loss_fit import LossFit
from llmspec.estimate.parameters import Parameters
from llmspec.estimate.scaling import (
    MAIN,
    PLAIN_BITS,
    Coefficients,
    additive,
    fresh_tokens,
    mixed_size,
    precise_share,
    scarcity,
    small_law,
    small_scale,
    tuning_factor,
    useful_parameters,
)
from llmspec.resolve import laws
from llmspec.resolve.resolved import Resolved

# Fits are held to runs of up to about ten times the size of those they were made of.
FAR_BEYOND = 10
# Outside the range of a law's runs twice what is claimed for one with a constant of another data set.
ERROR_OUTSIDE = 2 * ERROR_UNANCHORED

BEST = "(alpha * A / (beta * B) * (C / 6)**beta)**(1 / (alpha + beta))"
BEST_COUPLED = "(alpha / beta * (A / B)**(1/k) * (C / 6)**(beta / k))**(k / (alpha + beta))"

_BITS = {"fp8": 8, "fp4": 4}


class LossAssumptions(NamedTuple):
    """What the spec does not say."""

    data_set: str | None = None
    """The named data set that the run's data and tokenizer resemble."""
    inference_tokens: float = 0.0
    """Tokens that the finished model will read and write."""
    unique_tokens: float | None = None
    """Tokens of the data; beyond them they repeat."""
    fit: LossFit | None = None
    """A law fitted to own runs."""


class Served(NamedTuple):
    """What is optimal where the model is also used: lowest loss for the compute of training and inference together."""

    tokens: Quantity
    optimal_parameters: Quantity
    optimal_tokens: Quantity
    optimal_loss: Quantity


class Loss(NamedTuple):
    """What the law expects. `meaning` says in words what the number is, `verdict` how far the spec is from compute-optimal."""

    expected: Quantity
    tokens_per_parameter: Quantity
    optimal_parameters: Quantity
    optimal_tokens: Quantity
    optimal_loss: Quantity
    within_fitted_range: bool
    meaning: str
    verdict: str
    law: str
    data_set: str | None
    by_law: Quantities
    tuning: Quantity
    epochs: Quantity | None
    served: Served | None

    def quantities(self) -> dict[str, Quantity]:
        """The figures by their keys below `loss.`."""
        figures: dict[str, Quantity | None] = {
            "expected": self.expected,
            "tokens_per_parameter": self.tokens_per_parameter,
            "optimal_parameters": self.optimal_parameters,
            "optimal_tokens": self.optimal_tokens,
            "optimal_loss": self.optimal_loss,
            **{f"by_law.{name}": quantity for name, quantity in self.by_law.items()},
            "tuning_factor": self.tuning,
            "epochs": self.epochs,
            "inference.tokens": self.served and self.served.tokens,
            "inference.optimal_parameters": self.served and self.served.optimal_parameters,
            "inference.optimal_tokens": self.served and self.served.optimal_tokens,
            "inference.optimal_loss": self.served and self.served.optimal_loss,
        }
        return {name: quantity for name, quantity in figures.items() if quantity is not None}


class _Basis(NamedTuple):
    """The law that is used, and what it rests on."""

    name: str
    coefficients: Coefficients
    source: str
    parameters: tuple[float, float]
    tokens: tuple[float, float]
    meaning: str
    constant_source: str
    """Where E is from, which is that of a data set and not of the law."""

    def holds(self, size: float, tokens: float) -> bool:
        return self.parameters[0] <= size <= self.parameters[1] and self.tokens[0] <= tokens <= self.tokens[1]

    def inputs(self) -> tuple[Input, ...]:
        values = zip(("E", "A", "alpha", "B", "beta", "k"), self.coefficients, strict=True)
        # Published laws add their terms.
        return tuple(
            constant(name, value, self.constant_source if name == "E" else self.source)
            for name, value in values
            if name != "k" or value != 1.0
        )


def _named() -> list[LossData]:
    return [loss_data(name) for name in loss_data_names()]


def _basis(assumptions: LossAssumptions) -> _Basis:
    fit = assumptions.fit
    if fit is not None:
        meaning = f"of the data, tokenizer and settings of the {fit.points} runs behind {fit.name}"
        source = f"fit to {fit.points} own runs"
        return _Basis(fit.name, fit.coefficients, source, fit.parameters, fit.tokens, meaning, source)
    law = loss_law(MAIN)
    if assumptions.data_set is None:
        middle = median(data.irreducible for data in _named())
        meaning = (
            f"of web text, the middle of {len(_named())} public data sets: a yardstick between specs; the loss on your own data and "
            "tokenizer lies higher or lower by a constant that only a run shows (`--loss-data` names a data set, `llmspec fit` finds it)"
        )
        source = f"catalog: loss_data.yaml: the middle of {len(_named())} public data sets"
        return _Basis(law.name, additive(law, middle), law.source, law.parameters, law.tokens, meaning, source)
    data = loss_data(assumptions.data_set)
    meaning = f"of {data.text} under its tokenizer, {data.tokenizer} ({data.source})"
    source = f"catalog: loss_data.yaml: {data.source}"
    return _Basis(law.name, additive(law, data.irreducible), law.source, law.parameters, law.tokens, meaning, source)


def _bounds(value: float, basis: _Basis, assumptions: LossAssumptions, size: float, tokens: float) -> tuple[float, float]:
    """The interval of an expected loss."""
    if assumptions.fit is not None:
        return assumptions.fit.bounds(size, tokens)
    if not basis.holds(size, tokens):
        return value * (1 - ERROR_OUTSIDE), value * (1 + ERROR_OUTSIDE)
    error = loss_law(MAIN).error
    if assumptions.data_set is not None:
        spread = max(loss_data(assumptions.data_set).spread, error)
        return value * (1 - spread), value * (1 + spread)
    named, middle = [data.irreducible for data in _named()], basis.coefficients.irreducible
    return (value + min(named) - middle) * (1 - error), (value + max(named) - middle) * (1 + error)


def _verdict(ratio: float, optimal_ratio: float, *, within: bool) -> str:
    if not within:
        return f"{ratio:.3g} tokens a parameter, outside the range of the law's runs: what is optimal here no published law says"
    factor = ratio / optimal_ratio
    if factor < 0.5:
        return f"fewer tokens than compute-optimal ({ratio:.3g} against {optimal_ratio:.3g} a parameter): a smaller model would end lower"
    if factor > 2:
        return f"more tokens than compute-optimal ({ratio:.3g} against {optimal_ratio:.3g} a parameter): pays off if the model is used much"
    return f"near compute-optimal ({ratio:.3g} tokens a parameter against {optimal_ratio:.3g})"


def _reach(fit: LossFit | None, size: float, tokens: float) -> str:
    """A warning where a fit is asked far beyond its runs: the interval tells how well the law is known, not whether it goes on."""
    if fit is None:
        return ""
    beyond = {"size": size / fit.parameters[1], "tokens": tokens / fit.tokens[1]}
    far = [f"{factor:,.0f} times the {what}" for what, factor in beyond.items() if factor > FAR_BEYOND]
    if not far:
        return ""
    return (
        f"; {' and '.join(far)} of the largest of the fit's runs, where nothing shows that its law still holds: do not trust the interval"
    )


def _tuning(resolved: Resolved, parameters: Parameters, tokens: float) -> Quantity:
    spec = resolved.spec
    body = parameters.non_embedding.value
    active = max(body - (parameters.total.value - parameters.active.value), 1.0)
    batch = spec.training.global_batch_size * spec.training.sequence_length
    factor = 1.0
    run = laws.Scale(int(body), int(tokens), 0)
    best_rate, best_batch = laws.learning_rate(run, "step_law").value, laws.batch_tokens(run, "step_law").value
    if spec.optimizer.kind in ("adam", "adamw") and spec.optimizer.learning_rate > 0:
        factor = tuning_factor(body, active, tokens, spec.optimizer.learning_rate, batch)
    source = loss_effect("tuning")["source"]
    return Quantity(
        factor,
        "",
        "1 + (max_tokens / (20 * active))**-0.15 * (0.01 x**2 - 0.007 x y + 0.008 y**2), x and y the logarithms of learning rate and batch "
        "over StepLaw's; 1 for other optimizers than Adam and outside the range of its runs",
        (
            parameters.non_embedding.as_input("N"),
            constant("active", active, "parameters of the layers that take part in one token"),
            field(resolved, "training.max_tokens"),
            field(resolved, "optimizer.learning_rate"),
            field(resolved, "training.global_batch_size"),
            constant("batch", batch, "tokens of a step"),
            constant("StepLaw's rate", best_rate, "1.79 * N^-0.713 * max_tokens^0.307"),
            constant("StepLaw's batch", best_batch, "0.58 * max_tokens^0.571, in tokens"),
        ),
        source,
    )


def expect_loss(resolved: Resolved, parameters: Parameters, assumptions: LossAssumptions = LossAssumptions()) -> Loss:  # noqa: B008
    """The expected loss of a spec at the end of its run."""
    basis = _basis(assumptions)
    total, active, tokens = parameters.total.value, parameters.active.value, float(resolved.spec.training.max_tokens)
    bits = _BITS.get(resolved.spec.precision, PLAIN_BITS)
    share = precise_share(bits)
    size = mixed_size(active, total) * share
    body = max(parameters.non_embedding.value * size / total, 1.0)
    fresh, unique = tokens, assumptions.unique_tokens
    if unique is not None and tokens > unique:
        fresh, size = fresh_tokens(tokens, unique), useful_parameters(size, unique)
    tuning = _tuning(resolved, parameters, tokens)
    plain = basis.coefficients.loss(size, fresh)
    formula, used, source = "E + A / N**alpha + B / D**beta", basis.inputs(), basis.source
    if assumptions.fit is None and active == total:
        plain += scarcity(basis.coefficients, size, fresh)
        formula += " * (1 + factor * (N / D)**exponent)"
        effect = loss_effect("few_tokens")
        used += tuple(constant(name, effect[name], f"{CATALOG}: few tokens a parameter") for name in ("factor", "exponent"))
    if assumptions.fit is not None:
        formula = COUPLED
    elif (small := small_law(body, fresh, basis.coefficients)) < plain:
        kaplan = loss_law("kaplan")
        plain, formula, source = small, SMALL.format(D="D"), kaplan.source
        used = (
            constant("non_embedding", body, "parameters without embeddings, of the dense model that this one is worth"),
            constant("scale", small_scale(basis.coefficients), f"{CATALOG}: where it meets the law data_constrained"),
            *(constant(name, number, kaplan.source) for name, number in kaplan.coefficients.items()),
        )
    # No model does worse for long than guessing every token alike.
    guessing = log(resolved.spec.architecture.vocab_size)
    value = min(plain * (tuning.value if assumptions.fit is None else 1.0), guessing)
    low, high = _bounds(value, basis, assumptions, size, fresh)
    within = basis.holds(size, tokens)
    effective = (
        constant("N", size, "the dense model that this one is worth: sqrt(total * active), by precision and repetition"),
        constant("D", fresh, "the fresh tokens that max_tokens are worth"),
    )
    inputs = (parameters.total.as_input("total"), parameters.active.as_input("active"), field(resolved, "training.max_tokens"))
    outside = "" if within else "; outside the range of its runs"
    tuned = assumptions.fit is None
    expected = Quantity(
        value,
        "nats/token",
        f"min(tuning_factor * ({formula}), ln(vocab_size))" if tuned else f"min({formula}, ln(vocab_size))",
        (
            *effective,
            *inputs,
            *used,
            *((tuning.as_input("tuning_factor"),) if tuned else ()),
            field(resolved, "architecture.vocab_size"),
        ),
        source + outside,
        low=low,
        high=min(high, max(guessing, value)),
    )
    compute = 6 * active * tokens
    best = basis.coefficients.best_parameters(compute)
    best_tokens = compute / (6 * best)
    budget = (*inputs[1:], *basis.inputs()[1:])
    optimum = "minimum of the law at C = 6 * active * max_tokens"
    epochs = None
    if unique is not None:
        known = constant("unique_tokens", unique, "given")
        epochs = Quantity(tokens / unique, "epochs", "max_tokens / unique_tokens", (inputs[2], known), "exact")
    return Loss(
        expected=expected,
        tokens_per_parameter=Quantity(tokens / active, "tokens/parameter", "max_tokens / active", (inputs[1], inputs[2]), "exact"),
        optimal_parameters=_about(
            best, "parameters", f"{BEST if assumptions.fit is None else BEST_COUPLED}: {optimum}", budget, basis.source
        ),
        optimal_tokens=_about(best_tokens, "tokens", f"C / (6 * optimal_parameters): {optimum}", budget, basis.source),
        optimal_loss=_optimum(best, best_tokens, f"the law at the {optimum}", (*inputs[1:], *basis.inputs()), basis, assumptions),
        within_fitted_range=within,
        meaning=basis.meaning,
        # A fit to small runs is there to be asked about larger ones.
        verdict=_verdict(tokens / active, best_tokens / best, within=within or assumptions.fit is not None)
        + _reach(assumptions.fit, size, tokens),
        law=basis.name,
        data_set=assumptions.data_set,
        by_law=by_law(LawRun(total, active, parameters.non_embedding.value, tokens, bits, unique, assumptions.inference_tokens), inputs),
        tuning=tuning,
        epochs=epochs,
        served=_served(active, tokens, basis, assumptions, inputs),
    )


def _about(value: float, unit: str, formula: str, inputs: tuple[Input, ...], source: str) -> Quantity:
    """An optimum, known within a factor of two: the loss is flat around it."""
    return Quantity(value, unit, formula, inputs, source, low=value / 2, high=value * 2)


def _optimum(
    parameters: float, tokens: float, formula: str, inputs: tuple[Input, ...], basis: _Basis, assumptions: LossAssumptions, source: str = ""
) -> Quantity:
    """The loss of an optimum."""
    value = basis.coefficients.loss(parameters, tokens)
    low, high = _bounds(value, basis, assumptions, parameters, tokens)
    return Quantity(value, "nats/token", formula, inputs, source or basis.source, low=low, high=high)


def _served(active: float, tokens: float, basis: _Basis, assumptions: LossAssumptions, inputs: tuple[Input, ...]) -> Served | None:
    demand = assumptions.inference_tokens
    if demand <= 0:
        return None
    budget = 6 * active * tokens + 2 * active * demand
    best, length = basis.coefficients.best_with_inference(budget, demand)
    given = constant("inference_tokens", demand, "given")
    values = (*inputs, given, *basis.inputs())
    optimum = "minimum of the law where 6 * N * D + 2 * N * inference_tokens is that of the spec"
    source = f"{basis.source}; inference as Sardana et al. 2024 (arXiv:2401.00448) count it"
    return Served(
        Quantity(demand, "tokens", "inference_tokens", (given,), "given"),
        _about(best, "parameters", optimum, values, source),
        _about(length, "tokens", optimum, values, source),
        _optimum(best, length, f"the law at the {optimum}", values, basis, assumptions, source),
    )
