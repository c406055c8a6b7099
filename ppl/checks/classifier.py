"""Classifiers that tell two samples apart: many small nets, trained side by side.

If no classifier does better than a coin, the samples may be of one distribution (C2ST: Lopez-Paz and Oquab 2017).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .rows import columns

__all__ = ["Classifiers", "accuracy"]

#: Width of the two hidden layers, rows and passes of a training, and its step.
WIDTH, ROWS, STEPS, RATE = 32, 256, 400, 3e-3
#: Pull of the weights to zero.
DECAY = 1e-3


class Classifiers:
    """Some nets, each with its own labels for the same rows, or its own rows.

    Args:
        rows: Standardised, `(nets or 1, n, columns)`.
        labels: 0 or 1, `(nets, n)`.
        seed: Of weights and batches.
        steps: Of the training.
    """

    def __init__(self, rows: Tensor, labels: Tensor, seed: int, steps: int = STEPS):
        nets, n = labels.shape
        generator = torch.Generator().manual_seed(seed)
        sizes = (rows.shape[2], WIDTH, WIDTH, 1)
        self._weights = [
            (torch.randn(nets, a, b, generator=generator) * (2 / max(a, 1)) ** 0.5)
            for a, b in pairwise(sizes)
        ]
        self._biases = [torch.zeros(nets, 1, b) for b in sizes[1:]]
        parameters = [t.requires_grad_() for t in (*self._weights, *self._biases)]
        rows, labels = rows.to(torch.float32), labels.to(torch.float32)
        rows = rows.expand((nets, *rows.shape[1:]))
        optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            picked = torch.randint(n, (min(ROWS, n),), generator=generator)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                self.logits(rows[:, picked]), labels[:, picked], reduction="none"
            )
            optimiser.zero_grad()
            # A sum over nets: each has its own gradient, as if it were alone.
            loss.mean(dim=1).sum().backward()
            optimiser.step()
            schedule.step()
        for tensor in parameters:
            tensor.requires_grad_(False)

    def logits(self, rows: Tensor) -> Tensor:
        """log odds of label 1, `(nets, n)`, at rows `(nets or 1, n, columns)`."""
        found = rows.to(torch.float32)
        last = len(self._weights) - 1
        for k, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            found = found @ weight + bias
            found = torch.nn.functional.silu(found) if k < last else found
        return found.squeeze(-1)


def accuracy(one: Tensor, other: Tensor, seed: int, folds: int = 5) -> tuple[float, float]:
    """How often a classifier tells two samples apart on rows that it was not trained on, and the standard error; .5 if they are alike.

    Args:
        one: `(n, columns)`.
        other: `(n, columns)`, as many.
        seed: Of folds and nets.
        folds: Of the cross-validation.

    Example:
        >>> a, b = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)).chunk(2)
        >>> accuracy(a, b + 3, 0)[0] > 0.85
        True
    """
    rows = columns(torch.cat([one, other]))
    labels = torch.cat([torch.zeros(len(one)), torch.ones(len(other))])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    size = len(rows) // folds
    held = torch.stack([order[k * size : (k + 1) * size] for k in range(folds)])
    kept = torch.stack(
        [
            torch.cat([order[: k * size], order[(k + 1) * size :]])[: len(rows) - size]
            for k in range(folds)
        ]
    )
    nets = Classifiers(rows[kept], labels[kept], seed)
    right = (nets.logits(rows[held]) > 0) == (labels[held] > 0.5)
    share = float(right.to(torch.float64).mean())
    return share, (share * (1 - share) / right.numel()) ** 0.5
