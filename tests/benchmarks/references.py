"""Numbers of the gallery that no source prints: `python -m tests.benchmarks.references [flu] [slcp]`.

`flu`: the stochastic epidemic of `examples/flu_1978.py` by a particle filter on a grid of rates. `slcp`: the posterior of the four points of
`examples/benchmark_tasks.py` by importance sampling. Neither shares a line with the library.
"""

from __future__ import annotations

import math
import sys

import numpy
from scipy.special import gammaln, logsumexp

from examples.benchmark_tasks import SEEN
from examples.flu_1978 import BOYS, IN_BED, STEPS

LOG_FACTORIAL = gammaln(numpy.arange(4 * BOYS) + 1.0)


def main() -> None:
    """Both, or what is named."""
    parts = {"flu": flu, "slcp": slcp}
    for name in sys.argv[1:] or parts:
        print(name, flush=True)
        parts[name]()


def flu(particles: int = 500, points: int = 13) -> None:
    """Moments of infection, recovery and their ratio.

    The filter's estimates scatter by about one, the log posterior is a smooth hill: a paraboloid in the logarithms is laid through them where it counts.
    """
    rng = numpy.random.default_rng(0)
    grid = numpy.meshgrid(numpy.linspace(1.6, 2.2, points), numpy.linspace(0.43, 0.56, points))
    rates = numpy.log(numpy.stack([g.ravel() for g in grid], axis=1))
    logs = numpy.array([filtered(*numpy.exp(r), particles, rng) for r in rates])
    # LogNormal priors; flat in the logarithms otherwise.
    centre = numpy.log([1.7, 0.5])
    logs = logs - 0.5 * (((rates - centre) / 0.4) ** 2).sum(axis=1)
    near = logs > logs.max() - 8

    def terms(r: numpy.ndarray) -> numpy.ndarray:
        x, y = (r - centre).T
        return numpy.stack([x**0, x, y, x * x, x * y, y * y], axis=1)

    hill, *_ = numpy.linalg.lstsq(terms(rates[near]), logs[near], rcond=None)
    scatter = (logs[near] - terms(rates[near]) @ hill).std()
    print(f"  {near.sum()} points, which scatter by {scatter:.2f} about the hill")
    precision = -numpy.array([[2 * hill[3], hill[4]], [hill[4], 2 * hill[5]]])
    top = centre + numpy.linalg.solve(precision, hill[1:3])
    draws = numpy.exp(rng.multivariate_normal(top, numpy.linalg.inv(precision), 1_000_000))
    found = {"infection": draws[:, 0], "recovery": draws[:, 1]}
    found["reproduction"] = draws[:, 0] / draws[:, 1]
    for name, value in found.items():
        print(f"  {name:<13} mean {value.mean():.4f}  sd {value.std():.4f}")


def filtered(infection: float, recovery: float, particles: int, rng: numpy.random.Generator):
    """An estimate of log p(boys in bed | rates).

    All steps of a day but the last are simulated, and particles that head for the day's count are preferred; the last one is summed over the number of
    infections, given that as many are ill as were counted.
    """
    healthy, ill, total = numpy.full(particles, BOYS - 1), numpy.ones(particles, int), 0.0
    recovers = 1 - math.exp(-recovery / STEPS)

    def falls_ill() -> numpy.ndarray:
        p = 1 - numpy.exp(-infection * ill / BOYS / STEPS)
        return numpy.clip(p, 1e-300, 1 - 1e-12)

    def resampled(logs: numpy.ndarray) -> numpy.ndarray:
        return rng.choice(particles, particles, p=numpy.exp(logs - logsumexp(logs)))

    for count in IN_BED:
        before = numpy.zeros(particles)
        for left in range(STEPS - 1, 0, -1):
            infected = rng.binomial(healthy, falls_ill())
            ill = ill + infected - rng.binomial(ill, recovers)
            healthy = healthy - infected
            # A Gaussian guess at how many will be ill at the end of the day; what it prefers is taken back below.
            come, go = left * healthy * falls_ill(), left * ill * recovers
            spread = 1.5 * (come + go) + 1
            guess = -0.5 * (count - ill - come + go) ** 2 / spread - 0.5 * numpy.log(spread)
            weights = guess - before
            total += logsumexp(weights) - math.log(particles)
            kept = resampled(weights)
            healthy, ill, before = healthy[kept], ill[kept], guess[kept]
        p = falls_ill()
        most = int((healthy * p + 8 * numpy.sqrt(healthy * p + 1) + 8).max())
        new = numpy.arange(min(most, int(healthy.max())) + 1)
        logs = _binomial(new, healthy[:, None], p[:, None])
        logs = logs + _binomial(ill[:, None] + new - count, ill[:, None], numpy.array(recovers))
        weights = logsumexp(logs, axis=1) - before
        if not numpy.isfinite(weights).any():
            return -math.inf
        total += logsumexp(weights) - math.log(particles)
        kept = resampled(weights)
        # Gumbel's trick draws one number of infections for each particle that is kept.
        infected = (logs[kept] + rng.gumbel(size=logs.shape)).argmax(axis=1)
        healthy, ill = healthy[kept] - infected, numpy.full(particles, count)
    return total


def _binomial(k: numpy.ndarray, n: numpy.ndarray, p: numpy.ndarray) -> numpy.ndarray:
    """log Binomial(k; n, p), minus infinity outside."""
    inside = (k >= 0) & (k <= n)
    k = numpy.where(inside, k, 0)
    logs = LOG_FACTORIAL[n] - LOG_FACTORIAL[k] - LOG_FACTORIAL[n - k]
    return numpy.where(inside, logs + k * numpy.log(p) + (n - k) * numpy.log1p(-p), -numpy.inf)


def slcp(pilot: int = 4_000_000, batches: int = 40, size: int = 50_000) -> None:
    """Moments of the two means, the sizes of the two roots of the scales, and the number whose tanh is the correlation."""
    rng, degrees = numpy.random.default_rng(0), 5
    low, high = numpy.array([-3.0, -3, 0, 0, -3]), numpy.full(5, 3.0)
    tried = rng.uniform(low, high, (pilot, 5))
    logs = _slcp(tried)
    weights = numpy.exp(logs - logsumexp(logs))
    centres = tried[rng.choice(pilot, 400, p=weights)]
    root = numpy.linalg.cholesky(0.5 * numpy.cov(tried[rng.choice(pilot, 20_000, p=weights)].T))
    inverse = numpy.linalg.inv(root)
    constant = gammaln((degrees + 5) / 2) - gammaln(degrees / 2) - 2.5 * math.log(degrees * math.pi)
    constant -= numpy.log(numpy.diag(root)).sum() + math.log(len(centres))
    points, ratios = [], []
    for _ in range(batches):
        # A Student t around one of the pilot's points; one in ten from the prior, so that no weight is large.
        z = rng.normal(size=(size, 5)) / numpy.sqrt(rng.chisquare(degrees, (size, 1)) / degrees)
        theta = centres[rng.integers(len(centres), size=size)] + z @ root.T
        flat = rng.random(size) < 0.1
        theta[flat] = rng.uniform(low, high, (flat.sum(), 5))
        theta = theta[((theta > low) & (theta < high)).all(axis=1)]
        a, c = theta @ inverse.T, centres @ inverse.T
        far = (a**2).sum(1)[:, None] + (c**2).sum(1) - 2 * a @ c.T
        near = logsumexp(-(degrees + 5) / 2 * numpy.log1p(far.clip(0) / degrees), axis=1) + constant
        box = -numpy.log(high - low).sum()
        points.append(theta)
        ratios.append(_slcp(theta) - numpy.logaddexp(math.log(0.9) + near, math.log(0.1) + box))
    theta, logs = numpy.concatenate(points), numpy.concatenate(ratios)
    weights = numpy.exp(logs - logsumexp(logs))
    mean = weights @ theta
    sd = (weights @ (theta - mean) ** 2) ** 0.5
    for k in range(5):
        print(f"  θ{k + 1} mean {mean[k]:.4f}  sd {sd[k]:.4f}")
    print(f"  effective draws {1 / (weights**2).sum():,.0f}")


def _slcp(theta: numpy.ndarray) -> numpy.ndarray:
    """The log likelihood by its sufficient statistics, up to a constant."""
    x = numpy.array(SEEN["slcp"])
    centre = x.mean(axis=0)
    scatter = (x - centre).T @ (x - centre)
    off = centre - theta[:, :2]
    one, two, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, numpy.tanh(theta[:, 4])
    a = (scatter[0, 0] + 4 * off[:, 0] ** 2) / one**2
    b = (scatter[1, 1] + 4 * off[:, 1] ** 2) / two**2
    both = (scatter[0, 1] + 4 * off[:, 0] * off[:, 1]) / (one * two)
    rest = 1 - rho**2
    return -4 * numpy.log(one * two) - 2 * numpy.log(rest) - (a - 2 * rho * both + b) / (2 * rest)


if __name__ == "__main__":
    main()
