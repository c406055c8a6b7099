"""Is the answer right at this observation? A classifier tells (data, true parameters) from (data, posterior draw); where it is sure, the posterior is wrong.

Looked at over all simulated data, and at the draws for the data that were observed (local C2ST). What nets say that have nothing to learn, because labels
were exchanged at random, is the scale.

References:
    | L-C2ST: local diagnostics for posterior approximations in simulation-based inference (Linhart, Gramfort and Rodrigues, 2023)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.stats import binom, norm
from torch import Tensor

from ..errors import BackendError
from ..posterior import Check
from .calibration import Pairs
from .classifier import Classifiers
from .component import Component
from .rows import columns, principal
from .simulated import flat, seen, simulate_data

__all__ = ["PAIRS", "local_checks", "more_pairs"]

#: Pairs that classifiers are trained on, at best; and the share of the time that may go into them.
PAIRS, SHARE = 1000, 0.5
#: Nets that have nothing to learn, nets that have, and draws of the posterior at which they are asked.
NULLS, NETS, DRAWS = 96, 4, 1000
#: A C2ST at this observation that must show, for the classifiers to tell anything.
TOLD = 0.95
#: Data become so many principal components.
COMPONENTS = 12


def more_pairs(
    component: Component, pairs: Pairs, tick: Callable[[], None] = lambda: None
) -> Pairs:
    """More simulated data sets with one posterior draw each, while there is time."""
    wanted, until = PAIRS - len(pairs), component.left * (1 - SHARE)
    if wanted <= 0 or component.seconds is not None or component.late:
        return pairs
    names = component.answer.names
    simulated = simulate_data(component.query, names, component.data, wanted, component.seed + 2)
    found = []
    for i, answer in enumerate(component.answers(simulated, 1)):
        try:
            drawn = flat(answer.sample(1, component.seed + i), names)[0]
        except BackendError:  # counted when calibration was looked at
            continue
        truth = flat({n: simulated.truth[n][i : i + 1] for n in names}, names)[0]
        found.append((seen(component.query, simulated.data.one(i))[0], truth, drawn))
        tick()
        if component.left <= until:
            break
    if not found:
        return pairs
    return pairs.and_(Pairs(*(torch.stack(column) for column in zip(*found, strict=True))))


def local_checks(component: Component, pairs: Pairs, level: float) -> list[Check]:
    """Over all observations, and at this one; each refuses this share of right posteriors."""
    n, names = len(pairs), component.answer.names
    here = seen(component.query, component.data.one(0))
    draws = flat(component.answer.sample(DRAWS, component.seed), names)
    theta = columns(torch.cat([pairs.truth, pairs.drawn, draws]))
    truth, drawn, at = theta[:n], theta[n : 2 * n], theta[2 * n :]
    every = principal(torch.cat([pairs.data, here]), COMPONENTS)
    data, x = every[:-1], every[-1:]
    train = torch.arange(n) < int(0.7 * n)
    generator = torch.Generator().manual_seed(component.seed)
    # Nets that have nothing to learn see each pair in random order.
    swap = torch.rand(NULLS, n, generator=generator) < 0.5
    swap = torch.cat([torch.zeros(NETS, n, dtype=torch.bool), swap])
    labels = torch.cat([swap[:, train].double(), 1 - swap[:, train].double()], dim=1)
    rows = (
        torch.cat([data[train], truth[train]], dim=1),
        torch.cat([data[train], drawn[train]], dim=1),
    )
    nets = Classifiers(torch.cat(rows).unsqueeze(0), labels, component.seed)
    return [
        _over_all(nets, data[~train], truth[~train], drawn[~train], n, level),
        _here(nets, x, at, n, level),
    ]


def _over_all(
    nets: Classifiers, data: Tensor, truth: Tensor, drawn: Tensor, n: int, level: float
) -> Check:
    one, other = (
        nets.logits(torch.cat([data, theta], dim=1).unsqueeze(0))[:NETS].mean(dim=0)
        for theta in (truth, drawn)
    )
    # Which of the two is the truth: a coin tossed once for each data set, if the posterior is right.
    right = int((other > one).sum())
    p = float(binom.sf(right - 1, len(data), 0.5))
    share = right / len(data)
    edge = 0.5 + norm.isf(level) * 0.5 / len(data) ** 0.5
    return Check(
        "classifier over all observations",
        p,
        f"≥ {level:.3g}",
        p >= level,
        f"p of telling true parameters from posterior draws in {share:.0%} of {len(data)} simulated data sets (half is chance)",
        f"trained on {n - len(data)}; would show {edge:.0%}",
    )


def _here(nets: Classifiers, x: Tensor, at: Tensor, n: int, level: float) -> Check:
    rows = torch.cat([x.expand((len(at), -1)), at], dim=1).unsqueeze(0)
    # How far the odds are from even at the draws of the posterior.
    sure = (torch.sigmoid(nets.logits(rows)) - 0.5).square().mean(dim=1).log().double()
    null = sure[NETS:]
    gap = (sure[:NETS].mean() - null.mean()) / null.std()
    p = float(norm.sf(float(gap)))
    edge = 0.5 + float((null.mean() + norm.isf(level) * null.std()).exp().sqrt())
    # Far from everything that was simulated all nets are sure of anything.
    told = edge < TOLD
    return Check(
        "classifier at this observation",
        p,
        f"≥ {level:.3g}",
        p >= level if told else None,
        "local C2ST: p of how sure classifiers are at the posterior draws"
        + ("" if told else "; too few simulated data sets are like this one to tell"),
        f"trained on {n} simulated data sets"
        + (f"; would show a C2ST of about {edge:.2f}" if told else ""),
    )
