"""Approximate Bayesian computation: speed beside a bare loop and beside the peers that are installed, and quality beside exact answers.

    python -m tests.benchmarks.abc [rejection] [smc] [quality] [g_and_k] [scalar] [batch] [memory]

Peers: `pip install pyabc elfi sbi`. All simulators are vectorised torch or NumPy functions, the same for everybody; a peer that calls one draw at a time gets
fewer simulations, and its rate counts.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch

import ppl
from ppl.distributions import Uniform

warnings.simplefilter("ignore")
torch.set_num_threads(1)
logging.disable(logging.WARNING)

#: Shares of simulations that rejection keeps.
KEPT = 0.001


@dataclass(frozen=True)
class Problem:
    """A cheap simulator: parameters are uniform on a box.

    Args:
        low, high: The corners of the box.
        simulate: From parameters `(n, d)` to summaries `(n, k)`, in torch.
        seen: The summaries that were observed, `(k,)`.
    """

    low: list[float]
    high: list[float]
    simulate: Callable[[torch.Tensor], torch.Tensor]
    seen: list[float]

    def prior(self, n: int) -> torch.Tensor:
        """Draws of the parameters, `(n, d)`."""
        low, high = (
            torch.tensor(self.low, dtype=torch.float64),
            torch.tensor(self.high, dtype=torch.float64),
        )
        return low + (high - low) * torch.rand(n, len(low), dtype=torch.float64)

    def model(self) -> ppl.Model:
        """As a user writes it."""
        model = ppl.Model("cheap")
        low, high = (
            torch.tensor(self.low, dtype=torch.float64),
            torch.tensor(self.high, dtype=torch.float64),
        )
        model.theta(lambda low=low, high=high: Uniform(low, high), name="x")
        simulate = self.simulate
        model.observed(vectorized=True, name="y")(lambda x, simulate=simulate: simulate(x))
        return model


def board(x: torch.Tensor) -> torch.Tensor:
    """C1: where one ball of the generalised Galton board ends."""
    theta = x[:, 0]
    position = torch.full_like(theta, 15.0)
    for row in range(20):
        s = math.sin(math.pi * row / 19)
        p = (1 - s) / 2 + s * torch.sigmoid(10 * theta * (2 * position / 30 - 1))
        left = (torch.rand_like(theta) < p).to(theta.dtype)
        position = position + 1 - left if row % 2 == 0 else position - left
    return position[:, None]


def plane(x: torch.Tensor) -> torch.Tensor:
    """A point seen through Gaussian noise."""
    return x + 0.5 * torch.randn_like(x)


def moving(x: torch.Tensor) -> torch.Tensor:
    """C14: two autocovariances of a moving average of order two, 100 steps."""
    w = torch.randn(len(x), 102, dtype=x.dtype)
    y = w[:, 2:] + x[:, :1] * w[:, 1:-1] + x[:, 1:] * w[:, :-2]
    return torch.stack([(y[:, 1:] * y[:, :-1]).mean(1), (y[:, 2:] * y[:, :-2]).mean(1)], dim=1)


def tails(x: torch.Tensor) -> torch.Tensor:
    """g-and-k: seven octiles of fifty draws."""
    a, b, g, k = (x[:, i : i + 1] for i in range(4))
    z = torch.randn(len(x), 50, dtype=x.dtype)
    e = torch.exp(-g * z)
    y = a + b * (1 + 0.8 * (1 - e) / (1 + e)) * (1 + z * z) ** k * z
    return y.sort(dim=1).values[:, [6, 12, 18, 25, 31, 37, 43]]


PROBLEMS = {
    "C1": Problem([-2.0], [2.0], board, [22.0]),
    "2-D Gaussian": Problem([-10.0, -10.0], [10.0, 10.0], plane, [1.0, 2.0]),
    "MA(2)": Problem([-2.0, -1.0], [2.0, 1.0], moving, [0.66, 0.27]),
    "g-and-k": Problem([0.0] * 4, [10.0] * 4, tails, [2.2, 2.5, 2.8, 3.1, 3.7, 4.6, 6.9]),
}


# -- rejection ------------------------------------------------------------------------------------


def bare(problem: Problem, n: int) -> float:
    """Seconds of a loop that anybody would write: batches, distances, and the nearest so far."""
    seen, kept = torch.tensor(problem.seen, dtype=torch.float64), max(int(KEPT * n), 100)
    begun = time.perf_counter()
    scale = problem.simulate(problem.prior(2048)).std(dim=0)
    near, best = (
        torch.zeros(0, len(problem.low), dtype=torch.float64),
        torch.zeros(0, dtype=torch.float64),
    )
    for _ in range(n // 2**17):
        x = problem.prior(2**17)
        distance = (((problem.simulate(x) - seen) / scale) ** 2).sum(dim=1).sqrt()
        both = torch.cat([best, distance])
        top = both.topk(kept, largest=False)
        near, best = torch.cat([near, x])[top.indices], top.values
    assert len(near) == kept
    return time.perf_counter() - begun


def ours(problem: Problem, n: int, store: bool = False) -> float:
    """Seconds of `ppl.infer`, compilation included."""
    method = ppl.Method("rejection", quantile=KEPT, adjust="none", summaries="raw", tolerance=1e9)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        ppl.infer(
            problem.model(),
            {"y": problem.seen},
            method=method,
            budget=ppl.Budget(simulations=n),
            store=folder + "/runs" if store else None,
        )
        return time.perf_counter() - begun


def elfi_model(problem: Problem):
    """The problem for ELFI."""
    import elfi

    elfi.new_model()
    names = [
        elfi.Prior("uniform", low, high - low, name=f"x{i}")
        for i, (low, high) in enumerate(zip(problem.low, problem.high, strict=True))
    ]

    def simulate(*x, batch_size=1, random_state=None):
        columns = numpy.stack(
            [numpy.broadcast_to(numpy.asarray(c), (batch_size,)) for c in x], axis=1
        )
        return problem.simulate(torch.from_numpy(columns.copy())).numpy()

    y = elfi.Simulator(simulate, *names, observed=numpy.array([problem.seen]), name="y")
    parts = [
        elfi.Summary(lambda y, k=k: y[:, k], y, name=f"s{k}") for k in range(len(problem.seen))
    ]
    return elfi.Distance("euclidean", *parts, name="d")


def with_elfi(problem: Problem, n: int) -> float:
    """Seconds of ELFI's rejection, batches of 10,000."""
    import elfi

    distance = elfi_model(problem)
    begun = time.perf_counter()
    sampler = elfi.Rejection(distance, batch_size=10_000, seed=1)
    sampler.sample(max(int(KEPT * n), 100), n_sim=n, bar=False)
    return time.perf_counter() - begun


def pyabc_parts(problem: Problem):
    """Model, prior and distance for pyABC, which simulates one draw at a time."""
    import pyabc

    def simulate(parameters):
        x = torch.tensor(
            [[parameters[f"x{i}"] for i in range(len(problem.low))]], dtype=torch.float64
        )
        return {"y": problem.simulate(x)[0].numpy()}

    prior = pyabc.Distribution(
        **{
            f"x{i}": pyabc.RV("uniform", low, high - low)
            for i, (low, high) in enumerate(zip(problem.low, problem.high, strict=True))
        }
    )
    return simulate, prior, pyabc.PNormDistance(p=2)


def with_pyabc(problem: Problem, n: int) -> float:
    """Seconds of pyABC's rejection: one population, everything accepted."""
    import pyabc

    simulate, prior, distance = pyabc_parts(problem)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        abc = pyabc.ABCSMC(
            simulate,
            prior,
            distance,
            population_size=n,
            eps=pyabc.ListEpsilon([1e9]),
            sampler=pyabc.SingleCoreSampler(),
        )
        abc.new(f"sqlite:///{folder}/x.db", {"y": numpy.array(problem.seen)})
        abc.run(max_nr_populations=1)
        return time.perf_counter() - begun


def rejection(n: int = 2**23) -> None:
    """Rates of rejection, in simulations a second."""
    print(f"\nrejection: {n:,} simulations, simulations a second (median of 3); ours over")
    print(
        f"{'':14} {'ours':>10} {'store':>10} {'bare':>10} {'ELFI':>10} {'pyABC':>10} | {'bare':>6} {'store/bare':>10} {'ELFI':>6} {'pyABC':>6}"
    )
    ratios: dict[str, list[float]] = {}
    ours(PROBLEMS["C1"], 10_000)  # everybody's imports are outside the clock
    for name, problem in PROBLEMS.items():
        size = n if name in ("C1", "2-D Gaussian") else n // 8
        rates = {
            "ours": size / statistics.median(ours(problem, size) for _ in range(3)),
            "store": size / statistics.median(ours(problem, size, store=True) for _ in range(3)),
            "bare": size / statistics.median(bare(problem, size) for _ in range(3)),
        }
        if importlib.util.find_spec("elfi"):
            rates["ELFI"] = size / statistics.median(with_elfi(problem, size) for _ in range(3))
        if importlib.util.find_spec("pyabc"):
            rates["pyABC"] = 5000 / with_pyabc(problem, 5000)
        found = {k: rates["ours"] / rates[k] for k in ("bare", "ELFI", "pyABC") if k in rates}
        found["store"] = rates["store"] / rates["bare"]
        for key, value in found.items():
            ratios.setdefault(key, []).append(value)
        cells = " ".join(
            f"{rates.get(k, math.nan):10,.0f}" for k in ("ours", "store", "bare", "ELFI", "pyABC")
        )
        print(
            f"{name:14} {cells} | {found['bare']:6.2f} {found['store']:10.2f} {found.get('ELFI', math.nan):6.2f} {found.get('pyABC', math.nan):6.0f}"
        )
    means = {k: math.exp(statistics.fmean(map(math.log, v))) for k, v in ratios.items()}
    print("geometric mean of ours over:", "  ".join(f"{k} {v:.2f}" for k, v in means.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process so far: {peak:,.0f} MB")


# -- generations ----------------------------------------------------------------------------------


def smc() -> None:
    """Sequential ABC to one tolerance with 1,000 draws: seconds, simulations and width."""
    problem, tolerance = PROBLEMS["2-D Gaussian"], 0.25
    exact = math.sqrt(0.25 + tolerance**2 / 4)  # a uniform ball adds ε²/4 to each variance
    print(
        f"\nsequential ABC, 2-D Gaussian, tolerance {tolerance}, 1,000 draws; the sd of the target is {exact:.4f}"
    )
    _smc_ours(problem, 2.0)  # everybody's imports are outside the clock
    rows = [("ours", *_smc_ours(problem, tolerance))]
    if importlib.util.find_spec("elfi"):
        rows.append(("ELFI", *_smc_elfi(problem, tolerance)))
    if importlib.util.find_spec("sbi"):
        rows.append(("sbi", *_smc_sbi(problem, tolerance)))
    if importlib.util.find_spec("pyabc"):
        rows.append(("pyABC", *_smc_pyabc(problem, tolerance)))
    for name, seconds, simulations, sd in rows:
        print(
            f"{name:6} {seconds:8.2f} s  {simulations:10,.0f} simulations  sd / target {sd / exact:.3f}  ours is {seconds / rows[0][1]:.1f} times as fast"
        )


def _smc_ours(problem: Problem, tolerance: float) -> tuple[float, float, float]:
    method = ppl.Method(
        "abc-smc",
        tolerance=tolerance,
        adjust="none",
        kernel="uniform",
        adaptive=False,
        distance=lambda x, y: (x - y).norm(dim=1),
    )
    begun = time.perf_counter()
    found = ppl.infer(
        problem.model(), {"y": problem.seen}, method=method, budget=ppl.Budget(simulations=200_000)
    )
    seconds = time.perf_counter() - begun
    return seconds, float(found.certificate.checks["simulations"]), float(found["x"].sd.mean())


def _smc_elfi(problem: Problem, tolerance: float) -> tuple[float, float, float]:
    import elfi

    distance = elfi_model(problem)
    begun = time.perf_counter()
    found = elfi.SMC(distance, batch_size=10_000, seed=1).sample(
        1000, [4.0, 2.0, 1.0, 0.5, tolerance], bar=False
    )
    seconds = time.perf_counter() - begun
    x, w = found.samples_array, found.weights / found.weights.sum()
    sd = numpy.sqrt(w @ (x - w @ x) ** 2)
    return seconds, found.n_sim, float(sd.mean())


def _smc_sbi(problem: Problem, tolerance: float) -> tuple[float, float, float]:
    from sbi.inference import SMCABC
    from sbi.utils import BoxUniform

    count = [0]

    def simulate(x):
        count[0] += len(x)
        return problem.simulate(x.double()).float()

    prior = BoxUniform(torch.tensor(problem.low), torch.tensor(problem.high))
    sampler = SMCABC(simulate, prior, simulation_batch_size=10_000, show_progress_bars=False)
    begun = time.perf_counter()
    # Halving from the first population's tolerance reaches ours after a few generations.
    found, about = sampler(
        torch.tensor([problem.seen]), 1000, 10_000, 100_000, 0.5, return_summary=True
    )
    seconds = time.perf_counter() - begun
    reached = about["epsilons"][-1] if "epsilons" in about else math.nan
    print(f"       (sbi ended at the tolerance {float(reached):.3f})")
    return seconds, count[0], float(found.std(dim=0).mean())


def _smc_pyabc(problem: Problem, tolerance: float) -> tuple[float, float, float]:
    import pyabc

    simulate, prior, distance = pyabc_parts(problem)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        abc = pyabc.ABCSMC(
            simulate, prior, distance, population_size=1000, sampler=pyabc.SingleCoreSampler()
        )
        abc.new(f"sqlite:///{folder}/x.db", {"y": numpy.array(problem.seen)})
        history = abc.run(minimum_epsilon=tolerance)
        seconds = time.perf_counter() - begun
        frame, weights = history.get_distribution()
        x, w = frame.to_numpy(), numpy.asarray(weights)
        return seconds, history.total_nr_simulations, float(numpy.sqrt(w @ (x - w @ x) ** 2).mean())


# -- quality --------------------------------------------------------------------------------------


def quality() -> None:
    """Posteriors after 100,000 simulations beside exact ones."""
    from scipy import stats

    budget = ppl.Budget(simulations=100_000)
    print("\nquality at 100,000 simulations: sd over exact sd, Kolmogorov-Smirnov distance")
    from examples.galton_board import galton_board

    for name, seen, truth in (
        ("C1, one ball", [22.0], None),
        ("2-D Gaussian", [1.0, 2.0], stats.norm(1.0, 0.5)),
    ):
        problem = PROBLEMS["C1" if truth is None else "2-D Gaussian"]
        for method in ("rejection", "abc-smc"):
            found = ppl.infer(problem.model(), {"y": seen}, method=method, budget=budget)
            draws = found["x"].draws(20_000)[:, 0].numpy()
            if truth is None:
                exact = ppl.infer(galton_board(), {"final": [22]})["slope"]
                sd = float(exact.sd)
                grid = numpy.linspace(-2, 2, 401)
                cdf = numpy.array([float(exact.cdf(g)) for g in grid])
                ks = numpy.abs(numpy.searchsorted(numpy.sort(draws), grid) / len(draws) - cdf).max()
            else:
                sd = truth.std()
                ks = stats.kstest(draws, truth.cdf).statistic
            print(
                f"{name:14} {method:10} sd {float(found['x'].sd.reshape(-1)[0]) / sd:.3f}  KS {ks:.3f}"
            )


#: What made the data, and their number.
MADE, ITEMS = numpy.array([3.0, 1.0, 2.0, 0.5]), 50


def g_and_k() -> None:
    """The posterior of a g-and-k distribution after 100,000 simulations, whole samples compared, beside chains on its exact density."""
    print(
        "\ng-and-k, abc-smc as it is, 100,000 simulations: sd over exact sd / error of the mean in sd"
    )

    def simulate(a, b, g, k):
        z = torch.randn(len(a), ITEMS, dtype=torch.float64)
        a, b, g, k = (x[:, None] for x in (a, b, g, k))
        return a + b * (1 + 0.8 * torch.tanh(g * z / 2)) * (1 + z * z) ** k * z

    model = ppl.Model("g-and-k")
    for name in "abgk":
        model.theta(lambda: Uniform(0, 10), name=name)
    model.observed(simulate, vectorized=True, name="y")
    within = 0
    for seed in (4, 5, 6):
        z = numpy.random.default_rng(seed).standard_normal(ITEMS)
        seen = _quantile(z[None], MADE[None])[0]
        exact = _chains(seen)
        begun = time.perf_counter()
        found = ppl.infer(
            model, {"y": seen}, method="abc-smc", budget=ppl.Budget(simulations=100_000)
        )
        seconds = time.perf_counter() - begun
        told = []
        for i, name in enumerate("abgk"):
            sd, mean = exact[:, i].std(), exact[:, i].mean()
            ratio, error = float(found[name].sd) / sd, (float(found[name].mean) - mean) / sd
            within += int(0.8 <= ratio <= 1.25) + int(abs(error) <= 0.3)
            told.append(f"{name} {ratio:.2f} / {error:+.2f}")
        print(f"data {seed}:  {'   '.join(told)}   {seconds:.0f} s")
    print(f"{within} of 24 are within [0.8, 1.25] and 0.3")


def _quantile(z: numpy.ndarray, theta: numpy.ndarray) -> numpy.ndarray:
    a, b, g, k = (theta[:, i : i + 1] for i in range(4))
    return a + b * (1 + 0.8 * numpy.tanh(g * z / 2)) * (1 + z * z) ** k * z


def _density(seen: numpy.ndarray, theta: numpy.ndarray) -> numpy.ndarray:
    """The log density of a sample, `(n,)`: quantiles are inverted by bisection; minus infinity outside the prior."""
    inside = ((theta > 0) & (theta < 10)).all(axis=1)
    theta = theta.clip(1e-9, 10)
    low = numpy.full((len(theta), len(seen)), -12.0)
    high = -low
    for _ in range(40):
        z = (low + high) / 2
        above = _quantile(z, theta) < seen
        low, high = numpy.where(above, z, low), numpy.where(above, high, z)
    z = (low + high) / 2
    _, b, g, k = (theta[:, i : i + 1] for i in range(4))
    bent, w = numpy.tanh(g * z / 2), 1 + z * z
    slope = (1 + 0.8 * bent) * (1 + (2 * k + 1) * z * z) / w + 0.4 * z * g * (1 - bent**2)
    logs = -z * z / 2 - numpy.log(numpy.maximum(b * w**k * slope, 1e-300))
    return numpy.where(inside, logs.sum(axis=1), -numpy.inf)


def _chains(seen: numpy.ndarray) -> numpy.ndarray:
    """Draws of the posterior, `(n, 4)`: 128 Metropolis chains of 3,000 steps."""
    rng = numpy.random.default_rng(0)
    x = numpy.abs(MADE + 0.3 * rng.standard_normal((128, 4)))
    now, kept, root = _density(seen, x), [], numpy.eye(4)
    for step in range(3000):
        if step % 100 == 0 and step <= 1000:
            root = numpy.linalg.cholesky(numpy.cov(x.T) + 1e-6 * numpy.eye(4)) * 1.19
        new = x + rng.standard_normal(x.shape) @ root.T
        then = _density(seen, new)
        taken = numpy.log(rng.random(len(x))) < then - now
        x, now = numpy.where(taken[:, None], new, x), numpy.where(taken, then, now)
        if step >= 1000 and step % 5 == 0:
            kept.append(x.copy())
    return numpy.concatenate(kept)


# -- scalar simulators and the cost of a batch ----------------------------------------------------


def epidemic(x: float, rng: numpy.random.Generator) -> float:
    """A scalar NumPy simulator: a stochastic epidemic, step by step."""
    susceptible, infected, total = 200, 2, 0
    for _ in range(60):
        new = rng.binomial(susceptible, 1 - math.exp(-x * infected / 200))
        gone = rng.binomial(infected, 0.3)
        susceptible, infected, total = susceptible - new, infected + new - gone, total + new
    return total


def scalar(n: int = 20_000) -> None:
    """A scalar NumPy simulator beside the bare Python loop, one process and two."""
    model = ppl.Model("epidemic")
    model.theta(lambda: Uniform(0, 2), name="x")
    model.observed(epidemic, name="y")

    def loop() -> float:
        rng = numpy.random.default_rng(0)
        begun = time.perf_counter()
        for _ in range(n):
            epidemic(rng.uniform(0, 2), rng)
        return time.perf_counter() - begun

    def simulated(count: int, **options) -> float:
        begun = time.perf_counter()
        model.simulate(count, progress=False, **options)
        return time.perf_counter() - begun

    pairs = [(loop(), simulated(n)) for _ in range(3)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"\nscalar NumPy simulator, {1e6 * pairs[0][0] / n:.0f} µs a call: {ratio:.2f} of the bare loop's rate"
    )
    # Starting processes is told apart: it is paid once.
    start = simulated(16, workers=2)
    one, two = simulated(4 * n, workers=1) - start, simulated(4 * n, workers=2) - start
    print(
        f"two workers: {one / two:.2f} times one worker, {4 * pairs[0][0] / two:.2f} times the bare loop; starting them {start:.1f} s"
    )


def batch() -> None:
    """What a batch costs beside its simulations: the difference between many small batches and few."""
    model = ppl.Model("nothing")
    model.theta(lambda: Uniform(0, 1), name="x")
    model.observed(lambda x, rng: x, name="y")

    def seconds(n: int, keep: bool, **options) -> float:
        with tempfile.TemporaryDirectory() as folder:
            more = {"store": folder + "/runs"} if keep else {}
            begun = time.perf_counter()
            assert model.simulate(n, progress=False, **more, **options).campaign.size == n // 64
            return time.perf_counter() - begun

    def line(label: str, keep: bool, **options) -> None:
        # 64 batches each, of 16 and of 256 empty simulations: a line through both tells what a batch costs without any.
        small = statistics.median(seconds(64 * 16, keep, **options) for _ in range(3))
        large = statistics.median(seconds(64 * 256, keep, **options) for _ in range(3))
        draw = (large - small) / (64 * 240)
        print(
            f"{label:12} {1e6 * draw:5.1f} µs a draw, {1e3 * (small / 64 - 16 * draw):6.2f} ms a batch"
        )

    print()
    line("here", False)
    line("with a store", True)
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        seconds(64 * 16, False, workers=client)  # the worker's imports are outside the clock
        line("Dask", False, workers=client)


def memory(n: int = 20_000_000) -> None:
    """The peak of a process of its own that rejects many draws."""
    # What getrusage calls the peak of a process begins with that of the process which started it.
    call = (
        "from tests.benchmarks.abc import PROBLEMS, ours; ours(PROBLEMS['2-D Gaussian'], {n}); "
        "print([int(l.split()[1]) // 1024 for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"
    )
    few, many = (
        subprocess.run(
            [sys.executable, "-c", call.format(n=k)], capture_output=True, text=True, check=True
        ).stdout.strip()
        for k in (10_000, n)
    )
    print(f"\npeak memory of {n:,} draws: {many} MB; of 10,000: {few} MB")


def main() -> None:
    """All of it, or what is named."""
    parts = {f.__name__: f for f in (rejection, smc, quality, g_and_k, scalar, batch, memory)}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
