"""The update rules of the papers, each for one tensor, in plain arithmetic and apart from any library.

A rule is a generator function of a tensor, its weight decay and its numbers: it takes (gradient, learning rate), in this order of time,
and gives the tensor after the step.
"""

from collections.abc import Generator
from math import sqrt

import torch
from torch import Tensor

Rule = Generator[Tensor, tuple[Tensor, float], None]


def sgd(x: Tensor, decay: float, *, momentum: float, nesterov: bool) -> Rule:
    """Sutskever et al. 2013 as torch states it: v = momentum * v + g, from v = g at the first step."""
    v: Tensor | None = None
    while True:
        g, rate = yield x
        g = g + decay * x
        v = g if v is None else momentum * v + g
        x = x - rate * (g + momentum * v if nesterov else v)


def rmsprop(x: Tensor, decay: float, *, beta2: float, momentum: float, eps: float) -> Rule:
    """Tieleman and Hinton 2012, with momentum as Graves 2013."""
    square, v = torch.zeros_like(x), torch.zeros_like(x)
    while True:
        g, rate = yield x
        g = g + decay * x
        square = beta2 * square + (1 - beta2) * g**2
        v = momentum * v + g / (square.sqrt() + eps)
        x = x - rate * v


def adam(x: Tensor, decay: float, *, beta1: float, beta2: float, eps: float, decoupled: bool) -> Rule:
    """Kingma and Ba 2014, algorithm 1; decoupled: Loshchilov and Hutter 2017, algorithm 2."""
    m, v, t = torch.zeros_like(x), torch.zeros_like(x), 0
    while True:
        g, rate = yield x
        t += 1
        g = g if decoupled else g + decay * x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)
        x = x - rate * step - (rate * decay * x if decoupled else 0)


def adafactor(x: Tensor, decay: float, *, exponent: float, threshold: float, min_scale: float) -> Rule:
    """Shazeer and Stern 2018, algorithms 4 and 5, with decoupled weight decay; the relative step is min(rate, 1 / sqrt(t))."""
    rows = cols = v = torch.zeros(())
    t = 0
    while True:
        g, rate = yield x
        t += 1
        scale = max(min_scale, x.square().mean().sqrt().item()) * min(rate, 1 / sqrt(t))
        x = x * (1 - rate * decay)
        beta2 = 1 - t**-exponent
        if x.ndim == 2:
            rows = beta2 * rows + (1 - beta2) * g.square().mean(1)
            cols = beta2 * cols + (1 - beta2) * g.square().mean(0)
            v = torch.outer(rows, cols) / rows.mean()
        else:
            v = beta2 * v + (1 - beta2) * g.square()
        step = g / v.sqrt().clamp(min=1e-15)
        x = x - scale * step / max(1, step.square().mean().sqrt().item() / threshold)


def lamb(x: Tensor, decay: float, *, beta1: float, beta2: float, eps: float) -> Rule:
    """You et al. 2019, the version without bias correction, with min(norm, 10) for phi."""
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    while True:
        g, rate = yield x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = m / (v.sqrt() + eps) + decay * x
        length, step_length = min(x.norm().item(), 10), step.norm().item()
        x = x - rate * (length / (step_length + eps) if length and step_length else 1) * step


def lion(x: Tensor, decay: float, *, beta1: float, beta2: float) -> Rule:
    """Chen et al. 2023, algorithm 2."""
    m = torch.zeros_like(x)
    while True:
        g, rate = yield x
        x = x - rate * ((beta1 * m + (1 - beta1) * g).sign() + decay * x)
        m = beta2 * m + (1 - beta2) * g


def muon(x: Tensor, decay: float, *, momentum: float, nesterov: bool, steps: int, scaling: str) -> Rule:
    """Jordan et al. 2024 with an exponential average for the momentum; scalings: the same, and Liu et al. 2025."""
    v = torch.zeros_like(x)
    rows, columns = x.shape
    scale = sqrt(max(1, rows / columns)) if scaling == "spectral" else 0.2 * sqrt(max(rows, columns))
    while True:
        g, rate = yield x
        v = momentum * v + (1 - momentum) * g
        step = momentum * v + (1 - momentum) * g if nesterov else v
        x = x * (1 - rate * decay) - rate * scale * newton_schulz(step, steps)


def newton_schulz(matrix: Tensor, steps: int) -> Tensor:
    """The singular values s of a matrix of norm 1 become a*s + b*s^3 + c*s^5 again and again; here they themselves, in full precision."""
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s @ vt).to(matrix.dtype)


def soap(x: Tensor, decay: float, *, beta1: float, beta2: float, eps: float, every: int, largest: int) -> Rule:
    """Vyas et al. 2024, algorithms 3 and 4, and what its text says of sorting; the first gradient only fills the preconditioners."""
    g, _ = yield x
    sides = [i for i in range(2) if x.ndim == 2 and x.shape[i] <= largest]
    outer = lambda g, i: g @ g.T if i == 0 else g.T @ g  # noqa: E731
    covariance = {i: (1 - beta2) * outer(g, i) for i in sides}
    basis = {i: torch.linalg.eigh(covariance[i]).eigenvectors.flip(1) for i in sides}
    m, v, t = torch.zeros_like(x), torch.zeros_like(x), 0

    def turned(matrix: Tensor, back: bool) -> Tensor:
        for i in sides:
            q = basis[i].T if back else basis[i]
            matrix = q.T @ matrix if i == 0 else matrix @ q
        return matrix

    while True:
        g, rate = yield x
        t += 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * turned(g, False) ** 2
        step = turned(turned(m, False) / (v.sqrt() + eps), True)
        x = x - rate * sqrt(1 - beta2**t) / (1 - beta1**t) * step
        x = x * (1 - rate * decay)
        for i in sides:
            covariance[i] = beta2 * covariance[i] + (1 - beta2) * outer(g, i)
        if t % every == 0:
            for i in sides:
                power = covariance[i] @ basis[i]
                order = (basis[i] * power).sum(0).argsort(descending=True)
                v = v.index_select(i, order)
                basis[i] = torch.linalg.qr(power[:, order]).Q


def schedule_free(x: Tensor, decay: float, *, beta1: float, beta2: float, eps: float, power: float) -> Rule:
    """Defazio et al. 2024, algorithm 1, with the decay at y; gives y, where gradients are taken."""
    z, v, t, total, highest = x, torch.zeros_like(x), 0, 0.0, 0.0
    while True:
        y = (1 - beta1) * z + beta1 * x
        g, rate = yield y
        t += 1
        v = beta2 * v + (1 - beta2) * g**2
        z = z - rate * (g / ((v / (1 - beta2**t)).sqrt() + eps) + decay * y)
        highest = max(highest, rate)
        weight = t**power * highest**2
        total += weight
        x = (1 - weight / total) * x + weight / total * z
