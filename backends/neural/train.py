"""Training: one loop for conditional densities.

Tensors are sliced, not loaded; the step size follows a cosine; weights are averaged exponentially, and training stops when the averaged weights no
longer improve on held-out simulations.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppl.errors import BackendError

__all__ = ["Settings", "Trained", "train"]


@dataclass(frozen=True)
class Settings:
    """How a net is trained.

    Args:
        epochs: The most passes over the simulations.
        batch: Simulations in a step.
        rate: The largest step size.
        held_out: The share of simulations that decide when to stop.
        patience: Epochs without improvement before stopping.
        averaging: Decay of the average of the weights, per step.
    """

    epochs: int = 60
    batch: int = 500
    rate: float = 3e-3
    held_out: float = 0.1
    patience: int = 12
    averaging: float = 0.98


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net and how it came about.

    Args:
        net: With the best averaged weights.
        losses: Held-out loss after each epoch.
        seconds: How long it took.
        cut: Whether the budget ended it.
    """

    net: nn.Module
    losses: tuple[float, ...]
    seconds: float
    cut: bool


def train(
    net: nn.Module,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    theta: Tensor,
    x: Tensor,
    seed: int,
    seconds: float,
    settings: Settings | None = None,
) -> Trained:
    """Fit a net to simulations.

    Args:
        net: The module; it is trained in place of a copy.
        loss: Of (net, θ rows, x rows), one number for each row.
        theta: `(simulations, parameters)`.
        x: `(simulations, features)`.
        seed: Decides the split and the order.
        seconds: When to stop at the latest.

    Raises:
        BackendError: If there are too few simulations, or the loss is never finite.
    """
    settings = settings or Settings()
    threads = torch.get_num_threads()
    # Nets this small gain nothing from a second thread, and lose much when another process holds the core.
    torch.set_num_threads(1)
    try:
        return _train(net, loss, theta, x, seed, seconds, settings)
    finally:
        torch.set_num_threads(threads)


def _train(net, loss, theta, x, seed, seconds, settings) -> Trained:
    n = len(theta)
    held = max(int(n * settings.held_out), 1)
    if n < 50:
        raise BackendError(
            f"npe: {n} simulations are too few to train on and to hold out; it takes 50 at least."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=generator)
    test, rest = order[:held], order[held:]
    averaged = copy.deepcopy(net)
    best, best_loss, losses, begun, cut = (
        copy.deepcopy(net.state_dict()),
        float("inf"),
        [],
        time.monotonic(),
        False,
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
    steps = max(len(rest) // settings.batch, 1) * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps + 1, pct_start=0.1
    )
    waited = 0
    for _ in range(settings.epochs):
        shuffled = rest[torch.randperm(len(rest), generator=generator)]
        net.train()
        for i in range(max(len(rest) // settings.batch, 1)):
            rows = shuffled[i * settings.batch : (i + 1) * settings.batch]
            optimiser.zero_grad()
            value = loss(net, theta[rows], x[rows]).mean()
            if bool(torch.isfinite(value)):
                value.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                optimiser.step()
            schedule.step()
            with torch.no_grad():
                for mean, weight in zip(averaged.parameters(), net.parameters(), strict=True):
                    mean.lerp_(weight, 1 - settings.averaging)
        averaged.eval()
        with torch.no_grad():
            current = float(loss(averaged, theta[test], x[test]).mean())
        losses.append(current)
        if current < best_loss - 1e-4:
            best, best_loss, waited = copy.deepcopy(averaged.state_dict()), current, 0
        else:
            waited += 1
        cut = time.monotonic() - begun > seconds
        if waited >= settings.patience or cut:
            break
    if best_loss == float("inf"):
        raise BackendError(
            "npe: the loss was never finite; are the simulations of wildly different sizes?"
        )
    averaged.load_state_dict(best)
    averaged.eval()
    return Trained(averaged, tuple(losses), time.monotonic() - begun, cut)
