"""The answers of the gallery: what each page finds, under the names of the numbers that are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch

import ppl
from ppl.posterior.certificate import GRADES

from . import (
    asia,
    benchmark_tasks,
    burglary,
    eight_schools,
    flu_1978,
    galton_board,
    hidden_markov,
    island,
    kidney_stones,
    moving_average,
    networks,
    sprinkler,
)
from .case import Found

__all__ = [
    "animals",
    "averages",
    "board",
    "board_forwards",
    "board_learned",
    "burglars",
    "chain",
    "complex_posterior",
    "flu",
    "gardens",
    "learned",
    "linear",
    "mixture",
    "network",
    "patients",
    "schools",
    "stochastic_flu",
    "stones",
    "wide_averages",
]

#: Draws of each kind where two sets of draws are compared.
DRAWS = 5_000
#: Neural answers of the gallery are learned from so many simulations.
SIMULATIONS = 10_000


def several(
    posteriors: Iterable[ppl.Posterior], values: Mapping[str, float | tuple[float, float]]
) -> Found:
    """What several posteriors answered together: all their routes, and the worst of their grades."""
    found = list(posteriors)
    routes = dict.fromkeys(posterior.method for posterior in found)
    grade = max((p.certificate.grade for p in found), key=GRADES.index)
    return Found(values, ", ".join(routes), grade)


def moments(posterior: ppl.Posterior, **entries: tuple[str, int | tuple]) -> Found:
    """Means with their standard errors, and sds, of entries of nodes."""
    values: dict[str, float | tuple[float, float]] = {}
    for name, (node, at) in entries.items():
        marginal = posterior[node]
        values[name] = float(marginal.mean[at]), float(marginal.standard_error[at])
        values[f"sd of {name}"] = float(marginal.sd[at])
    return several([posterior], values)


def board(balls: list[int]) -> Found:
    """Mean, sd, interval and evidence of the slope."""
    found = ppl.infer(galton_board.galton_board(len(balls)), {"final": balls}, of="slope")
    low, high = found["slope"].interval(0.95)
    values = {"mean": float(found["slope"].mean), "sd": float(found["slope"].sd)}
    values |= {"2.5 %": float(low), "97.5 %": float(high), "log-evidence": found.log_evidence}
    return several([found], values)


def board_forwards() -> Found:
    """p(x | slope = -0.8)."""
    found = ppl.infer(galton_board.galton_board().do(slope=-0.8), {}, of="final")
    final = found["final"]
    values = {f"p(x = {x})": float(final.prob(x)[0]) for x in range(5, 26)}
    values |= {"mean": float(final.mean[0]), "sd": float(final.sd[0])}
    return several([found], values)


def board_learned(method: str | None) -> Found:
    """The simulator's slope beside the integrated one."""
    integrated = ppl.infer(galton_board.galton_board(), {"final": [22]}, of="slope")
    budget = None if method is None else ppl.Budget(simulations=SIMULATIONS)
    found = ppl.infer(galton_board.simulated_board(), {"final": 22}, method=method, budget=budget)
    values: dict[str, float | tuple[float, float]] = {
        "total variation": galton_board.total_variation(integrated, found)
    }
    slope = found["slope"]
    if method is None:
        values["mean"] = float(slope.mean), float(slope.standard_error)
        values["sd of mean"] = float(slope.sd)
    return several([found], values)


def burglars() -> Found:
    """A probability for each question."""
    found = burglary.answers()
    return several(found.values(), {t: float(p[p.of[0]].prob(1)) for t, p in found.items()})


def gardens() -> Found:
    """The probabilities of the tutorial."""
    plan = ppl.compile(sprinkler.garden, given=["wet"], of=["rain"])
    return Found(dict(sprinkler.table()), plan.routes[0].method, "A")


def patients() -> Found:
    """Every number that the paper prints."""
    found = {patient: asia.diagnosis(patient) for patient in asia.PATIENTS}
    values = {
        f"{node}, {patient}": float(posterior[node].prob(1))
        for patient, posterior in found.items()
        for node in posterior
    }
    return several(found.values(), values)


def network(name: str) -> Found:
    """The cost of all marginals at once, how many were found, and how far they are from forward simulation."""
    model, draws = networks.network(name), 4_000
    found = ppl.infer(model, {})
    seen, furthest = model.simulate(draws, seed=0), 0.0
    for node in found:
        p = found[node].probs
        often = torch.bincount(seen[node].long(), minlength=len(p)) / draws
        # A state that is expected less than once may still come once.
        furthest = max(
            furthest, float(((often - p).abs() / (p * (1 - p) / draws + draws**-2.0).sqrt()).max())
        )
    values = {"log2 of cells": networks.cost(found.plan), "marginals": float(len(found.of))}
    return several([found], values | {"from simulation": furthest})


def stones() -> Found:
    """Recovery, seen and done."""
    found = {
        f"P(recovered | {f'do({name})' if done else name})": kidney_stones.recovery(k, done)
        for done in (False, True)
        for k, name in enumerate("AB")
    }
    return several(found.values(), {t: float(p["recovered"].prob(1)) for t, p in found.items()})


def flu() -> Found:
    """Rates of the differential equation."""
    return moments(
        flu_1978.by_density(),
        **{n: (n, ()) for n in ("infection", "recovery", "reproduction", "recovery_time")},
    )


def stochastic_flu() -> Found:
    """How far the learned means are off in true sds, and how wide the learned posterior is beside the true one."""
    found, values = flu_1978.posterior(simulations=4_000), {}
    for name, (mean, sd) in flu_1978.CHAIN.items():
        values[f"{name} off, in sds"] = abs(float(found[name].mean) - mean) / sd
        values[f"width of {name}"] = float(found[name].sd) / sd
    return several([found], values)


def schools() -> Found:
    """Mean, spread, and two of the effects."""
    at = {"mu": ("mu", ()), "tau": ("tau", ()), "first": ("effect", 0), "fifth": ("effect", 4)}
    return moments(eight_schools.posterior(), **at)


def chain() -> Found:
    """Transitions and levels."""
    return moments(
        hidden_markov.posterior(),
        stay=("transition", (0, 0)),
        leave=("transition", (1, 0)),
        low=("level", 0),
        high=("level", 1),
    )


def averages() -> Found:
    """Both coefficients."""
    return moments(moving_average.integrated(), first=("first", ()), second=("second", ()))


def wide_averages() -> Found:
    """How much wider two autocovariances leave the coefficients; beyond a seventh of the sd is visible, beyond all of it would be a bug."""
    exact, found = moving_average.integrated(), moving_average.compared()
    values = {n: float(found[n].sd / exact[n].sd) for n in ("first", "second")}
    return several([found], {f"sd of {n} over the exact one": v for n, v in values.items()})


def linear() -> Found:
    """How far the means are from half of the data, and the sd."""
    found = benchmark_tasks.posterior("gaussian_linear", opaque=False)
    x = torch.tensor(benchmark_tasks.SEEN["gaussian_linear"], dtype=torch.float64)
    values = {"mean": float((found["theta"].mean - x / 2).abs().max())}
    return several([found], values | {"sd": float(found["theta"].sd.max())})


def mixture() -> Found:
    """Both coordinates of the mean."""
    found = benchmark_tasks.posterior("gaussian_mixture", opaque=False)
    return moments(found, first=("theta", 0), second=("theta", 1))


def complex_posterior() -> Found:
    """Two of the numbers have a sign that nothing tells; their sizes are compared."""
    found = benchmark_tasks.posterior("slcp", opaque=False)
    draws = found.sample(10_000)["theta"].double()
    draws[:, 2:4] = draws[:, 2:4].abs()
    errors = found["theta"].standard_error
    values: dict[str, float | tuple[float, float]] = {}
    for k in range(5):
        # A size has no larger a standard error than the number with its sign, and 10,000 draws of draws add their own.
        sd = float(draws[:, k].std())
        values[f"θ{k + 1}"] = float(draws[:, k].mean()), math.hypot(float(errors[k]), sd / 100)
        values[f"sd of θ{k + 1}"] = sd
    return several([found], values)


def learned(task: str) -> Found:
    """How far a learned posterior is from the true one, at most, over many directions."""
    found = benchmark_tasks.posterior(task, opaque=True, simulations=SIMULATIONS)
    gap = benchmark_tasks.apart(
        found.sample(DRAWS)["theta"], benchmark_tasks.reference(task, DRAWS)
    )
    return several([found], {"distribution functions apart": gap})


def animals() -> Found:
    """What was made with these rates is found again: within three posterior sds, or the net is wrong about its own certainty."""
    found, made = island.posterior(), island.MADE_WITH
    off = {n: abs(float((found[n].mean - v) / found[n].sd)) for n, v in made.items()}
    return several([found], {f"{name}, in posterior sds": z for name, z in off.items()})
