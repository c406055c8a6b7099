"""Regression adjustment: accepted parameters are moved to where they would be had the data been exactly those seen.

References:
    | Approximate Bayesian computation in population genetics (Beaumont, Zhang and Balding, 2002): local-linear
    | Non-linear regression models for approximate Bayesian computation (Blum and François, 2010): heteroscedastic, neural
"""

from __future__ import annotations

import torch
from torch import Tensor

from ppl.errors import QueryError

from .distance import scales

__all__ = ["KINDS", "adjusted"]

#: Names that `adjust=` takes.
KINDS = ("none", "linear", "ridge", "heteroscedastic", "neural")
#: Penalties of the ridge, in units of the weighted number of draws, of which cross-validation takes the best.
PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def adjusted(
    kind: str, u: Tensor, statistics: Tensor, seen: Tensor, weights: Tensor, seed: int
) -> Tensor:
    """Parameters as if the data had been those seen.

    Args:
        kind: One of `KINDS`.
        u: Accepted parameters on unbounded scales, `(n, parameters)`.
        statistics: What was compared, `(n, columns)`.
        seen: `(columns,)`.
        weights: `(n,)`, summing to one.
        seed: Decides how nets begin.

    Raises:
        QueryError: For a name that is none.
    """
    if kind not in KINDS:
        raise QueryError(f"adjust={kind!r} is none of {', '.join(KINDS)}.")
    scale = scales(statistics)
    moving = statistics.std(dim=0) > 0
    if kind == "none" or not u.shape[1] or not bool(moving.any()):
        return u
    x = ((statistics - seen) / scale)[:, moving]
    target = torch.zeros(1, x.shape[1], dtype=torch.float64)
    kept = weights > 0
    # Too few draws for so many columns: whatever is fitted would be noise.
    if int(kept.sum()) < 10:
        return u
    if kind in ("linear", "heteroscedastic") and int(kept.sum()) < 5 * x.shape[1]:
        kind = "ridge"
    fit = {"ridge": _ridge, "neural": _net}.get(kind, _line)
    fitted = fit(x, u, weights, seed)
    residual = u - fitted(x)
    if kind in ("heteroscedastic", "neural"):
        floor = 1e-12 * residual.var(dim=0).clamp(min=1e-300)
        # The logarithm of a squared residual is mostly noise: what is fitted to it is held back.
        spread = (_net if kind == "neural" else _ridge)(
            x, (residual**2 + floor).log(), weights, seed + 1
        )
        # Beyond what the accepted draws can tell, a ratio of spreads is a guess.
        ratio = ((spread(target) - spread(x)) / 2).clamp(-1.5, 1.5).exp()
        centre = (weights[:, None] * residual).sum(dim=0)
        residual = centre + (residual - centre) * ratio
    return fitted(target) + residual


def _design(x: Tensor) -> Tensor:
    return torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x], dim=1)


def _line(x: Tensor, y: Tensor, weights: Tensor, seed: int):
    root = weights.sqrt()[:, None]
    solution = torch.linalg.lstsq(root * _design(x), root * y, driver="gelsd").solution
    return lambda z: _design(z) @ solution


def _ridge(x: Tensor, y: Tensor, weights: Tensor, seed: int):
    """The penalty is the one that predicts left-out tenths best."""
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randint(10, (len(x),), generator=generator)
    errors = []
    for penalty in PENALTIES:
        total = torch.zeros((), dtype=torch.float64)
        for k in range(10):
            rest = weights * (fold != k)
            fitted = _penalised(x, y, rest, penalty)
            gap = ((y - fitted(x)) ** 2 / y.var(dim=0).clamp(min=1e-300)).sum(dim=1)
            total = total + (weights * (fold == k) * gap).sum()
        errors.append(float(total))
    return _penalised(x, y, weights, PENALTIES[errors.index(min(errors))])


def _penalised(x: Tensor, y: Tensor, weights: Tensor, penalty: float):
    w = (weights / weights.sum().clamp(min=1e-300))[:, None]
    centre, level = (w * x).sum(dim=0), (w * y).sum(dim=0)
    z = x - centre
    gram = z.T @ (w * z) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    slope = torch.linalg.solve(gram, z.T @ (w * (y - level)))
    return lambda new: level + (new - centre) @ slope


def _net(x: Tensor, y: Tensor, weights: Tensor, seed: int):
    """The mean of a few small nets on top of the line."""
    line = _line(x, y, weights, seed)
    rest = y - line(x)
    size = rest.std(dim=0).clamp(min=1e-12)
    nets = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for k in range(3):
            torch.manual_seed(seed + 101 * k)
            net = torch.nn.Sequential(
                torch.nn.Linear(x.shape[1], 16), torch.nn.Tanh(), torch.nn.Linear(16, y.shape[1])
            ).to(torch.float64)
            optimiser = torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=1e-3)
            for _ in range(200):
                optimiser.zero_grad()
                gap = ((net(x.clamp(-10, 10)) - rest / size) ** 2).sum(dim=1)
                (weights * gap).sum().backward()
                optimiser.step()
            nets.append(net)

    def fitted(z: Tensor) -> Tensor:
        with torch.no_grad():
            found = torch.stack([net(z.clamp(-10, 10)) for net in nets]).mean(dim=0)
        return line(z) + found * size

    return fitted
