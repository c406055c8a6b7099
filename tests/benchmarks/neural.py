"""Neural estimators: how near their draws come to reference posteriors, in how many CPU seconds, beside the published figures and beside sbi.

    python -m tests.benchmarks.neural [amortised] [peers] [sequential] [board] [calibration] [options]

`amortised`: five tasks, whatever the plan picks by itself. `peers`: npe and nle beside sbi's. `sequential`: ten rounds, beside sbi's. `board`: the
generalised Galton board, beside its exact posterior. `calibration`: the ranks of true parameters among posterior draws.

Needs `pip install sbibm==1.1.0 --no-deps` for observations and reference posteriors, and scikit-learn for the classifier. sbi runs in an interpreter of
its own: `--peers PYTHON` or the variable GALTON_PEERS names one in which `pip install sbi==0.27.0` was done; without either it is the one that runs this.
All run on one thread, and seconds are CPU seconds. Standard errors of C2ST are of the mean over seeds: observations are fixed.

C2ST is the accuracy of a net (two layers, ten times as wide as the parameters are many) that tells draws from the reference, both standardised by the
reference, in k-fold cross-validation (Lueckmann et al. 2021, who use 10,000 draws of each and 5 folds). `--draws 10000` is their definition; with fewer
draws, as by default, the classifier has less to learn from, so that small differences show less: the score is nearer to 0.5.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy
import torch
from torch import Tensor

import ppl
from ppl.checks.ranks import p_values
from ppl.distributions import MultivariateNormal, Normal, Uniform

from . import simulators
from .tasks import table

#: Published mean C2ST at 10,000 simulations (Lueckmann et al. 2021, ten observations).
PUBLISHED = {
    "two_moons": {"npe": 0.606, "nle": 0.713, "apt": 0.554, "snl": 0.571, "snre": 0.582},
    "gaussian_mixture": {"npe": 0.661, "nle": 0.731, "apt": 0.583, "snl": 0.702, "snre": 0.662},
    "slcp": {"npe": 0.901, "nle": 0.771, "apt": 0.845, "snl": 0.713, "snre": 0.917},
    "bernoulli_glm": {"npe": 0.678, "nle": 0.605, "apt": 0.614, "snl": 0.553, "snre": 0.584},
    "gaussian_linear": {"npe": 0.552, "nle": 0.555, "apt": 0.544, "snl": 0.548, "snre": 0.536},
}
#: What the plan should reach by itself, by simulations.
TARGETS = {
    10_000: {
        "two_moons": 0.54,
        "gaussian_mixture": 0.54,
        "slcp": 0.60,
        "bernoulli_glm": 0.60,
        "gaussian_linear": 0.53,
    },
    1_000: {"two_moons": 0.63, "gaussian_mixture": 0.60, "slcp": 0.77},
}
#: The name that sbi gives to what ours is called.
AT_SBI = {"npe": "NPE", "nle": "NLE", "apt": "NPE", "snl": "NLE", "snre": "NRE"}
#: sbi's own CPU time that ours may take.
SHARES = {"npe": 1 / 3, "nle": 1 / 8, "apt": 1 / 3, "snl": 1 / 3, "snre": 1 / 3}
#: p(x | θ = -0.8) of the Galton board at x = 5, 15, 22 and 25, computed elsewhere.
KNOWN = (0.00110, 0.05927, 0.05091, 0.00162)
#: Draws that are timed, whatever number the classifier sees.
TIMED = 10_000


def main() -> None:
    """All parts, or those that are named."""
    parts = {f.__name__: f for f in (amortised, peers, sequential, board, calibration)}
    asked = _arguments(list(parts))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"C2ST with {asked.draws:,} draws of each and {asked.folds} folds; {asked.seeds} seeds; CPU seconds on one thread"
    )
    warm()
    for name in asked.parts or parts:
        parts[name](asked)


def _arguments(parts: Sequence[str]) -> argparse.Namespace:
    text = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.neural",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text.add_argument("parts", nargs="*", metavar="part", help=", ".join(parts))
    text.add_argument("--draws", type=int, default=2_000, help="of each kind for C2ST")
    text.add_argument("--folds", type=int, default=5, help="of the cross-validation for C2ST")
    text.add_argument("--seeds", type=int, default=3)
    text.add_argument("--observations", type=int, default=5, help="the first so many, up to 10")
    text.add_argument("--simulations", type=int, nargs="*", default=[10_000, 1_000])
    text.add_argument("--tasks", nargs="*", help="only these", choices=[*PUBLISHED])
    text.add_argument("--methods", nargs="*", help="only these, in all parts but amortised")
    text.add_argument("--peers", default=os.environ.get("GALTON_PEERS", sys.executable))
    text.add_argument("--peer-seconds", type=float, default=900, help="of sbi's rounds, at most")
    text.add_argument("--keep", type=Path, help="a folder where sbi's results are kept and read")
    text.add_argument("--side", choices=["ours", "sbi"], help="only one side of a comparison")
    text.add_argument("--datasets", type=int, default=200, help="of the calibration")
    asked = text.parse_args()
    unknown = [p for p in asked.parts if p not in parts]
    if unknown:
        text.error(f"there is no part '{unknown[0]}'; there are {', '.join(parts)}")
    return asked


def wanted(asked: argparse.Namespace, method: str, task: str | None = None) -> bool:
    """Whether a row was asked for."""
    fits = asked.methods is None or method in asked.methods
    return fits and (task is None or asked.tasks is None or task in asked.tasks)


def warm() -> None:
    """Learn a little of everything: imports and first calls are outside the clock, as they are for sbi."""
    for method in ("npe", "nle", "nre"):
        quick = ppl.Method(method, epochs=1)
        plan = ppl.compile(two_moons(), ["x"], method=quick, budget=budget(200))
        plan.posterior({"x": torch.zeros(2)}).sample(10)


def say(text: str = "") -> None:
    """Print at once: the next row may take minutes."""
    print(text, flush=True)


# -- tasks ----------------------------------------------------------------------------------------


def two_moons() -> ppl.Model:
    """Two crescents."""
    return _opaque("two_moons", lambda: Uniform(-torch.ones(2), 1), simulators.two_moons)


def gaussian_mixture() -> ppl.Model:
    """A mean under two noise levels."""
    return _opaque(
        "gaussian_mixture", lambda: Uniform(-10 * torch.ones(2), 10), simulators.gaussian_mixture
    )


def slcp() -> ppl.Model:
    """Four points, as a plate."""
    return _opaque("slcp", lambda: Uniform(-3 * torch.ones(5), 3), simulators.slcp_point, plate=4)


def bernoulli_glm() -> ppl.Model:
    """A spiking neuron, seen through its sufficient summaries."""
    covariance = torch.linalg.inv(simulators.spikes_precision())
    return _opaque(
        "bernoulli_glm",
        lambda: MultivariateNormal(torch.zeros(10, dtype=torch.float64), covariance),
        lambda theta: simulators.spikes(theta.double()),
    )


def gaussian_linear() -> ppl.Model:
    """Ten means."""
    return _opaque(
        "gaussian_linear",
        lambda: Normal(torch.zeros(10), math.sqrt(0.1)),
        simulators.gaussian_linear,
    )


TASKS = {f.__name__: f for f in (two_moons, gaussian_mixture, slcp, bernoulli_glm, gaussian_linear)}


def _opaque(
    name: str, prior: Callable, simulate: Callable[[Tensor], Tensor], plate: int | None = None
) -> ppl.Model:
    """A model of one θ and one x that a simulator gives."""
    model = ppl.Model(name)
    model.theta(prior, name="theta")
    where = {} if plate is None else {"plate": model.plate("point", plate)}
    model.observed(lambda theta: simulate(theta), name="x", vectorized=True, **where)
    return model


@cache
def observed(task: str, number: int) -> dict[str, Tensor]:
    """One of the ten observations, as the model takes it."""
    one = simulators.files(task) / f"num_observation_{number}"
    x = torch.from_numpy(table(one / "observation.csv")).reshape(-1)
    return {"x": x.reshape(4, 2) if task == "slcp" else x}


@cache
def reference(task: str, number: int) -> numpy.ndarray:
    """The 10,000 draws of the reference posterior of an observation."""
    one = simulators.files(task) / f"num_observation_{number}"
    return table(one / "reference_posterior_samples.csv.bz2")


def c2st(task: str, number: int, draws: numpy.ndarray, asked: argparse.Namespace) -> float:
    """How well draws are told from those of the reference posterior."""
    return apart(reference(task, number)[: asked.draws], draws[: asked.draws], asked.folds)


def apart(one: numpy.ndarray, other: numpy.ndarray, folds: int = 5) -> float:
    """C2ST: accuracy of a classifier that tells draws from those of a reference, which come first; 0.5 is perfect."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    mean, sd = one.mean(axis=0), one.std(axis=0)
    x = numpy.concatenate([(one - mean) / sd, (other - mean) / sd])
    y = numpy.repeat([0, 1], [len(one), len(other)])
    width = 10 * x.shape[1]
    net = MLPClassifier((width, width), max_iter=10_000, random_state=1)
    parts = KFold(folds, shuffle=True, random_state=1)
    with threadpool_limits(1):
        return float(cross_val_score(net, x, y, cv=parts, scoring="accuracy").mean())


def over_seeds(scores: Sequence[Sequence[float]]) -> str:
    """Mean and standard error of scores, `(seeds, observations)`."""
    means = [statistics.fmean(s) for s in scores]
    error = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return f"{statistics.fmean(means):.3f} ± {error:.3f}"


def verdict(good: bool) -> str:
    """Whether a target is met."""
    return "met" if good else "MISSED"


class Clock:
    """CPU seconds since it was last asked."""

    def __init__(self):
        self.begun = time.process_time()

    def lap(self) -> float:
        now = time.process_time()
        spent, self.begun = now - self.begun, now
        return spent


def budget(simulations: int) -> ppl.Budget:
    """So many simulations; the clock on the wall, which other processes share, should stop nothing."""
    return ppl.Budget(simulations=simulations, seconds=3600)


# -- what the plan picks --------------------------------------------------------------------------


def amortised(asked: argparse.Namespace) -> None:
    """C2ST of the plan's own choice on five tasks, over observations and seeds."""
    say(f"\namortised: the plan's own choice, observations 1-{asked.observations}")
    say(
        f"{'task':<17}{'sims':>7} {'method':<8} {'C2ST':<15} {'target':<14} {'published NPE/NLE/best in rounds':<33} {'training s':>10} {'10,000 draws s':>15}  by observation"
    )
    for simulations in asked.simulations:
        for task in asked.tasks or TASKS:
            _amortised(asked, task, simulations)


def _amortised(asked: argparse.Namespace, task: str, simulations: int) -> None:
    scores, trained, drawn, methods = [], [], [], {}
    for seed in range(asked.seeds):
        model, plan, row = TASKS[task](), None, []
        for number in range(1, asked.observations + 1):
            clock = Clock()
            # Few simulations are made for one observation; many serve all of them.
            if simulations < 10_000:
                found = ppl.infer(
                    model, observed(task, number), budget=budget(simulations), seed=seed
                )
                trained.append(clock.lap())
            else:
                plan = plan or ppl.compile(model, ["x"], budget=budget(simulations), seed=seed)
                found = plan.posterior(observed(task, number))
                if number == 1:
                    trained.append(clock.lap())
            draws = found.sample(TIMED, seed=seed)["theta"].numpy()
            drawn.append(clock.lap())
            methods[found.method] = None
            row.append(c2st(task, number, draws, asked))
        scores.append(row)
    published = PUBLISHED[task]
    best = min(published[m] for m in ("apt", "snl", "snre"))
    known = f"{published['npe']:.3f}/{published['nle']:.3f}/{best:.3f}"
    target = TARGETS.get(simulations, {}).get(task)
    mean = statistics.fmean(map(statistics.fmean, scores))
    aim = "-" if target is None else f"{target:.2f} {verdict(mean <= target)}"
    each = " ".join(f"{statistics.fmean(s):.3f}" for s in zip(*scores, strict=True))
    say(
        f"{task:<17}{simulations:>7,} {','.join(methods):<8} {over_seeds(scores):<15} {aim:<14} {known if simulations == 10_000 else '-':<33}"
        f" {statistics.fmean(trained):10.1f} {statistics.fmean(drawn):15.1f}  {each}"
    )


# -- beside sbi -----------------------------------------------------------------------------------


def peers(asked: argparse.Namespace) -> None:
    """npe and nle at 10,000 simulations beside sbi's, observation 1."""
    say(
        "\npeers: 10,000 simulations, observation 1, seed 0; seconds of training and of 10,000 draws"
    )
    say(_beside_header())
    for task in ("two_moons", "slcp"):
        for method in ("npe", "nle"):
            if wanted(asked, method, task):
                _beside(asked, task, method, 1)


def sequential(asked: argparse.Namespace) -> None:
    """Ten rounds of 1,000 simulations beside sbi's, observation 1."""
    say(
        f"\nsequential: 10 rounds of 1,000 simulations; sbi on observation 1, stopped after the round that passes {asked.peer_seconds:.0f} s ('>')"
    )
    say(_beside_header())
    for task in ("two_moons", "slcp"):
        for method in ("apt", "snl", "snre"):
            if wanted(asked, method, task):
                _beside(asked, task, method, 10)


def _beside_header() -> str:
    return (
        f"{'task':<11}{'method':<8}{'C2ST':>7}{'sbi':>8}{'published':>11}  {'training + draws s':<20}{'sbi':<20}{'time/sbi':>10}  "
        f"{'target':>8}  verdict"
    )


def _beside(asked: argparse.Namespace, task: str, method: str, rounds: int) -> None:
    """One row: ours, and sbi's on observation 1. NPE's time is its training, the others' is with the draws."""
    ours = (math.nan,) * 3 if asked.side == "sbi" else _ours(asked, task, method, rounds)
    theirs = None if asked.side == "ours" else at_sbi(asked, task, AT_SBI[method], rounds)
    score, trained, drawn = ours
    with_draws = method != "npe"
    mine = trained + with_draws * drawn
    cells, ratio, other, bound = "-", math.nan, math.nan, ""
    if theirs is not None:
        bound = "" if theirs["complete"] else ">"
        # What was stopped has no draws: what it took until then is less than all.
        spent = theirs["trained"] + (with_draws * theirs["drawn"] if theirs["complete"] else 0)
        ratio = mine / spent
        cells = f"{bound}{theirs['trained']:.1f} + {theirs['drawn']:.1f}"
        if theirs["complete"]:
            other = c2st(task, 1, theirs["draws"], asked)
        else:
            cells += f" ({theirs['rounds']} rounds)"
    goal, published = SHARES[method], PUBLISHED[task].get(method, math.nan)
    # Amortised: at least as good as sbi. In rounds: at least as good as published.
    needed = published if rounds > 1 else other
    met = [verdict(score <= needed) + " C2ST" if needed == needed and score == score else ""]
    met.append(verdict(ratio <= goal) + " time" if ratio == ratio else "")
    say(
        f"{task:<11}{method:<8}{score:7.3f}{other:8.3f}{published:11.3f}  {f'{trained:.1f} + {drawn:.1f}':<20}{cells:<20}"
        f"{('<' if bound else '') + f'{ratio:.3f}':>10}  {'≤ ' + f'{goal:.3f}':>8}  {', '.join(filter(None, met))}"
    )


def _ours(asked: argparse.Namespace, task: str, method: str, rounds: int) -> tuple:
    """C2ST, seconds of training, and seconds of 10,000 draws; observation 1, or the mean over observations in rounds."""
    if rounds == 1:
        clock = Clock()
        plan = ppl.compile(TASKS[task](), ["x"], method=method, budget=budget(10_000), seed=0)
        found = plan.posterior(observed(task, 1))
        trained = clock.lap()
        draws = found.sample(TIMED)["theta"].numpy()
        drawn = clock.lap()  # before the classifier, whose time is nobody's
        return c2st(task, 1, draws, asked), trained, drawn
    rows = []
    for seed in range(asked.seeds):
        for number in range(1, asked.observations + 1):
            clock = Clock()
            found = ppl.infer(
                TASKS[task](),
                observed(task, number),
                method=ppl.Method(method, rounds=rounds),
                budget=budget(10_000),
                seed=seed,
            )
            trained = clock.lap()
            draws = found.sample(TIMED)["theta"].numpy()
            drawn = clock.lap()
            rows.append((c2st(task, number, draws, asked), trained, drawn))
            score = rows[-1][0]
            say(
                f"    {task} {method} seed {seed} observation {number}: {score:.3f}, {trained:.1f} + {drawn:.1f} s"
            )
    return tuple(map(statistics.fmean, zip(*rows, strict=True)))


def at_sbi(asked: argparse.Namespace, task: str, method: str, rounds: int) -> dict:
    """What sbi answers in its own interpreter, or answered before: draws, seconds and rounds."""
    question = {
        "method": method,
        "task": task,
        "observation": observed(task, 1)["x"].reshape(-1).tolist(),
        "simulations": 10_000 // rounds,
        "rounds": rounds,
        "draws": TIMED,
        "seconds": asked.peer_seconds if rounds > 1 else 1e6,
        "seed": 0,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{task}-{method}-{rounds}"
        asking, answer = folder / f"{stem}.json", folder / f"{stem}.npz"
        if not answer.exists() or json.loads(asking.read_text()) != question:
            asking.write_text(json.dumps(question))
            command = [asked.peers, "-m", "tests.benchmarks.neural_peers", str(asking), str(answer)]
            one = {n: "1" for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
            place = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
            run = subprocess.run(
                command, env=os.environ | one | place, cwd=temporary, capture_output=True, text=True
            )
            if run.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
        with numpy.load(answer) as found:
            return {n: found[n] if n == "draws" else found[n].item() for n in found.files}


# -- the Galton board -----------------------------------------------------------------------------


def ball(theta: Tensor) -> Tensor:
    """Where one ball of the generalised Galton board ends, `(n,)` whole numbers (Brehmer et al., PNAS 2020)."""
    position = torch.full_like(theta, 15.0)
    for row in range(20):
        left = (torch.rand_like(theta) < goes_left(position, theta, row)).to(theta.dtype)
        position = position + 1 - left if row % 2 == 0 else position - left
    return position.to(torch.int64)


def goes_left(position: Tensor, theta: Tensor, row: int) -> Tensor:
    """The probability that the ball goes left at a nail."""
    s = math.sin(math.pi * row / 19)
    return (1 - s) / 2 + s * torch.sigmoid(10 * theta * (2 * position / 30 - 1))


def board_model() -> ppl.Model:
    """One ball, as one opaque simulator."""
    model = ppl.Model("board")
    model.theta(lambda: Uniform(-2, 2), name="theta")
    model.observed(lambda theta: ball(theta), name="x", vectorized=True)
    return model


def board_likelihood(theta: Tensor) -> Tensor:
    """p(x | θ) for positions 0 … 30, `(n, 31)`: the path is a chain, and 20 small steps sum it out."""
    place = torch.arange(31, dtype=torch.float64)
    mass = (place == 15).to(torch.float64).expand(len(theta), 31)
    for row in range(20):
        p = goes_left(place, theta.unsqueeze(1), row)
        if row % 2 == 0:  # left stays, right is one further
            mass = mass * p + (mass * (1 - p)).roll(1, dims=1)
        else:  # left is one back, right stays
            mass = (mass * p).roll(-1, dims=1) + mass * (1 - p)
    return mass


def board(asked: argparse.Namespace) -> None:
    """Total variation between each family's posterior of the slope and the exact one, one ball at 22, by densities on a fine grid."""
    known = board_likelihood(torch.tensor([-0.8], dtype=torch.float64))[0]
    assert torch.allclose(known[[5, 15, 22, 25]], torch.tensor(KNOWN).double(), atol=6e-6)
    shown = ", ".join(f"{float(known[k]):.5f}" for k in (5, 15, 22, 25))
    say(f"\nboard: one ball at 22, 10,000 simulations; p(x | -0.8) at 5, 15, 22, 25 is {shown}")
    cells = 4_000
    grid = -2 + 4 * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    exact = board_likelihood(grid)[:, 22]
    exact = exact / exact.sum()
    mean = float(exact @ grid)
    sd = float((exact @ (grid - mean) ** 2).sqrt())
    say(f"exact mean {mean:.4f}, sd {sd:.4f}; {cells:,} cells, densities normalised on them")
    say(
        f"{'method':<8}{'seed':>5}{'TV':>8}{'TV of draws':>13}{'mean':>9}{'sd':>8}{'training s':>12}{'draws s':>9}  target"
    )
    for method in ("npe", "nle", "nre"):
        for seed in range(asked.seeds if wanted(asked, method) else 0):
            clock = Clock()
            plan = ppl.compile(
                board_model(), ["x"], method=method, budget=budget(10_000), seed=seed
            )
            found = plan.posterior({"x": 22})
            trained = clock.lap()
            draws = found.sample(TIMED)["theta"].double().reshape(-1)
            drawn = clock.lap()
            density = found.log_prob({"theta": grid}).double().exp()
            density = density / density.sum()
            apart = 0.5 * float((density - exact).abs().sum())
            # Draws in 20 cells: blurred, and about 0.01 even if they were exact; it tells a density that is not the draws'.
            coarse = torch.histc(draws, 20, -2, 2) / len(draws)
            blurred = 0.5 * float((coarse - exact.reshape(20, -1).sum(dim=1)).abs().sum())
            say(
                f"{method:<8}{seed:>5}{apart:8.4f}{blurred:13.4f}{float(draws.mean()):9.4f}{float(draws.std()):8.4f}{trained:12.1f}{drawn:9.1f}"
                f"  ≤ 0.04 {verdict(apart <= 0.04)}"
            )


# -- calibration ----------------------------------------------------------------------------------


def five_draws() -> tuple[ppl.Model, Callable, Callable]:
    """Five draws of a Gaussian with unknown mean and log standard deviation, in a plate."""
    model = ppl.Model("five draws")
    model.theta(lambda: Normal(0.0, 1.0), name="mean")
    model.theta(lambda: Normal(0.0, 0.5), name="log_sd")
    draw = model.plate("draw", 5)
    model.observed(
        lambda mean, log_sd: mean + log_sd.exp() * torch.randn_like(mean),
        name="x",
        plate=draw,
        vectorized=True,
    )

    def prior(n: int) -> dict[str, Tensor]:
        return {"mean": torch.randn(n), "log_sd": 0.5 * torch.randn(n)}

    def simulate(theta: dict[str, Tensor]) -> Tensor:
        noise = torch.randn(len(theta["mean"]), 5)
        return theta["mean"].unsqueeze(1) + theta["log_sd"].exp().unsqueeze(1) * noise

    return model, prior, simulate


def linear() -> tuple[ppl.Model, Callable, Callable]:
    """Three parameters seen through a matrix and Gaussian noise."""
    matrix = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.5, 0.0, 0.7]])

    def seen(theta: Tensor) -> Tensor:
        return theta @ matrix.T.to(theta.dtype) + 0.5 * torch.randn_like(theta)

    model = _opaque("linear", lambda: Normal(torch.zeros(3), 1.0), seen)
    return model, lambda n: {"theta": torch.randn(n, 3)}, lambda theta: seen(theta["theta"])


def one_ball() -> tuple[ppl.Model, Callable, Callable]:
    """The Galton board."""
    return (
        board_model(),
        lambda n: {"theta": 4 * torch.rand(n) - 2},
        lambda theta: ball(theta["theta"]),
    )


def calibration(asked: argparse.Namespace, draws: int = 100) -> None:
    """Ranks of the truth among posterior draws are uniform (Talts et al. 2018): the worst of all points of their distribution function, tested together.

    The band is the simultaneous one of Säilynoja, Bürkner and Vehtari (2021): pointwise binomial limits, widened until sets of uniform ranks leave them
    as often as they should; here their coverage is read from simulated sets, and the p-value is how often one is farther out. With several parameters
    p-values are multiplied by their number. Of exact posteriors one row in twenty lies outside a 95 % band.
    """
    n = asked.datasets
    say(
        f"\ncalibration: {n} data sets, ranks among {draws} draws, 10,000 simulations; 95 % simultaneous band"
    )
    say(
        f"{'model':<12}{'method':<8}{'p':>7}  {'verdict':<22}{'p by parameter':<32}{'training s':>11}{'s a data set':>14}"
    )
    for name, build in (
        ("one ball", one_ball),
        ("five draws", five_draws),
        ("linear", linear),
    ):
        for method in ("npe", "nle", "nre"):
            if not wanted(asked, method):
                continue
            torch.manual_seed(1)
            model, prior, simulate = build()
            theta = prior(n)
            x = simulate(theta)
            clock = Clock()
            plan = ppl.compile(model, ["x"], method=method, budget=budget(10_000), seed=0)
            plan.posterior({"x": x[0]})
            trained = clock.lap()
            ranks = _ranks(plan, theta, x, draws)
            each = clock.lap() / n
            values = {
                k: float(p_values(torch.from_numpy(r).unsqueeze(1), draws)[0])
                for k, r in ranks.items()
            }
            p = min(1.0, len(values) * min(values.values()))
            text = "pass" if p >= 0.05 else "OUTSIDE" if p < 0.05 / 9 else "outside 95 %, in 99.4 %"
            shown = " ".join(f"{k} {v:.3f}" for k, v in values.items())
            say(f"{name:<12}{method:<8}{p:7.3f}  {text:<22}{shown:<32}{trained:11.1f}{each:14.2f}")


def _ranks(
    plan: ppl.Plan, theta: dict[str, Tensor], x: Tensor, draws: int
) -> dict[str, numpy.ndarray]:
    """How many of the draws lie below the truth, by coordinate: `(datasets,)` from 0 to `draws`."""
    found: dict[str, list] = {}
    listed, place = torch.unique(x, dim=0, return_inverse=True)
    posteriors = plan.posteriors({"x": listed})
    for k, where in enumerate(place.tolist()):
        sample = posteriors[where].sample(draws, seed=k)
        for name, truth in theta.items():
            below = (sample[name] < truth[k]).sum(dim=0).reshape(-1)
            for j, rank in enumerate(below.tolist()):
                found.setdefault(f"{name}[{j}]" if len(below) > 1 else name, []).append(rank)
    return {name: numpy.array(values) for name, values in found.items()}


if __name__ == "__main__":
    main()
