"""The figures of the spine: exactness, speed, memory. Run with `python -m tests.benchmarks.spine`.

Times are medians of several runs on this machine; peers run in the same process.
"""

from __future__ import annotations

import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import ppl
from examples import galton_board, sprinkler
from examples.asia import clinic
from examples.burglary import house
from ppl.distributions import Categorical, Integers, Normal
from tests.backends.test_cases import final_position, one
from tests.networks import network

MOVE = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)
LEVEL = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median time of a call, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def row(what: str, figure: str, target: str) -> None:
    """One line of the table."""
    print(f"{what:<72} {figure:>22}   {target}")


def exactness() -> None:
    """Published numbers and direct sums."""
    slopes = torch.linspace(-2, 2, 401, dtype=torch.float64)
    logs = final_position(slopes).log()
    for name, seen in (("one ball", [22]), ("twenty balls", galton_board.TWENTY_BALLS)):
        likelihood = logs[:, seen].sum(dim=1)
        found = ppl.infer(
            galton_board.galton_board(balls=len(seen), grid=401), {"final": seen}, of="slope"
        )
        error = abs(found.log_evidence - float(torch.logsumexp(likelihood, 0) - math.log(401)))
        gap = float((found["slope"].probs - likelihood.softmax(0)).abs().max())
        row(
            f"C1 {name}: log-evidence error; largest error of a probability",
            f"{error:.1e}; {gap:.1e}",
            "1e-6",
        )
    errors = [
        abs(one(house, {"john": 1, "mary": 1}, "burglary") - 0.284172),
        abs(one(house, {"john": 1}, "burglary") - 0.016284),
        abs(one(house, {"john": 1, "mary": 1}, "earthquake") - 0.176067),
        abs(one(house, {"alarm": 1}, "burglary") - 0.373551),
        abs(one(house.do(alarm=1), {}, "burglary") - 0.001),
    ]
    row("C2 burglary: largest error against the published digits", f"{max(errors):.1e}", "1e-6")
    published = [0.6471, 0.429764, 0.707928, 0.194499, 0.3, 0.5, 0.523810]
    errors = [abs(v - p) for (_, v), p in zip(sprinkler.table(), published, strict=True)]
    row("C3 sprinkler: largest error against the published digits", f"{max(errors):.1e}", "1e-6")
    seen = {"asia": 1, "dyspnoea": 1}
    published = {
        "tuberculosis": 0.087751,
        "lung": 0.099525,
        "bronchitis": 0.811402,
        "smoke": 0.625920,
    }
    errors = [abs(one(clinic, seen, n) - p) for n, p in published.items()]
    seen = {"smoke": 1, "xray": 1, "dyspnoea": 1}
    published = {"tuberculosis": 0.075266, "lung": 0.723714, "bronchitis": 0.713706}
    errors += [abs(one(clinic, seen, n) - p) for n, p in published.items()]
    row("C4 asia: largest error against the published digits", f"{max(errors):.1e}", "1e-6")


def hidden_markov(steps: int = 200) -> ppl.Model:
    """Three states, fixed tables."""
    move, level = MOVE, LEVEL
    model = ppl.Model("hmm")
    day = model.plate("day", steps, ordered=True)
    model.latent(
        lambda previous: Categorical(move[previous]),
        name="state",
        plate=day,
        start=lambda: Categorical([1 / 3] * 3),
    )
    model.observed(lambda state: Normal(level[state], 1.0), name="y", plate=day)
    return model


def regression() -> tuple[ppl.Model, dict]:
    """Fifty rows, three coefficients' worth of prior."""
    model = ppl.Model("regression")
    item = model.plate("item", 50)
    model.input("x", plate=item)
    model.theta(lambda: Normal(0, 1), name="intercept")
    model.theta(lambda: Normal(0, 1), name="slope")
    model.observed(
        lambda intercept, slope, x: Normal(intercept + slope * x, 1), name="y", plate=item
    )
    return model, {"x": np.linspace(-1, 1, 50)}


def speed() -> None:
    """A chain, ALARM, prior draws."""
    model = hidden_markov()
    seen = model.simulate(1, seed=5)["y"][0]
    move, level = MOVE, LEVEL
    emission = -0.5 * (seen[:, None] - level) ** 2 - 0.5 * math.log(2 * math.pi)
    message = emission[0] - math.log(3)
    for t in range(1, 200):
        message = torch.logsumexp(message[:, None] + move.log(), 0) + emission[t]
    error = abs(ppl.infer(model, {"y": seen}).log_evidence - float(torch.logsumexp(message, 0)))
    row(
        "HMM, 200 steps, 3 states: log-evidence against the forward algorithm",
        f"{error:.1e}",
        "1e-9",
    )
    alarm = network("alarm")
    plan = ppl.compile(alarm, ["BP", "CVP"], "HYPOVOLEMIA")
    query = {"BP": "LOW", "CVP": "NORMAL"}
    seconds = median_seconds(lambda: plan.posterior(query)["HYPOVOLEMIA"].probs)
    row("ALARM: a query once prepared", f"{1e3 * seconds:.1f} ms", "50 ms")
    every = ppl.compile(alarm, ["BP", "CVP"])
    seconds = median_seconds(lambda: [every.posterior(query)[n].probs for n in every.query.ask])
    row("ALARM: all 35 marginals once prepared", f"{1e3 * seconds:.1f} ms", "")
    linear, inputs = regression()
    row(
        "10,000 prior draws of a regression on 50 rows",
        f"{median_seconds(lambda: linear.simulate(10_000, inputs=inputs)):.3f} s",
        "0.5 s",
    )
    row(
        "10,000 prior draws of the HMM",
        f"{median_seconds(lambda: model.simulate(10_000)):.3f} s",
        "0.5 s",
    )


def bare_loop(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The Galton board as one writes it when there is nothing but torch."""
    setting = torch.randint(0, 401, (n,))
    slope = -2 + 4 * setting.double() / 400
    position = torch.full((n,), 15.0, dtype=torch.float64)
    for number in range(20):
        skew = math.sin(math.pi * number / 19)
        left = (1 - skew) / 2 + skew * torch.sigmoid(10 * slope * (2 * position / 30 - 1))
        went_left = torch.rand(n, dtype=torch.float64) < left
        if number % 2 == 0:
            position = torch.where(went_left, position, position + 1)
        else:
            position = torch.where(went_left, position - 1, position)
    return setting, position


def bare_rejection(simulations: int, size: int) -> torch.Tensor:
    """Rejection around the bare loop."""
    kept = []
    for _ in range(simulations // size):
        setting, position = bare_loop(size)
        kept.append(setting[position == 22])
    return torch.cat(kept)


def as_one_simulator() -> ppl.Model:
    """The bare loop as the body of one opaque node."""
    model = ppl.Model("board")

    @model.theta
    def setting():
        return Integers(0, 400)

    @model.observed(vectorized=True)
    def final(setting, rng):
        n = len(setting)
        slope = -2 + 4 * torch.from_numpy(setting).double() / 400
        position = torch.full((n,), 15.0, dtype=torch.float64)
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for number in range(20):
            skew = math.sin(math.pi * number / 19)
            left = (1 - skew) / 2 + skew * torch.sigmoid(10 * slope * (2 * position / 30 - 1))
            went_left = torch.rand(n, dtype=torch.float64, generator=noise) < left
            if number % 2 == 0:
                position = torch.where(went_left, position, position + 1)
            else:
                position = torch.where(went_left, position - 1, position)
        return position.long()

    return model


def rejection(simulations: int = 2**20) -> None:
    """Throughput against the bare loop, and memory."""
    budget = ppl.Budget(simulations=simulations)
    for name, model, seen in (
        ("the board as one vectorized simulator", as_one_simulator(), {"final": 22}),
        ("the board as a graph of rows", galton_board.galton_board(grid=401), {"final": [22]}),
    ):
        plan = ppl.compile(model, seen, "setting", method="rejection", budget=budget)
        ratios = []
        for _ in range(3):
            begun = time.perf_counter()
            bare_rejection(simulations, 2**17)
            bare = time.perf_counter() - begun
            begun = time.perf_counter()
            plan.posterior()
            ours = time.perf_counter() - begun
            ratios.append(bare / ours)
        row(
            f"rejection, {name}: throughput over a bare torch loop",
            f"{statistics.median(ratios):.2f}",
            "0.7",
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = ppl.compile(
        as_one_simulator(),
        {"final": 22},
        "setting",
        method="rejection",
        budget=ppl.Budget(simulations=2**23),
    )
    plan.posterior()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    row("rejection: peak memory grown by 8 times as many simulations", f"{grown:.0f} MB", "none")


def neural() -> None:
    """The trained posterior of one ball."""
    board = galton_board.galton_board(grid=401)
    exact = ppl.infer(board, {"final": [22]}, of="slope")
    gaps, seconds = [], []
    for seed in range(3):
        plan = ppl.compile(
            board,
            ["final"],
            "slope",
            method="npe",
            budget=ppl.Budget(simulations=10_000),
            seed=seed,
        )
        begun = time.perf_counter()
        found = plan.posterior({"final": [22]})
        seconds.append(time.perf_counter() - begun)
        gaps.append(0.5 * float((exact["slope"].probs - found["slope"].probs).abs().sum()))
    shown = ", ".join(f"{gap:.3f}" for gap in gaps)
    row("NPE of C1, 10,000 simulations, three seeds: total variation to exact", shown, "0.05")
    row("NPE of C1: simulating and training", f"{statistics.median(seconds):.1f} s", "25 s")


def imports() -> None:
    """What `import ppl` adds."""

    def seconds(code: str) -> float:
        def run() -> None:
            subprocess.run([sys.executable, "-c", code], check=True)

        return median_seconds(run, repeats=5)

    row(
        "import ppl, beyond import torch, pyro",
        f"{seconds('import torch, pyro, ppl') - seconds('import torch, pyro'):.2f} s",
        "0.3 s",
    )


def main() -> None:
    """Print the table."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    row("figure", "found", "target")
    for part in (exactness, speed, imports, rejection, neural):
        part()


if __name__ == "__main__":
    main()
