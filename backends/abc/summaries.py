"""Summaries that are learned: the posterior mean, predicted from features of the data.

Raw data in many dimensions are never matched. What keeps most of their information in as many numbers as there are parameters is the posterior mean, which
a regression on simulations approximates.

References:
    | Constructing summary statistics for approximate Bayesian computation: semi-automatic ABC (Fearnhead and Prangle, 2012)
    | Learning summary statistic for approximate Bayesian computation via deep neural network (Jiang et al., 2017)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["KINDS", "Summary", "learned"]

#: Names that `summaries=` takes.
KINDS = ("auto", "raw", "linear", "net")
#: Items of a plate from which its order statistics and its autocovariances are features.
ITEMS, LAGS = 8, 5
#: Order statistics that are kept of more items.
ORDERED = 32
#: Penalties of the regression, of which a held-out fifth takes the best.
PENALTIES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)

#: From cells `(n, cells)` to summaries `(n, parameters)`.
Summary = Callable[[Tensor], Tensor]


def learned(
    kind: str, cells: Tensor, u: Tensor, groups: Mapping[str, tuple[slice, bool]], seed: int
) -> Summary:
    """A summary from simulations.

    Args:
        kind: `"linear"` or `"net"`.
        cells: Simulated data, `(n, cells)`.
        u: The parameters that they came from, on unbounded scales, `(n, parameters)`.
        groups: For each node its columns, and whether they are the members of one plate, one number each.
        seed: Decides what is held out, and how a net begins.
    """
    features = _Features(cells, groups)
    x = features(cells)
    level, size = u.mean(dim=0), u.std(dim=0).clamp(min=1e-12)
    fit = _net if kind == "net" else _regression
    fitted = fit(x, (u - level) / size, seed)
    return lambda new: fitted(features(new))


class _Features:
    """Numbers about the data from which parameters are predicted: each on a robust scale, bent so that none is far away.

    Args:
        cells: Simulated data, from which the scales come.
        groups: The columns of each node, and whether they are one plate.
    """

    def __init__(self, cells: Tensor, groups: Mapping[str, tuple[slice, bool]]):
        self._groups = dict(groups)
        self._scales = {}
        for name, (columns, plate) in self._groups.items():
            x = cells[:, columns]
            whole = x.reshape(-1, 1) if plate else x
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
        for name, (columns, plate) in self._groups.items():
            centre, spread = self._scales[name]
            x = torch.nan_to_num((cells[:, columns] - centre) / spread)
            bent = torch.asinh(x)
            if plate and x.shape[1] >= ITEMS:
                ordered = bent.sort(dim=1).values
                if x.shape[1] > ORDERED:
                    places = torch.linspace(0, x.shape[1] - 1, ORDERED).round().long()
                    ordered = ordered[:, places]
                found += [ordered, ordered**2, *_shape(x, ordered.shape[1])]
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


def _shape(x: Tensor, count: int) -> list[Tensor]:
    """The middle, the logarithm of the spread, and the order statistics without both."""
    ordered = x.sort(dim=1).values
    middle = ordered.median(dim=1, keepdim=True).values
    quarters = [ordered[:, [int(q * (x.shape[1] - 1))]] for q in (0.25, 0.75)]
    spread = (quarters[1] - quarters[0]).clamp(min=1e-12)
    places = torch.linspace(0, x.shape[1] - 1, count).round().long()
    return [torch.asinh(middle), spread.log(), torch.asinh((ordered[:, places] - middle) / spread)]


def _regression(x: Tensor, y: Tensor, seed: int) -> Summary:
    """Ridge, its penalty by a held-out fifth."""
    held = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)) < len(x) // 5
    design = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x], dim=1)

    def solution(rows: Tensor, penalty: float) -> Tensor:
        d = design[rows]
        gram = d.T @ d / len(d) + penalty * torch.eye(d.shape[1], dtype=torch.float64)
        return torch.linalg.solve(gram, d.T @ y[rows] / len(d))

    errors = [float(((y - design @ solution(~held, p))[held] ** 2).mean()) for p in PENALTIES]
    best = solution(torch.ones(len(x), dtype=torch.bool), PENALTIES[errors.index(min(errors))])
    return lambda new: torch.cat([torch.ones(len(new), 1, dtype=torch.float64), new], 1) @ best


def _net(x: Tensor, y: Tensor, seed: int) -> Summary:
    """Two hidden layers on top of the regression, stopped by a held-out fifth."""
    line = _regression(x, y, seed)
    rest = (y - line(x)).to(torch.float32)
    inner = x.to(torch.float32)
    generator = torch.Generator().manual_seed(seed)
    held = torch.randperm(len(x), generator=generator) < len(x) // 5
    train, test = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, y.shape[1]),
        )
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        best, waited = (float("inf"), {k: v.clone() for k, v in net.state_dict().items()}), 0
        for _ in range(100):
            order = train[torch.randperm(len(train), generator=generator)]
            for rows in order.split(256):
                optimiser.zero_grad()
                ((net(inner[rows]) - rest[rows]) ** 2).mean().backward()
                optimiser.step()
            with torch.no_grad():
                error = float(((net(inner[test]) - rest[test]) ** 2).mean())
            waited += 1
            if error < best[0]:
                best, waited = (error, {k: v.clone() for k, v in net.state_dict().items()}), 0
            if waited >= 8:
                break
        net.load_state_dict(best[1])

    def summary(new: Tensor) -> Tensor:
        with torch.no_grad():
            return line(new) + net(new.to(torch.float32)).to(torch.float64)

    return summary
