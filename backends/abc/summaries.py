"""Summaries that are learned: the posterior mean, predicted from features of the data.

Raw data in many dimensions are never matched. What keeps most of their information in as many numbers as there are parameters is the posterior mean, which
a regression on simulations approximates.

References:
    | Constructing summary statistics for approximate Bayesian computation: semi-automatic ABC (Fearnhead and Prangle, 2012)
    | Learning summary statistic for approximate Bayesian computation via deep neural network (Jiang et al., 2017)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .predictors import nets, ridge

__all__ = ["KINDS", "Summary", "learned"]

#: Names that `summaries=` takes.
KINDS = ("auto", "raw", "linear", "net")
#: Items of a plate from which its order statistics and its autocovariances are features.
ITEMS, LAGS = 8, 5
#: Order statistics that are kept of more items.
ORDERED = 32
#: Places of a row that are told apart.
PLACES = 32
#: Of a squared residual, in posterior variances, so that its logarithm is finite.
LEAST = 1e-6

#: From cells `(n, cells)` to summaries `(n, columns)`.
Summary = Callable[[Tensor], Tensor]


def learned(
    kind: str,
    cells: Tensor,
    u: Tensor,
    groups: Mapping[str, tuple[slice, str]],
    seed: int,
    count: int = 1,
    spread: bool = False,
) -> Summary:
    """A summary from simulations.

    Args:
        kind: `"linear"` or `"net"`.
        cells: Simulated data, `(n, cells)`.
        u: The parameters that they came from, on unbounded scales, `(n, parameters)`.
        groups: For each node its columns, and whether they are a sample, a row, or other numbers.
        seed: Decides what is held out, and how a net begins.
        count: Nets of which the summary is the mean.
        spread: Whether the logarithm of each parameter's remaining variance is predicted too, in columns after the means.
    """
    features = _Features(cells, groups)
    x = features(cells)
    level, size = u.mean(dim=0), u.std(dim=0).clamp(min=1e-12)
    y = (u - level) / size
    fitted = ridge(x, y, seed) if kind == "linear" else nets(x, y, seed, count)
    if not spread:
        return lambda new: fitted(features(new))
    scatter = ridge(x, ((y - fitted(x)) ** 2 + LEAST).log(), seed + 1)

    def both(new: Tensor) -> Tensor:
        x = features(new)
        return torch.cat([fitted(x), scatter(x)], dim=1)

    return both


class _Features:
    """Numbers about the data from which parameters are predicted: each on a robust scale, bent so that none is far away.

    Args:
        cells: Simulated data, from which the scales come.
        groups: The columns of each node, and whether they are a sample, a row, or other numbers.
    """

    def __init__(self, cells: Tensor, groups: Mapping[str, tuple[slice, str]]):
        self._groups = dict(groups)
        self._scales = {}
        for name, (columns, kind) in self._groups.items():
            x = cells[:, columns]
            whole = x if kind == "numbers" else x.reshape(-1, 1)
            centre = whole.nanmedian(dim=0).values
            spread = (whole - centre).abs().nanmedian(dim=0).values
            self._scales[name] = centre, torch.where(spread > 0, spread, torch.ones_like(spread))
        raw = self._raw(cells)
        self._centre = raw.mean(dim=0)
        self._spread = raw.std(dim=0)
        self._kept = self._spread > 1e-12

    def __call__(self, cells: Tensor) -> Tensor:
        return ((self._raw(cells) - self._centre) / self._spread)[:, self._kept].clamp(-10, 10)

    def _raw(self, cells: Tensor) -> Tensor:
        found = []
        for name, (columns, kind) in self._groups.items():
            centre, spread = self._scales[name]
            x = torch.nan_to_num((cells[:, columns] - centre) / spread)
            bent = torch.asinh(x)
            if kind != "numbers" and x.shape[1] >= ITEMS:
                if kind == "row":
                    # A curve that falls has the same values as one that rises.
                    found.append(_pooled(bent))
                items = x.sort(dim=1).values
                count = min(x.shape[1], ORDERED)
                places = torch.linspace(0, x.shape[1] - 1, count).round().long()
                ordered = torch.asinh(items[:, places])
                found += [ordered, ordered**2, *_shape(items, places), _moments(items)]
                for series in (bent, bent**2):
                    centred = series - series.mean(dim=1, keepdim=True)
                    found.append(centred.var(dim=1, keepdim=True).clamp(min=1e-12).log())
                    power = (centred**2).mean(dim=1).clamp(min=1e-12)
                    lags = [
                        (centred[:, k:] * centred[:, :-k]).mean(dim=1) / power
                        for k in range(1, LAGS + 1)
                    ]
                    found.append(torch.stack(lags, dim=1))
            else:
                found += [bent, bent**2]
        return torch.cat(found, dim=1)


def _pooled(row: Tensor) -> Tensor:
    """A row as means of neighbours, at most `PLACES` of them, `(n, places)`."""
    return torch.nn.functional.adaptive_avg_pool1d(row, min(row.shape[1], PLACES))


def _shape(ordered: Tensor, places: Tensor) -> list[Tensor]:
    """The middle, the logarithm of the spread, the order statistics without both, and how far the upper ones of them lie from the middle beside the lower ones."""
    last = ordered.shape[1] - 1
    low, middle, high = (ordered[:, [int(q * last)]] for q in (0.25, 0.5, 0.75))
    spread = (high - low).clamp(min=1e-12)
    level = (ordered[:, places] - middle) / spread
    half = level.shape[1] // 2
    lower = (-level[:, : half - 1]).clamp(min=1e-3).log()
    upper = level.flip(1)[:, : half - 1].clamp(min=1e-3).log()
    return [torch.asinh(middle), spread.log(), torch.asinh(level), upper - lower, upper + lower]


def _moments(ordered: Tensor) -> Tensor:
    """The logarithm of the second L-moment, and the ratios of the next four to it, `(n, 5)`: scale and shape, tails included."""
    n = ordered.shape[1]
    rank, weight = torch.arange(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    # b_r = mean of x_(i) · (i-1)···(i-r) / (n-1)···(n-r);  l_{r+1} = Σ_k (-1)^{r-k} C(r,k) C(r+k,k) b_k
    b = []
    for r in range(6):
        b.append(ordered @ weight / n)
        weight = weight * (rank - r) / (n - 1 - r)
    moments = [
        sum((-1) ** (r - k) * math.comb(r, k) * math.comb(r + k, k) * b[k] for k in range(r + 1))
        for r in range(1, 6)
    ]
    scale = moments[0].clamp(min=1e-12)
    return torch.stack([scale.log(), *(m / scale for m in moments[1:])], dim=1)
