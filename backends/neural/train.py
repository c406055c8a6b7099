"""Training: one loop for every estimator.

Tensors are sliced, not loaded; the step size follows a cosine; weights are averaged exponentially, and training stops when the averaged weights no
longer improve on held-out simulations. A training that diverges begins again with a smaller step.

References:
    | Decoupled weight decay regularization (Loshchilov and Hutter, 2019)
    | Acceleration of stochastic approximation by averaging (Polyak and Juditsky, 1992)
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ppl.campaign import Progress
from ppl.errors import BackendError

from .checkpoint import Checkpoint, Moment

__all__ = ["Loss", "Settings", "Trained", "history", "train"]

#: Of a net and some rows of the data, one number for each row.
Loss = Callable[[nn.Module, Sequence[Tensor]], Tensor]
#: The fewest simulations that can be both trained on and held out.
FEWEST = 50
#: How often a diverging training begins again, each time with a third of the step.
RESTARTS = 3


@dataclass(frozen=True)
class Settings:
    """How a net is trained.

    Args:
        epochs: The most passes over the simulations.
        batch: Rows in a step, a tenth of all at most.
        rate: The largest step size.
        held_out: The share of simulations that decide when to stop.
        patience: Epochs without improvement before stopping.
        averaging: Decay of the average of the weights, per step.
        decay: Of the weights themselves.
        clip: The largest norm of a gradient.
        checkpoint: A file that holds the state after an epoch, from which a killed training goes on.
        compiled: Whether `torch.compile` is used.
        device: Where, by default on a GPU if there is one.
    """

    epochs: int = 60
    batch: int = 500
    rate: float = 3e-3
    held_out: float = 0.1
    patience: int = 12
    averaging: float = 0.98
    decay: float = 1e-4
    clip: float = 5.0
    checkpoint: Path | None = None
    compiled: bool = False
    device: str | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net and how it came about.

    Args:
        net: With the best averaged weights.
        losses: Held-out loss after each epoch.
        seconds: How long it took.
        cut: Whether the budget ended it.
        restarts: How often it began again because it diverged.
    """

    net: nn.Module
    losses: tuple[float, ...]
    seconds: float
    cut: bool
    restarts: int = 0

    @property
    def best(self) -> float:
        """The smallest held-out loss."""
        return min(self.losses, default=math.inf)


def history(trained: Sequence[Trained], what: str = "", turn: int = 0) -> dict[str, list[float]]:
    """Held-out losses of an ensemble by epoch, for pictures: `"loss"`, or as long as `"loss of p(x), net 2 of round 3"`.

    Args:
        trained: The nets.
        what: What they learned, where others learned something else.
        turn: The round, from 1 on, where there are several.
    """
    found = {}
    for k, one in enumerate(trained):
        parts = [what] * bool(what) + [f"net {k + 1}"] * (len(trained) > 1)
        name = " of ".join(
            ["loss", *[", ".join(parts)] * bool(parts), *[f"round {turn}"] * bool(turn)]
        )
        found[name] = list(one.losses)
    return found


def train(
    net: nn.Module,
    loss: Loss,
    data: Sequence[Tensor],
    seed: int,
    seconds: float,
    settings: Settings | None = None,
    title: str = "training",
    shown: bool | None = None,
) -> Trained:
    """Fit a net to simulations.

    Args:
        net: The module; a copy of it is returned.
        loss: Of the net and rows.
        data: Tensors with one row for each simulation.
        seed: Decides the split and the order.
        seconds: When to stop at the latest.
        settings: How.
        title: Of the progress bar.
        shown: Whether there is one; by default on terminals.

    Raises:
        BackendError: If there are too few simulations, or it diverges whatever the step.
    """
    settings = settings or Settings()
    n = len(data[0])
    if n < FEWEST:
        raise BackendError(
            f"{title}: {n} simulations are too few to train on and to hold some out; it takes {FEWEST} at least."
        )
    threads = torch.get_num_threads()
    # Nets this small gain nothing from a second thread, and lose much when another process holds the core.
    torch.set_num_threads(1)
    try:
        with Progress(settings.epochs, shown, title, unit=" epochs") as bar:
            for restart in range(RESTARTS + 1):
                found = _Training(net, loss, data, seed, seconds, settings, bar).run()
                if found is not None:
                    return replace(found, restarts=restart)
                settings = replace(settings, rate=settings.rate / 3, checkpoint=None)
    finally:
        torch.set_num_threads(threads)
    raise BackendError(
        f"{title}: the loss became infinite with every step size down to {settings.rate * 3:.1g}. Are some simulated values of wildly different "
        "sizes? A logarithm or a rank as a @model.summary would help."
    )


@dataclass
class _Training:
    """One attempt."""

    start: nn.Module
    loss: Loss
    data: Sequence[Tensor]
    seed: int
    seconds: float
    settings: Settings
    bar: Progress
    losses: list[float] = field(default_factory=list)

    def run(self) -> Trained | None:
        """The trained net, or `None` if it diverged."""
        settings, begun = self.settings, time.monotonic()
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        data = [d.to(device) for d in self.data]
        generator = torch.Generator().manual_seed(self.seed)
        n = len(data[0])
        order = torch.randperm(n, generator=generator)
        held = max(int(n * settings.held_out), 1)
        test, rest = order[:held], order[held:]
        batch = max(min(settings.batch, len(rest) // 10), 1)
        count = len(rest) // batch
        net = copy.deepcopy(self.start).to(device)
        averaged = copy.deepcopy(net)
        weights: list[Tensor] = list(net.parameters())
        means: list[Tensor] = list(averaged.parameters())
        optimiser = torch.optim.AdamW(weights, lr=settings.rate, weight_decay=settings.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.rate, total_steps=count * settings.epochs + 1, pct_start=0.1
        )
        step = torch.compile(self.loss) if settings.compiled else self.loss
        best, best_loss, waited, begin, cut = _copied(averaged), math.inf, 0, 0, False
        file = None if settings.checkpoint is None else Checkpoint(settings.checkpoint)
        if file is not None and (
            moment := file.read(net, averaged, optimiser, schedule, generator)
        ):
            best, self.losses, waited, begin = (
                moment.best,
                list(moment.losses),
                moment.waited,
                moment.epoch,
            )
            best_loss = min(self.losses)
        bad = 0
        for epoch in range(begin, settings.epochs):
            shuffled = rest[torch.randperm(len(rest), generator=generator)]
            net.train()
            for i in range(count):
                rows = shuffled[i * batch : (i + 1) * batch]
                optimiser.zero_grad()
                value = step(net, [d[rows] for d in data]).mean()
                if not bool(torch.isfinite(value)):
                    bad += 1
                    if bad > max(count // 4, 3):
                        return None
                    # Nothing is learned from this step, but the schedule goes on.
                    optimiser.step()
                    schedule.step()
                    continue
                value.backward()
                nn.utils.clip_grad_norm_(weights, settings.clip)
                optimiser.step()
                schedule.step()
                with torch.no_grad():
                    torch._foreach_lerp_(means, weights, 1 - settings.averaging)
            averaged.eval()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                # The same masks, pairs and atoms every time, so that epochs can be compared.
                torch.manual_seed(self.seed)
                current = float(self.loss(averaged, [d[test] for d in data]).mean())
            if math.isnan(current) or (epoch > 5 and not math.isfinite(best_loss)):
                return None
            self.losses.append(current)
            # An improvement smaller than the noise of the held-out mean is none.
            if current < best_loss - 1e-4:
                best, best_loss, waited = _copied(averaged), current, 0
            else:
                waited += 1
            self.bar.step(1, loss=f"{current:.3f}", best=f"{best_loss:.3f}")
            cut = time.monotonic() - begun > self.seconds
            if file is not None:
                state = Moment(best, tuple(self.losses), waited, epoch + 1)
                file.write(state, net, averaged, optimiser, schedule, generator)
            # While steps are large a plateau says little: nothing ends in the first half but by the clock.
            if cut or (waited >= settings.patience and 2 * epoch >= settings.epochs):
                break
        if not math.isfinite(best_loss):
            return None
        averaged.load_state_dict(best)
        return Trained(averaged.to("cpu").eval(), tuple(self.losses), time.monotonic() - begun, cut)


def _copied(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}
