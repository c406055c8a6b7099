"""Four tasks of the benchmark of simulation-based inference, told as simulators, and three of them with their densities as well.

A benchmark of likelihood-free methods hides the likelihoods. Where they are written down the compiler trains nothing: it integrates, or samples. Where the
same lines return numbers instead of distributions it has to learn, and the first telling says how well it did. The posterior of two moons needs no
telling: it is the simulator's own noise, turned round.

Source: Lueckmann, Boelts, Greenberg, Gonçalves and Macke, Benchmarking simulation-based inference, AISTATS 2021; two moons of Greenberg, Nonnenmacher and
Macke 2019, SLCP ("simple likelihood, complex posterior") of Papamakarios, Sterratt and Murray 2019, the mixture of Sisson, Fan and Tanaka 2007. The
observations are our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

import ppl
from ppl.distributions import Bernoulli, MultivariateNormal, Normal, Uniform

# -- ten means --------------------------------------------------------------------------------------


@ppl.model
def gaussian_linear(model, opaque=False):
    """Ten means with a Gaussian prior and one observation each, all of variance 0.1."""

    @model.theta
    def theta():
        return Normal(torch.zeros(10), math.sqrt(0.1))

    if opaque:

        @model.observed
        def x(theta, rng):
            return theta + rng.normal(size=10) * math.sqrt(0.1)

    else:

        @model.observed
        def x(theta):
            return Normal(theta, math.sqrt(0.1))


# -- a mean under two noise levels ------------------------------------------------------------------


@ppl.model
def gaussian_mixture(model, opaque=False):
    """A mean in the plane, seen through a wide noise or one a tenth as wide."""

    @model.theta
    def theta():
        return Uniform(-10 * torch.ones(2), 10)

    if opaque:

        @model.observed
        def x(theta, rng):
            return theta + rng.normal(size=2) * (0.1 if rng.random() < 0.5 else 1.0)

    else:

        @model.latent
        def narrow():
            return Bernoulli(0.5)

        @model.observed
        def x(theta, narrow):
            return Normal(theta, 0.1 if narrow else 1.0)


# -- two moons --------------------------------------------------------------------------------------


@ppl.model
def two_moons(model):
    """A point on a crescent that is shifted by two sums of θ, the first without its sign: two modes, each a crescent."""

    @model.theta
    def theta():
        return Uniform(-torch.ones(2), 1)

    @model.observed
    def x(theta, rng):
        angle, radius = rng.uniform(-math.pi / 2, math.pi / 2), rng.normal(0.1, 0.01)
        across, along = -abs(theta[0] + theta[1]), theta[1] - theta[0]
        return numpy.array(
            [
                radius * math.cos(angle) + 0.25 + across * math.sqrt(0.5),
                radius * math.sin(angle) + along * math.sqrt(0.5),
            ]
        )


def two_moons_exactly(x: tuple[float, float], n: int, seed: int = 0) -> Tensor:
    """Draws of the posterior of two moons, `(n, 2)`: the crescent is turned round and the sign is a coin.

    The map from θ to the shift only turns and folds the plane, so a flat θ makes the noise itself the posterior, as long as the square is not left.
    """
    rng = numpy.random.default_rng(seed)
    angle, radius = rng.uniform(-math.pi / 2, math.pi / 2, n), rng.normal(0.1, 0.01, n)
    total = (radius * numpy.cos(angle) + 0.25 - x[0]) * rng.choice([-1, 1], n)
    difference = x[1] - radius * numpy.sin(angle)
    return torch.from_numpy(
        numpy.stack([total - difference, total + difference], axis=1) / math.sqrt(2)
    )


# -- a simple likelihood and a complex posterior ----------------------------------------------------


@ppl.model
def slcp(model, opaque=False):
    """Four points of a Gaussian in the plane whose scales enter squared: four modes in five dimensions."""
    point = model.plate("point", 4)

    @model.theta
    def theta():
        return Uniform(-3 * torch.ones(5), 3)

    if opaque:

        @model.observed(plate=point)
        def x(theta, rng):
            one, two, rho = theta[2] ** 2, theta[3] ** 2, math.tanh(theta[4])
            a, b = rng.normal(size=2)
            return theta[:2] + numpy.array([one * a, two * (rho * a + math.sqrt(1 - rho**2) * b)])

    else:

        @model.observed(plate=point)
        def x(theta):
            one, two = theta[2] ** 2, theta[3] ** 2
            both = torch.tanh(theta[4]) * one * two
            rows = [torch.stack([one**2 + 1e-6, both]), torch.stack([both, two**2 + 1e-6])]
            return MultivariateNormal(theta[:2], torch.stack(rows))


TASKS: Mapping[str, Callable[..., ppl.Model]] = {
    "gaussian_linear": gaussian_linear,
    "gaussian_mixture": gaussian_mixture,
    "two_moons": two_moons,
    "slcp": slcp,
}
SEEN: Mapping[str, Any] = {
    "gaussian_linear": [0.4, -0.2, 0.1, 0.0, -0.6, 0.3, 0.5, -0.1, 0.2, -0.3],
    "gaussian_mixture": [1.5, -3.0],
    "two_moons": [0.0, 0.1],
    "slcp": [[0.21, -2.25], [-0.28, -3.94], [1.16, -2.97], [0.18, -3.29]],
}


def posterior(task: str, opaque: bool, simulations: int | None = None) -> ppl.Posterior:
    """θ of a task by the route that the compiler chooses."""
    model = two_moons() if task == "two_moons" else TASKS[task](opaque=opaque)
    budget = ppl.Budget(simulations=simulations)
    return ppl.infer(model, {"x": SEEN[task]}, of="theta", budget=budget)


def reference(task: str, n: int) -> Tensor:
    """Draws of the posterior of a task that owe nothing to simulations, `(n, dimensions)`."""
    if task == "two_moons":
        return two_moons_exactly(SEEN[task], n)
    return posterior(task, opaque=False).sample(n)["theta"]


def apart(one: Tensor, other: Tensor, directions: int = 20) -> float:
    """The largest gap between the distribution functions of two sets of draws, `(draws, dimensions)`, seen from several sides.

    The sides are the axes and directions drawn at random; a gap of 0.1 means that some half-plane holds a tenth more of one set than of the other.

    Example:
        >>> apart(torch.zeros(100, 2), torch.zeros(100, 2)), apart(torch.zeros(100, 2), torch.ones(100, 2))
        (0.0, 1.0)
    """
    generator = torch.Generator().manual_seed(0)
    size = one.shape[1]
    sides = torch.cat([torch.eye(size), torch.randn(directions, size, generator=generator)])
    gaps = []
    for side in sides.to(torch.float64):
        a, b = (draws.to(torch.float64) @ side for draws in (one, other))
        a, b = a.sort().values, b.sort().values
        at = torch.cat([a, b])
        gap = torch.searchsorted(a, at, right=True) / len(a)
        gap = gap - torch.searchsorted(b, at, right=True) / len(b)
        gaps.append(float(gap.abs().max()))
    return max(gaps)


def main(simulations: int = 4_000) -> None:
    """Print one task's two plans, and how far its two answers are apart."""
    explicit = posterior("gaussian_mixture", opaque=False)
    learned = posterior("gaussian_mixture", opaque=True, simulations=simulations)
    for found in (explicit, learned):
        print(found.plan, end="\n\n")
        print(found.summary(), end="\n\n")
    gap = apart(explicit.sample(5_000)["theta"], learned.sample(5_000)["theta"])
    print(f"  {explicit.method} and {learned.method} are {gap:.3f} apart at most")


if __name__ == "__main__":
    main()
