"""From features to what they predict: ridge regression on features and random bends of them, and small nets.

References:
    | Random features for large-scale kernel machines (Rahimi and Recht, 2007)
    | Super-convergence: very fast training of neural networks using large learning rates (Smith and Topin, 2018)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Predictor", "nets", "ridge"]

#: From features `(n, features)` to predictions `(n, columns)`.
Predictor = Callable[[Tensor], Tensor]
#: Directions in which features are bent, as random units of a hidden layer.
UNITS = 256
#: Penalties of the regression, of which a held-out fifth takes the best.
PENALTIES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
#: Of a net: units of a layer, rows of a step, steps in all, and the largest step.
WIDTH, ROWS, STEPS, RATE = 128, 512, 500, 2e-3


def ridge(x: Tensor, y: Tensor, seed: int) -> Predictor:
    """Least squares with a penalty, the best of several for a held-out fifth.

    Args:
        x: Features on scales of about one, `(n, features)`.
        y: What is to be predicted, `(n, columns)`.
        seed: Decides the directions of the bends, and what is held out.
    """
    generator = torch.Generator().manual_seed(seed)
    units = min(UNITS, len(x) // 20)
    into = torch.randn(x.shape[1], units, generator=generator, dtype=torch.float64)
    into = into / max(x.shape[1], 1) ** 0.5
    shift = torch.randn(units, generator=generator, dtype=torch.float64)

    def wide(new: Tensor) -> Tensor:
        bent = torch.tanh(torch.addmm(shift, new, into))
        return torch.cat([torch.ones(len(new), 1, dtype=torch.float64), new, bent], dim=1)

    held, design = _held(len(x), 5, generator), wide(x)

    def solutions(rows: Tensor, penalties: tuple[float, ...]) -> list[Tensor]:
        d = design[rows]
        gram, right = d.T @ d / len(d), d.T @ y[rows] / len(d)
        eye = torch.eye(d.shape[1], dtype=torch.float64)
        return [torch.linalg.solve(gram + p * eye, right) for p in penalties]

    errors = [float(((y - design @ s)[held] ** 2).mean()) for s in solutions(~held, PENALTIES)]
    best = PENALTIES[errors.index(min(errors))]
    (solution,) = solutions(torch.ones(len(x), dtype=torch.bool), (best,))
    return lambda new: wide(new) @ solution


def nets(x: Tensor, y: Tensor, seed: int, count: int) -> Predictor:
    """The mean of some nets of three hidden layers, each as good as it ever was for a held-out tenth of its own.

    Args:
        x: Features on scales of about one, `(n, features)`.
        y: What is to be predicted, on such scales too, `(n, columns)`.
        seed: Decides how they begin, and what is held out.
        count: How many.
    """
    inner, outer = x.to(torch.float32), y.to(torch.float32)
    found = [_net(inner, outer, seed + 101 * k) for k in range(count)]

    def predicted(new: Tensor) -> Tensor:
        with torch.no_grad():
            every = [net(new.to(torch.float32)) for net in found]
        return torch.stack(every).mean(dim=0).to(torch.float64)

    return predicted


def _net(x: Tensor, y: Tensor, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    held = _held(len(x), 10, generator)
    train, test = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], WIDTH),
            torch.nn.SiLU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.SiLU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.SiLU(),
            torch.nn.Linear(WIDTH, y.shape[1]),
        )
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
        each = -(-len(train) // ROWS)
        rounds = max(STEPS // each, 5)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=rounds * each)
        best, kept = float("inf"), {k: v.clone() for k, v in net.state_dict().items()}
        for _ in range(rounds):
            order = train[torch.randperm(len(train), generator=generator)]
            for rows in order.split(ROWS):
                optimiser.zero_grad()
                ((net(x[rows]) - y[rows]) ** 2).mean().backward()
                optimiser.step()
                schedule.step()
            with torch.no_grad():
                error = float(((net(x[test]) - y[test]) ** 2).mean())
            if error < best:
                best, kept = error, {k: v.clone() for k, v in net.state_dict().items()}
        net.load_state_dict(kept)
    return net


def _held(n: int, part: int, generator: torch.Generator) -> Tensor:
    """Which rows are held out, one of so many, `(n,)`."""
    return torch.randperm(n, generator=generator) < n // part
