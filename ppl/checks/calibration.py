"""Calibration: answers to data sets that were simulated with known parameters.

Plain ranks of the parameters are uniform for the prior, too, which learns nothing. So are the ranks of every statistic looked at that depends on the data: the
density of the answer (expected coverage of its densest regions), and the distance to what a regression on the data predicts.

References:
    | Simulation-based calibration checking for Bayesian computation: the choice of test quantities shapes sensitivity (Modrák et al., 2023)
    | A trust crisis in simulation-based inference? Your posterior approximations can be unfaithful (Hermans et al., 2022)
    | Sampling-based accuracy testing of posterior estimators for general inference (Lemos, Coogan, Hezaveh and Perreault-Levasseur, 2023)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from ..errors import BackendError, QueryError
from ..posterior import Answer, Check
from ..posterior.marginal import member_name
from .component import Component
from .ranks import p_values, rank, visible
from .simulated import flat, seen, simulate_data

__all__ = ["DATASETS", "FEWEST", "Calibration", "Pairs", "calibrate"]

#: Data sets by default, the fewest that say anything, and posterior draws for each.
DATASETS, FEWEST, DRAWS = 200, 50, 99
#: Numbers of the parameters whose ranks are looked at, at most.
ENTRIES = 24
#: Simulated data sets from which the regression learns, and its penalty.
LEARNED, RIDGE = 2000, 1e-3


@dataclass(frozen=True, eq=False)
class Pairs:
    """Simulated data sets with their true parameters, and with parameters from the posterior instead; alike if it is right.

    Args:
        data: `(datasets, columns)`.
        truth: `(datasets, parameters)`.
        drawn: `(datasets, parameters)`.
    """

    data: Tensor
    truth: Tensor
    drawn: Tensor

    def __len__(self) -> int:
        return len(self.data)

    def and_(self, other: Pairs) -> Pairs:
        """Both."""
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Pairs(*(torch.cat(pair) for pair in both))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of the truth among posterior draws.

    Args:
        names: Of the statistics: numbers of the parameters, then `"density"` and `"distance"` as far as they are known.
        ranks: From 0 to `draws`, `(datasets, statistics)`.
        draws: Posterior draws for each data set.
        pairs: Data with their true parameters and with a posterior draw.
    """

    names: tuple[str, ...]
    ranks: Tensor
    draws: int
    pairs: Pairs

    def __len__(self) -> int:
        return len(self.ranks)

    def of(self, *names: str) -> Tensor:
        """The ranks of some statistics, `(datasets, statistics)`."""
        return self.ranks[:, [self.names.index(n) for n in names]]

    @property
    def parameters(self) -> list[str]:
        """The statistics that are numbers of the parameters."""
        return [n for n in self.names if n not in ("density", "distance")]

    def checks(self, level: float) -> list[Check]:
        """A check for each kind of statistic; each refuses this share of calibrated posteriors."""
        n = len(self)
        found = []
        for name, which, text in (
            (
                "ranks of the parameters",
                self.parameters,
                "simulation-based calibration: p of uniform ranks",
            ),
            ("expected coverage", ["density"], "ranks of the posterior density: p"),
            (
                "TARP coverage",
                ["distance"],
                "ranks of the distance to what a regression predicts: p",
            ),
        ):
            if not set(which) <= set(self.names):
                continue
            p = p_values(self.of(*which), self.draws)
            least = min(1.0, float(p.min()) * len(which))
            worst = f", least for {which[int(p.argmin())]}" if len(which) > 1 else ""
            found.append(
                Check(
                    name,
                    least,
                    f"≥ {level:.3g}",
                    least >= level,
                    f"{text} over {n} simulated data sets{worst}",
                    visible(n, level / len(which)),
                )
            )
        return found


def calibrate(
    component: Component, datasets: int = DATASETS, tick: Callable[[], None] = lambda: None
) -> Calibration | str:
    """Answer simulated data sets; a text says why that cannot be done.

    Args:
        component: What is checked.
        datasets: How many.
        tick: Called after each.
    """
    if component.seconds is not None and component.seconds * FEWEST > component.left:
        return (
            f"{component.method} begins anew for each observation, which took {component.seconds:.0f} s: {FEWEST} simulated data sets need "
            f"check(budget=ppl.Budget(seconds={component.seconds * FEWEST * 1.2:.0f}))"
        )
    names = component.answer.names
    try:
        simulated = simulate_data(component.query, names, component.data, datasets, component.seed)
    except (BackendError, QueryError) as error:
        return str(error)
    distance = _distance(component, names)
    generator = torch.Generator().manual_seed(component.seed)
    labels = [
        member_name(name, at)
        for name in names
        for at in numpy.ndindex(*simulated.truth[name].shape[1:])
    ]
    wide = len(labels)
    picked = torch.linspace(0, wide - 1, min(wide, ENTRIES)).round().long()
    rows: list[Tensor] = []
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    dense, failed, begun = True, 0, component.left
    for i, answer in enumerate(component.answers(simulated, DRAWS)):
        truth = {n: simulated.truth[n][i : i + 1] for n in names}
        try:
            sample = answer.sample(DRAWS, component.seed + i)
            both = {n: torch.cat([truth[n].to(sample[n].dtype), sample[n]]) for n in names}
            density = _density(answer, both) if dense else None
        except BackendError as error:
            # An engine that cannot answer what the model itself has made is not calibrated there.
            failed += 1
            if failed > max(datasets // 20, 2):
                return f"{component.method} could not answer {failed} of {i + 1} simulated data sets: {error}"
            continue
        if dense and density is None:
            dense, rows, pairs = False, [], []
        values, data = flat(both, names), seen(component.query, simulated.data.one(i))
        statistics = [values[:, picked]]
        statistics += [] if density is None else [density.unsqueeze(1)]
        statistics.append(distance(data, values).unsqueeze(1))
        every = torch.cat(statistics, dim=1)
        rows.append(rank(every[0], every[1:], generator))
        pairs.append((data[0], values[0], values[1]))
        tick()
        if component.late:
            break
    if len(rows) < FEWEST:
        needed = begun / max(len(rows), 1) * FEWEST * 1.2
        return (
            f"{len(rows)} simulated data sets could be answered in {begun:.0f} s, and {FEWEST} are needed: about "
            f"check(budget=ppl.Budget(seconds={needed:.0f}))"
        )
    found = [labels[int(k)] for k in picked] + ["density"] * dense + ["distance"]
    together = Pairs(*(torch.stack(column) for column in zip(*pairs, strict=True)))
    return Calibration(tuple(found), torch.stack(rows), DRAWS, together)


def _density(answer: Answer, values: Mapping[str, Tensor]) -> Tensor | None:
    """log q of the truth and the draws, `(1 + draws,)`; `None` where the answer has no density."""
    try:
        found = answer.log_prob(values)
    except BackendError:
        return None
    return torch.nan_to_num(found.to(torch.float64), nan=-torch.inf)


def _distance(component: Component, names: Sequence[str]) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance of parameters to what their regression on the data predicts, `(rows,)`, of data `(1, columns)` and parameters `(rows, columns)`.

    The regression is ridge on the data and their squares; it need not be good, only to depend on the data (TARP with references near the truth).
    """
    learned = simulate_data(component.query, names, component.data, LEARNED, component.seed + 1)
    theta, x = flat(learned.truth, names), _features(seen(component.query, learned.data))
    mean, sd = theta.mean(dim=0), theta.std(dim=0)
    sd = torch.where(sd > 0, sd, 1.0)
    centre, scale = x.mean(dim=0), x.std(dim=0)
    scale = torch.where(scale > 0, scale, 1.0)

    def design(features: Tensor) -> Tensor:
        return ((features - centre) / scale).clamp(-10, 10)

    rows = design(x)
    gram = rows.T @ rows + RIDGE * len(rows) * torch.eye(rows.shape[1], dtype=rows.dtype)
    weights = torch.linalg.solve(gram, rows.T @ ((theta - mean) / sd))

    def distance(data: Tensor, values: Tensor) -> Tensor:
        guess = design(_features(data)) @ weights
        return (((values - mean) / sd - guess) ** 2).sum(dim=1)

    return distance


def _features(x: Tensor) -> Tensor:
    """The data and their squares, the largest drawn in."""
    drawn = torch.asinh(x)
    return torch.cat([drawn, drawn**2], dim=1)
