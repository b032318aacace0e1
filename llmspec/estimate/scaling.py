"""Scaling laws as functions: the loss of a size and a number of tokens, and the size and tokens that are best for a budget.

Plain arithmetic on the coefficients of the catalog or of a fit; nothing here knows of a spec. Losses are in nats a token.
"""

from math import exp, log
from typing import NamedTuple

from llmspec.catalog.loss_laws import LossLaw, loss_effect, loss_law
from llmspec.resolve.laws import Scale, batch_tokens, learning_rate

# The law that is used where nothing better is known, by its name in the catalog.
MAIN = "data_constrained"
PLAIN_BITS = 16


class Coefficients(NamedTuple):
    """L(N, D) = irreducible + ((size / N**size_exponent)**(1/k) + (data / D**data_exponent)**(1/k))**k with k = coupling.

    With a coupling of 1 the two terms are added (Hoffmann et al. 2022); below 1 they act together, and the loss lies above the sum's
    shape where one of them rules, below it where they are alike (Kaplan et al. 2020, Videau et al. 2026). size and data are what a term
    comes to where the other one vanishes, whatever the coupling.
    """

    irreducible: float
    size: float
    size_exponent: float
    data: float
    data_exponent: float
    coupling: float = 1.0

    def loss(self, parameters: float, tokens: float) -> float:
        """The law's loss."""
        size, data = self.size / parameters**self.size_exponent, self.data / tokens**self.data_exponent
        if self.coupling == 1.0:
            return float(self.irreducible + size + data)
        # The larger term is taken out: a power of 1/k of a small one would vanish.
        more, less = max(size, data), min(size, data)
        return float(self.irreducible + more * (1 + (less / more) ** (1 / self.coupling)) ** self.coupling)

    def best_parameters(self, compute: float) -> float:
        """Parameters that minimise the loss at 6 * parameters * tokens = compute."""
        # The outer power moves no minimum; the inner ones multiply both exponents.
        ratio = log(self.size_exponent / self.data_exponent) + log(self.size / self.data) / self.coupling
        size, data = self.size_exponent / self.coupling, self.data_exponent / self.coupling
        return exp((ratio + data * log(compute / 6)) / (size + data))

    def best_with_inference(self, budget: float, inference_tokens: float) -> tuple[float, float]:
        """Parameters and tokens that minimise the loss at 6 * parameters * tokens + 2 * parameters * inference_tokens = budget."""

        def tokens(parameters: float) -> float:
            return (budget / parameters - 2 * inference_tokens) / 6

        # In ln(parameters) the loss falls, then rises; beyond the largest size nothing is left to train it with.
        low, high = log(1e3), log(budget / (2 * inference_tokens)) if inference_tokens else log(budget / 6)
        high -= 1e-9 * abs(high)
        golden = (5**0.5 - 1) / 2
        for _ in range(120):
            left, right = high - golden * (high - low), low + golden * (high - low)
            if self.loss(exp(left), max(tokens(exp(left)), 1e-6)) < self.loss(exp(right), max(tokens(exp(right)), 1e-6)):
                high = right
            else:
                low = left
        best = exp((low + high) / 2)
        return best, tokens(best)


def additive(law: LossLaw, irreducible: float | None = None) -> Coefficients:
    """The coefficients of a law of that form, with another data set's constant where one is given."""
    c = law.coefficients
    return Coefficients(c["E"] if irreducible is None else irreducible, c["A"], c["alpha"], c["B"], c["beta"])


def scarcity(law: Coefficients, parameters: float, tokens: float) -> float:
    """What a dense model with few tokens a parameter loses beyond the added terms."""
    effect = loss_effect("few_tokens")
    return float(effect["factor"] * law.data / tokens**law.data_exponent * (parameters / tokens) ** effect["exponent"])


def loss_by(law: LossLaw, parameters: float, body: float, tokens: float) -> float:
    """The loss that a published law says, with its own constant; `body` are the parameters without embeddings."""
    if law.form == "additive":
        return additive(law).loss(parameters, tokens)
    if law.form == "farseer":
        return farseer(law, parameters, tokens)
    return small_law(body, tokens)


def farseer(law: LossLaw, parameters: float, tokens: float) -> float:
    """E + U(N) + B(N) * D**-A(N): what data are worth depends on the size."""
    c = law.coefficients
    n, d = parameters / c["size_unit"], tokens / c["data_unit"]
    exponent = c["data_exponent"] * n ** c["data_exponent_size"]
    return float(c["E"] + c["size"] * n ** -c["size_exponent"] + c["data"] * n ** -c["data_size_exponent"] * d**-exponent)


def experts_coefficients(law: LossLaw, experts: float) -> Coefficients:
    """The additive law, in active parameters, of models with so many experts of which one takes part in a token."""
    c = law.coefficients
    effective = 1 / (1 / (experts - 1 + 1 / (1 / c["start"] - 1 / c["end"])) + 1 / c["end"])
    size, data = c["a"] * effective ** c["delta"], c["b"] * effective ** c["omega"]
    bend = log(effective)
    return Coefficients(c["c"], size, -(c["alpha"] + c["gamma"] * bend), data, -(c["beta"] + c["zeta"] * bend))


def single_experts(body: float, active_body: float) -> float:
    """How many experts of Ludziejewski et al. 2025, one a token, make the same ratio of all to active parameters of the layers.

    Their layers hold 4 width^2 of attention and 9 width^2 an expert.
    """
    return (13 * body / active_body - 4) / 9


def kaplan(parameters: float, tokens: float) -> float:
    """Kaplan's law, in nats per token of its own tokenizer; `parameters` without embeddings."""
    c = loss_law("kaplan").coefficients
    return float(((c["Nc"] / parameters) ** (c["alpha"] / c["beta"]) + c["Dc"] / tokens) ** c["beta"])


def small_law(parameters: float, tokens: float, law: Coefficients | None = None) -> float:
    """The law of small runs, scaled to meet the other one where their ranges meet."""
    return small_scale(law) * kaplan(parameters, tokens)


def small_scale(law: Coefficients | None = None) -> float:
    """The other law's loss over Kaplan's where their ranges meet."""
    law = law or additive(loss_law(MAIN))
    meeting = loss_effect("kaplan")["meeting"]
    return law.loss(*meeting) / kaplan(*meeting)


def fresh_tokens(tokens: float, unique: float) -> float:
    """What `tokens` of which only `unique` are different are worth, in fresh ones."""
    if tokens <= unique:
        return tokens
    decay = loss_law(MAIN).coefficients["R_D"]
    return unique + unique * decay * (1 - exp(-(tokens / unique - 1) / decay))


def useful_parameters(parameters: float, unique: float) -> float:
    """What parameters beyond those that are optimal for the unique tokens are worth where data repeat."""
    law = loss_law(MAIN)
    c = additive(law)
    decay = law.coefficients["R_N"]
    # The optimum at which `unique` tokens are the best number of tokens.
    ratio = c.size_exponent * c.size / (c.data_exponent * c.data)
    fitting = (ratio * unique**c.data_exponent) ** (1 / c.size_exponent)
    if parameters <= fitting:
        return parameters
    return float(fitting + fitting * decay * (1 - exp(-(parameters / fitting - 1) / decay)))


def mixed_size(active: float, total: float) -> float:
    """The dense model that one with experts is worth."""
    share = loss_effect("experts")["share"]
    return float(total**share * active ** (1 - share))


def precise_share(bits: float) -> float:
    """The share of the parameters that count where weights and activations have so many bits, against 16."""
    effect = loss_effect("precision")

    def kept(width: float) -> float:
        return (1 - exp(-width / effect["gamma_weights"])) * (1 - exp(-width / effect["gamma_activations"]))

    return kept(bits) / kept(PLAIN_BITS) if bits < PLAIN_BITS else 1.0


def tuning_factor(body: float, active: float, tokens: float, rate: float, batch: float) -> float:
    """Loss over that of the best learning rate and batch; 1 outside the range of StepLaw's runs.

    Args:
        body: Parameters of the layers.
        active: Those of them that take part in one token.
        tokens: Tokens of the run.
        rate: The peak learning rate.
        batch: Tokens of a step.
    """
    effect = loss_effect("tuning")
    if not (effect["parameters"][0] <= body <= effect["parameters"][1] and effect["tokens"][0] <= tokens <= effect["tokens"][1]):
        return 1.0
    run = Scale(int(body), int(tokens), 0)
    x, y = log(rate / learning_rate(run, "step_law").value), log(batch / batch_tokens(run, "step_law").value)
    cost = effect["rate"] * x * x + effect["product"] * x * y + effect["batch"] * y * y
    return float(min(1 + (tokens / (20 * active)) ** -effect["shrink"] * cost, effect["most"]))
