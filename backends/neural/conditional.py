"""Conditional laws of mixed rows: p(codes | c) by a classifier, then p(numbers | codes, c) by a density.

With codes alone this is a classifier head, with numbers alone a density; with both, for data, the mixed likelihood of Boelts et al.

References:
    | Flexible and efficient simulation-based inference for models of decision-making (Boelts, Lueckmann, Gao and Macke, 2022)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .densities import density, mlp

__all__ = ["Conditional", "one_hot"]


def one_hot(codes: Tensor, cards: Sequence[int]) -> Tensor:
    """Indicators of codes `(…, codes)`, `(…, Σ cards)`; a code beyond its last value has none."""
    parts = [
        (codes[..., k, None] == torch.arange(card, device=codes.device)).to(torch.float32)
        for k, card in enumerate(cards)
    ]
    return torch.cat(parts, dim=-1) if parts else codes.new_zeros((*codes.shape[:-1], 0)).float()


class Conditional(nn.Module):
    """p(codes, numbers | c), numbers standardised inside.

    Args:
        cards: How many values each code has.
        numbers: How many numbers there are.
        features: The length of c.
        simulations: By how many it is trained: larger nets for more.
        kind: The density of the numbers, where the user chooses it.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        cards: Sequence[int],
        numbers: int,
        features: int,
        simulations: int,
        kind: str | None = None,
    ):
        super().__init__()
        self.cards, self.numbers, self.features = tuple(cards), numbers, features
        #: What it was made with, to make it again.
        self.made = {
            "cards": list(cards),
            "numbers": numbers,
            "features": features,
            "simulations": simulations,
            "kind": kind,
        }
        # Entries one after the other: each sees those before it.
        self.heads = nn.ModuleList(
            mlp(features + sum(self.cards[:k]), card, 64, 2) for k, card in enumerate(self.cards)
        )
        self.density = (
            density(numbers, features + sum(self.cards), simulations, kind) if numbers else None
        )
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("scale", torch.ones(numbers))

    def standardise(self, numbers: Tensor) -> None:
        """Learn location and scale from `(rows, numbers)`."""
        if self.numbers:
            scale = numbers.std(dim=0)
            # Single precision sees no variation below 1e-6 of the size of a number.
            least = 1e-6 * numbers.abs().amax(dim=0).clamp(min=1e-6)
            self.mean.copy_(numbers.mean(dim=0))
            self.scale.copy_(torch.where(scale > least, scale, torch.ones_like(scale)))

    def scaled(self, numbers: Tensor) -> Tensor:
        """Standardised, in single precision; the difference is taken before precision is lost."""
        z = (numbers - self.mean.to(numbers.dtype)) / self.scale.to(numbers.dtype)
        return z.to(torch.float32)

    def fit_line(self, codes: Tensor, z: Tensor, c: Tensor) -> None:
        """Begin with a linear regression; rows of codes, standardised numbers and embedded features."""
        if self.density is not None:
            c = torch.cat([c, one_hot(codes, self.cards)], dim=-1)
            self.density.fit_line(z, c)

    def log_prob(self, codes: Tensor, z: Tensor, c: Tensor) -> Tensor:
        """Of codes and standardised numbers, per unit of the numbers before standardising; leading axes broadcast."""
        total = torch.zeros((), device=c.device)
        if self.cards:
            hot = one_hot(codes, self.cards)
            begin = 0
            for k, (head, card) in enumerate(zip(self.heads, self.cards, strict=True)):
                seen = _joined(c, hot[..., :begin])
                logs = head(seen).log_softmax(dim=-1)
                place = codes[..., k, None]
                lead = torch.broadcast_shapes(logs.shape[:-1], place.shape[:-1])
                logs = logs.expand((*lead, card))
                place = place.expand((*lead, 1))
                found = logs.gather(-1, place.clamp(max=card - 1))[..., 0]
                # What was never simulated has no probability.
                total = total + torch.where(place[..., 0] < card, found, -torch.inf)
                begin += card
            c = _joined(c, hot)
        if self.density is not None:
            total = total + self.density.log_prob(z, c) - self.scale.log().sum()
        return total

    def sample(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """One draw for each row of c: codes `(rows, codes)` and numbers `(rows, numbers)`."""
        codes = torch.zeros(len(c), 0, dtype=torch.int64)
        for k, head in enumerate(self.heads):
            seen = _joined(c, one_hot(codes, self.cards[:k]))
            probs = head(seen).softmax(dim=-1)
            codes = torch.cat([codes, torch.multinomial(probs, 1)], dim=1)
        if self.density is None:
            return codes, torch.zeros(len(c), 0, dtype=torch.float64)
        z = self.density.sample(_joined(c, one_hot(codes, self.cards)))
        return codes, z.to(torch.float64) * self.scale.to(torch.float64) + self.mean.to(
            torch.float64
        )


def _joined(c: Tensor, hot: Tensor) -> Tensor:
    """Features beside indicators, whose leading axes broadcast."""
    if not hot.shape[-1]:
        return c
    lead = torch.broadcast_shapes(c.shape[:-1], hot.shape[:-1])
    return torch.cat([c.expand((*lead, c.shape[-1])), hot.expand((*lead, hot.shape[-1]))], dim=-1)
