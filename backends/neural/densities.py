"""Conditional densities p(y | c) of a few numbers: Gaussian mixtures and flows, on top of a linear regression.

What least squares explains is taken off first and what is left is whitened, so that a net learns only what a straight line does not say.

References:
    | Mixture density networks (Bishop, 1994)
    | Masked autoregressive flow for density estimation (Papamakarios, Pavlakou and Murray, 2017)
    | Neural spline flows (Durkan, Bekasov, Murray and Papamakarios, 2019)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

__all__ = [
    "COUPLED",
    "KINDS",
    "ConditionalDensity",
    "Residual",
    "density",
    "kind_for",
    "mlp",
    "regression",
]

#: The densities that `density=` takes.
KINDS = ("mixture", "spline", "affine", "coupling")
#: Up to so many numbers a mixture of Gaussians is both quick and close.
MIXED = 3
#: Gaussians of a mixture.
COMPONENTS = 8
#: Beyond so many numbers an autoregressive flow is slow to sample, one pass a number.
COUPLED = 24
#: Simulations from which the larger of two sizes of a net pays.
MANY = 5_000


class ConditionalDensity(nn.Module, ABC):
    """p(y | c) for rows."""

    @abstractmethod
    def log_prob(self, y: Tensor, c: Tensor) -> Tensor:
        """Of `y` `(…, numbers)` given `c` `(…, features)`, whose leading axes broadcast; `(…,)`."""

    @abstractmethod
    def sample(self, c: Tensor) -> Tensor:
        """One draw for each row of `c`, `(rows, numbers)`."""


def mlp(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    """Layers of one width with smooth kinks."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(inputs if i == 0 else width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width if depth else inputs, outputs))


class Mixture(ConditionalDensity):
    """Gaussians whose weights, means and full precisions are functions of c.

    Args:
        numbers: The length of y.
        features: The length of c.
        components: How many Gaussians.
        width: Of the net's layers.
    """

    def __init__(self, numbers: int, features: int, components: int, width: int = 64):
        super().__init__()
        self.numbers, self.components = numbers, components
        outputs = 1 + 2 * numbers + numbers * (numbers - 1) // 2
        self.net = mlp(features, components * outputs, width, 3)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            # At first: standard Gaussians around a few scattered means, the same for all c.
            last.weight.mul_(0.1)
            bias = torch.zeros(components, outputs)
            bias[:, 1 : 1 + numbers] = 0.5 * torch.randn(components, numbers)
            last.bias.copy_(bias.reshape(-1))

    def _read(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log weights `(…, k)`, means and log diagonals of the roots of the precisions `(…, k, d)`, and what is below these, `(…, k, d (d − 1) / 2)`."""
        d, k = self.numbers, self.components
        raw = self.net(c).reshape((*c.shape[:-1], k, -1))
        logs = raw[..., 1 + d : 1 + 2 * d].clamp(-8, 12)
        return raw[..., 0].log_softmax(dim=-1), raw[..., 1 : 1 + d], logs, raw[..., 1 + 2 * d :]

    def log_prob(self, y: Tensor, c: Tensor) -> Tensor:
        weights, means, logs, below = self._read(c)
        rest, scale = y.unsqueeze(-2) - means, logs.exp()
        total = weights + logs.sum(dim=-1) - 0.5 * self.numbers * math.log(2 * math.pi)
        # Row by row of the root: a few products are quicker than many small matrices.
        begin = 0
        for i in range(self.numbers):
            away = scale[..., i] * rest[..., i]
            for j in range(i):
                away = away + below[..., begin + j] * rest[..., j]
            begin += i
            total = total - 0.5 * away**2
        return torch.logsumexp(total, dim=-1)

    def sample(self, c: Tensor) -> Tensor:
        weights, means, logs, below = self._read(c)
        chosen = torch.multinomial(weights.exp(), 1)[:, 0]
        rows = torch.arange(len(c))
        mean, scale, low = means[rows, chosen], logs[rows, chosen].exp(), below[rows, chosen]
        root = torch.diag_embed(scale)
        places = torch.tril_indices(self.numbers, self.numbers, -1)
        root[:, places[0], places[1]] = low
        noise = torch.randn_like(mean).unsqueeze(-1)
        return mean + torch.linalg.solve_triangular(root, noise, upper=False).squeeze(-1)


class Flow(ConditionalDensity):
    """A chain of monotone maps that carries y to a standard Gaussian.

    Args:
        numbers: The length of y.
        features: The length of c.
        kind: `"spline"`, `"affine"` or `"coupling"` (a spline that maps half of the numbers at once).
        large: Whether there are simulations enough for three maps of many bins.
        width: Of the nets' layers.
    """

    def __init__(self, numbers: int, features: int, kind: str, large: bool, width: int = 64):
        super().__init__()
        import zuko

        # A spline in one dimension needs no second number to be mixed with.
        transforms = 2 if numbers == 1 else 3
        if kind == "coupling":
            transforms += 2
        settings = {"transforms": transforms, "hidden_features": (width, width)}
        if kind == "affine":
            self.flow = zuko.flows.MAF(numbers, features, activation=nn.SiLU, **settings)
        else:
            passes = 2 if kind == "coupling" else None
            self.flow = zuko.flows.NSF(
                numbers,
                features,
                bins=8 if large else 5,
                passes=passes,
                activation=nn.SiLU,
                **settings,
            )

    def log_prob(self, y: Tensor, c: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(y.shape[:-1], c.shape[:-1])
        y, c = y.expand((*lead, y.shape[-1])), c.expand((*lead, c.shape[-1]))
        return self.flow(c).log_prob(y)

    def sample(self, c: Tensor) -> Tensor:
        return self.flow(c).sample()


class Residual(ConditionalDensity):
    """A density of what a linear regression leaves, whitened.

    Args:
        inside: The density of the whitened rest.
        numbers: The length of y.
        features: The length of c.
    """

    whiten: Tensor
    unwhiten: Tensor

    def __init__(self, inside: ConditionalDensity, numbers: int, features: int):
        super().__init__()
        self.inside = inside
        self.line = nn.Linear(features, numbers)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)
        self.register_buffer("whiten", torch.eye(numbers))
        self.register_buffer("unwhiten", torch.eye(numbers))

    def fit_line(self, y: Tensor, c: Tensor) -> None:
        """Begin with the regression of y `(rows, numbers)` on c `(rows, features)`, and whiten what it leaves."""
        y = y.to(torch.float64)
        rest = regression(self.line, y, c)
        covariance = torch.atleast_2d(rest.T @ rest / len(rest))
        # Columns that the line explains wholly keep a width, so that what is whitened stays finite.
        floor = 1e-4 * torch.diag(torch.atleast_2d(y.var(dim=0)).reshape(-1).clamp(min=1e-12))
        root = torch.linalg.cholesky(covariance + floor)
        with torch.no_grad():
            self.unwhiten.copy_(root)
            self.whiten.copy_(torch.linalg.inv(root))

    def log_prob(self, y: Tensor, c: Tensor) -> Tensor:
        rest = (y - self.line(c)) @ self.whiten.T
        return self.inside.log_prob(rest, c) + self.whiten.diagonal().log().sum()

    def sample(self, c: Tensor) -> Tensor:
        return self.line(c) + self.inside.sample(c) @ self.unwhiten.T


def regression(line: nn.Linear, y: Tensor, c: Tensor) -> Tensor:
    """Set a line to least squares of y `(rows, numbers)` on c `(rows, features)`, with a little ridge; what it leaves, `(rows, numbers)`."""
    y, c = y.to(torch.float64), c.to(torch.float64)
    design = torch.cat([c, torch.ones(len(c), 1, dtype=torch.float64)], dim=1)
    gram = design.T @ design
    gram += 1e-6 * len(c) * torch.eye(len(gram), dtype=torch.float64)
    solution = torch.linalg.solve(gram, design.T @ y)
    with torch.no_grad():
        line.weight.copy_(solution[:-1].T)
        line.bias.copy_(solution[-1])
    return y - design @ solution


def kind_for(numbers: int) -> str:
    """Which density, by a rule: a mixture for up to three numbers, an affine flow beyond, coupling where sampling one number after the other would be slow."""
    if numbers <= MIXED:
        return "mixture"
    if numbers > COUPLED:
        return "coupling"
    return "affine"


def density(numbers: int, features: int, simulations: int, kind: str | None = None) -> Residual:
    """A fresh density of the kind that the rule, or the user, chooses."""
    kind = kind or kind_for(numbers)
    large = simulations >= MANY
    inside: ConditionalDensity
    if kind == "mixture":
        inside = Mixture(numbers, features, COMPONENTS)
    else:
        inside = Flow(numbers, features, kind, large)
    return Residual(inside, numbers, features)
