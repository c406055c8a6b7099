"""The certificate is judged: how many wrong answers pass, and how many good ones do not.

    python -m tests.benchmarks.certificate [--seeds 3] [--problems linear ...] [--methods npe nle] [--json cells.json]

Each cell is a problem with a known posterior, an observation drawn with its seed, and an estimator: trained on 10,000 simulations; the same made too narrow, shifted,
or without one of its modes; trained on 100 simulations. Its draws are told from draws of the known posterior by a classifier (C2ST, 1,000 of each, 5 folds, as in
`tests.benchmarks.neural`): good below .55, wrong above .7, nothing is asked in between. Grade C is asked of the model with its densities, grade D of the same
model as a simulator. Known posteriors are those that the plan finds from the densities: closed forms and quadrature.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

import ppl
from ppl.checks.check import calibrated
from ppl.checks.component import Component
from ppl.checks.importance import importance
from ppl.checks.simulated import flat
from ppl.distributions import Bernoulli, MultivariateNormal, Normal, Uniform
from ppl.posterior import Answer

from .neural import apart, say

#: Below it an answer is good, above it it is wrong.
GOOD, WRONG = 0.55, 0.7
#: At most so many of the wrong ones may pass, and at least so many of the good ones must.
TARGETS = {"C": 0.02, "D": 0.10}
PASSING = 0.90
DRAWS = 1000


# -- problems: the same model with its density, and as a simulator ----------------------------------


@dataclass(frozen=True)
class Problem:
    """A model twice.

    Args:
        explicit: With densities.
        opaque: As a simulator.
        mode: Which draws lie in the mode that is kept when another is left out; `None` where there is one only.
    """

    explicit: Callable[[], ppl.Model]
    opaque: Callable[[], ppl.Model]
    mode: Callable[[Mapping[str, Tensor]], Tensor] | None = None


def _linear(d: int, opaque: bool) -> ppl.Model:
    generator = torch.Generator().manual_seed(d)
    matrix = torch.eye(d, dtype=torch.float64) + 0.4 * torch.randn(
        d, d, generator=generator, dtype=torch.float64
    )
    model = ppl.Model(f"linear{d}")
    model.theta(lambda: Normal(torch.zeros(d), 1.0), name="theta")
    if opaque:
        model.observed(
            lambda theta: theta @ matrix.T + 0.5 * torch.randn_like(theta),
            name="x",
            vectorized=True,
        )
    else:
        cover = 0.25 * torch.eye(d, dtype=torch.float64)
        model.observed(lambda theta: MultivariateNormal(matrix @ theta, cover), name="x")
    return model


def _spread(opaque: bool) -> ppl.Model:
    """Five draws with unknown mean and spread."""
    model = ppl.Model("spread")
    model.theta(lambda: Normal(0.0, 1.0), name="mean")
    model.theta(lambda: Normal(0.0, 0.5), name="log_sd")
    draw = model.plate("draw", 5)
    if opaque:
        model.observed(
            lambda mean, log_sd: mean + log_sd.exp() * torch.randn_like(mean),
            name="x",
            plate=draw,
            vectorized=True,
        )
    else:
        model.observed(lambda mean, log_sd: Normal(mean, log_sd.exp()), name="x", plate=draw)
    return model


def _sign(opaque: bool) -> ppl.Model:
    """The square of a number is seen: its sign is not."""
    model = ppl.Model("sign")
    model.theta(lambda: Normal(0.0, 1.0), name="a")
    model.theta(lambda: Normal(0.0, 1.0), name="b")
    if opaque:
        model.observed(
            lambda a, b: (
                torch.stack([a**2, a**2 + b], dim=-1) + 0.2 * torch.randn(*a.shape, 2).to(a.dtype)
            ),
            name="x",
            vectorized=True,
        )
    else:
        model.observed(lambda a, b: Normal(torch.stack([a**2, a**2 + b]), 0.2), name="x")
    return model


def _noise(opaque: bool) -> ppl.Model:
    """One number, seen through little or much noise."""
    model = ppl.Model("noise")
    model.theta(lambda: Uniform(-3.0, 3.0), name="a")
    if opaque:
        model.observed(
            lambda a: a + torch.where(torch.rand_like(a) < 0.5, 0.1, 1.0) * torch.randn_like(a),
            name="x",
            vectorized=True,
        )
    else:
        model.latent(lambda: Bernoulli(0.5), name="much")
        model.observed(lambda a, much: Normal(a, [0.1, 1.0][much]), name="x")
    return model


def _waves(opaque: bool) -> ppl.Model:
    """A phase that a wave gives away up to its period: four modes."""
    model = ppl.Model("waves")
    model.theta(lambda: Uniform(-2.0, 2.0), name="a")
    if opaque:
        model.observed(
            lambda a: torch.sin(6 * a) + 0.2 * torch.randn_like(a), name="x", vectorized=True
        )
    else:
        model.observed(lambda a: Normal(torch.sin(6 * a), 0.2), name="x")
    return model


PROBLEMS = {
    "linear": Problem(lambda: _linear(3, False), lambda: _linear(3, True)),
    "linear8": Problem(lambda: _linear(8, False), lambda: _linear(8, True)),
    "spread": Problem(lambda: _spread(False), lambda: _spread(True)),
    "sign": Problem(lambda: _sign(False), lambda: _sign(True), lambda v: v["a"] > 0),
    "noise": Problem(lambda: _noise(False), lambda: _noise(True)),
    "waves": Problem(lambda: _waves(False), lambda: _waves(True), lambda v: v["a"] > 0),
}


# -- estimators that are wrong on purpose -----------------------------------------------------------


class Narrow(Answer):
    """Draws pulled towards their mean."""

    factor = 0.4

    def __init__(self, answer: Answer):
        self.names, self.certificate, self.answer = answer.names, answer.certificate, answer
        draws = answer.sample(500, 0)
        self.mean = {n: v.mean(dim=0) for n, v in draws.items()}
        self.sd = {n: v.std(dim=0) for n, v in draws.items()}

    def marginal(self, name: str) -> Any:
        return self.answer.marginal(name)

    def move(self, name: str, value: Tensor) -> Tensor:
        """Where a draw goes."""
        return self.mean[name] + self.factor * (value - self.mean[name])

    def back(self, name: str, value: Tensor) -> Tensor:
        """Where it came from."""
        return self.mean[name] + (value - self.mean[name]) / self.factor

    @property
    def stretch(self) -> float:
        """The log of how much volumes grow."""
        return float(sum(v.numel() for v in self.mean.values()) * numpy.log(self.factor))

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        return {name: self.move(name, v) for name, v in self.answer.sample(n, seed).items()}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        found = self.answer.log_prob({name: self.back(name, v) for name, v in values.items()})
        return torch.nan_to_num(found, nan=-torch.inf) - self.stretch


class Shifted(Narrow):
    """Draws off by more than a standard deviation in all."""

    factor = 1.0

    def move(self, name: str, value: Tensor) -> Tensor:
        return value + self.step * self.sd[name]

    def back(self, name: str, value: Tensor) -> Tensor:
        return value - self.step * self.sd[name]

    @property
    def step(self) -> float:
        """Standard deviations in each direction."""
        return 1.5 / sum(v.numel() for v in self.mean.values()) ** 0.5


class OneMode(Answer):
    """Draws of one mode only."""

    def __init__(self, answer: Answer, mode: Callable[[Mapping[str, Tensor]], Tensor]):
        self.names, self.certificate, self.answer, self.mode = (
            answer.names,
            answer.certificate,
            answer,
            mode,
        )

    def marginal(self, name: str) -> Any:
        return self.answer.marginal(name)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        draws = self.answer.sample(20 * n + 50, seed)
        rows = self.mode(draws).nonzero()[:, 0]
        rows = rows.repeat(-(-n // max(len(rows), 1)))[:n] if len(rows) else torch.arange(n)
        return {name: v[rows] for name, v in draws.items()}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        share = self.mode(self.answer.sample(2000, 0)).double().mean().clamp(min=1e-3)
        inside = self.mode(values)
        return torch.where(inside, self.answer.log_prob(values) - share.log(), -torch.inf)


@dataclass(frozen=True, eq=False)
class Broken:
    """A solver whose answers are changed."""

    solver: Any
    change: Callable[[Answer], Answer]

    def condition(self, data: Any) -> Sequence[Answer]:
        """As the solver, changed."""
        return [self.change(answer) for answer in self.solver.condition(data)]

    def brief(self, data: Any, draws: int) -> Answer:
        """One, changed."""
        cheap = getattr(self.solver, "brief", None)
        return self.change(cheap(data, draws) if cheap else self.solver.condition(data)[0])


# -- cells ----------------------------------------------------------------------------------------


def main() -> None:
    """All cells, and what passes."""
    text = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    text.add_argument("--seeds", type=int, default=3)
    text.add_argument("--first", type=int, default=0, help="the first seed")
    text.add_argument("--problems", nargs="*", choices=[*PROBLEMS], default=[*PROBLEMS])
    text.add_argument("--methods", nargs="*", choices=["npe", "nle"], default=["npe"])
    text.add_argument("--simulations", type=int, default=10_000)
    text.add_argument("--seconds", type=float, default=120.0, help="of each check of grade D")
    text.add_argument("--json", type=Path)
    asked = text.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    say(
        f"{'problem':<9}{'seed':>5} {'method':<5}{'estimator':<10}{'C2ST':>6}  {'C':<5}{'D':<5}{'s':>6}  refused by"
    )
    cells = []
    for name in asked.problems:
        for seed in range(asked.first, asked.first + asked.seeds):
            for method in asked.methods:
                cells += _cells(name, seed, method, asked)
                if asked.json:
                    asked.json.write_text(json.dumps(cells, indent=1))
    summed_up(cells)


def _cells(name: str, seed: int, method: str, asked: argparse.Namespace) -> list[dict]:
    problem = PROBLEMS[name]
    torch.manual_seed(seed)
    model = problem.explicit()
    names = [n.name for n in model.graph.nodes.values() if n.role == "theta"]
    x = model.simulate(1, seed=seed + 50)["x"][0]
    truth = ppl.infer(model, {"x": x}, of=names)
    assert truth.certificate.grade in ("A", "A′"), truth.method
    known = flat(truth.sample(DRAWS, seed), names).numpy()
    found = []
    plans = {}
    for simulations in (asked.simulations, 100):
        budget = ppl.Budget(simulations=simulations, seconds=600)
        plans[simulations] = [
            ppl.compile(m(), ["x"], names, method=method, budget=budget, seed=seed)
            for m in (problem.explicit, problem.opaque)
        ]
    changes: dict[str, tuple[int, Callable[[Answer], Answer]]] = {
        "good": (asked.simulations, lambda a: a),
        "narrow": (asked.simulations, Narrow),
        "shifted": (asked.simulations, Shifted),
        "100": (100, lambda a: a),
    }
    if problem.mode is not None:
        changes["one mode"] = asked.simulations, lambda a: OneMode(a, problem.mode)
    for label, (simulations, change) in changes.items():
        begun = time.monotonic()
        parts = [_part(plan, x, change, seed, asked.seconds) for plan in plans[simulations]]
        score = apart(known, flat(parts[1].answer.sample(DRAWS, seed + 9), names).numpy())
        score_c = apart(known, flat(parts[0].answer.sample(DRAWS, seed + 9), names).numpy())
        fresh = time.monotonic() + asked.seconds
        weighed = importance(replace(parts[0], until=fresh))
        passed_c = not isinstance(weighed, str) and all(t.passed for t in weighed)
        _, tests = calibrated(replace(parts[1], until=time.monotonic() + asked.seconds))
        passed_d = all(t.passed for t in tests)
        refused = [t.name for t in tests if not t.passed]
        why = [] if not isinstance(weighed, str) else [weighed]
        row = {
            "problem": name,
            "seed": seed,
            "method": method,
            "estimator": label,
            "C2ST": score,
            "C2ST explicit": score_c,
            "C": passed_c,
            "D": passed_d,
            "figures": {t.name: t.figure for t in [*tests, *([] if why else weighed)]},
        }
        found.append(row)
        say(
            f"{name:<9}{seed:>5} {method:<5}{label:<10}{score:6.3f}  {'pass' if passed_c else '-':<5}{'pass' if passed_d else '-':<5}"
            f"{time.monotonic() - begun:6.1f}  {', '.join(refused + why)}"
        )
    return found


def _part(plan: Any, x: Tensor, change: Callable, seed: int, seconds: float) -> Component:
    """One component of a plan, whose answers are changed."""
    posterior = plan.posterior({"x": x})
    (i,) = [k for k, route in enumerate(plan.routes) if route.ask]
    solver, route = Broken(plan._solver(i), change), plan.routes[i]
    data = posterior.data
    until = time.monotonic() + seconds
    answer = solver.change(posterior.answers[0])
    return Component(route.query, route.method, solver, answer, data, plan.budget, seed, until)


def summed_up(cells: Sequence[Mapping[str, Any]]) -> None:
    """How many pass."""
    pairs = {(c["problem"], c["seed"], c["method"]) for c in cells}
    say(f"\n{len(cells)} cells of {len(pairs)} (problem, seed, method)")
    for grade, key in (("C", "C2ST explicit"), ("D", "C2ST")):
        wrong = [c[grade] for c in cells if c[key] > WRONG]
        good = [c[grade] for c in cells if c[key] < GOOD]
        for kind, passed, goal, met in (
            ("wrong", wrong, f"≤ {TARGETS[grade]:.0%}", lambda s, g=grade: s <= TARGETS[g]),
            ("good", good, f"≥ {PASSING:.0%}", lambda s, g=grade: s >= PASSING),
        ):
            if passed:
                share = statistics.fmean(passed)
                said = "met" if met(share) else "MISSED"
                say(
                    f"grade {grade}: {sum(passed)} of {len(passed)} {kind} answers pass, {share:.1%} (target {goal}, {said})"
                )


if __name__ == "__main__":
    main()
