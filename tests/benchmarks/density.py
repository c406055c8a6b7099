"""Sampling explicit densities: least bulk effective sample size per second, ours beside the peers that are installed.

    python -m tests.benchmarks.density [model ...]

Every sampler gets the same model with its finite part summed out by hand where it cannot do so itself, and its own defaults. The clock runs from
the model in memory to the draws: compilation, warm-up and sampling. Pyro's chains are short, because they are slow; the ratio is per second.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
import warnings
from collections.abc import Callable

import numpy
import torch

import ppl
from examples import flu_1978, galton_board
from tests import published

warnings.simplefilter("ignore")

Draws = dict[str, numpy.ndarray]  # by node, `(chains, draws, ...)`

#: A peer whose chains disagree by more has no posterior, and no speed.
DISAGREE = 1.1


def least_size(draws: Draws) -> float:
    """The least bulk effective sample size over all numbers."""
    from arviz_stats.base import array_stats

    sizes = []
    for value in draws.values():
        flat = numpy.asarray(value, dtype=float).reshape((*value.shape[:2], -1))
        flat = flat[:, :, flat.std(axis=(0, 1)) > 0]
        sizes.append(array_stats.ess(flat, chain_axis=0, draw_axis=1, method="bulk").min())
    return float(min(sizes))


def worst_rhat(draws: Draws) -> float:
    """The largest rank R-hat over all numbers, one chain split in two."""
    from arviz_stats.base import array_stats

    found = []
    for value in draws.values():
        flat = numpy.asarray(value, dtype=float).reshape((*value.shape[:2], -1))
        flat = flat[:, :, flat.std(axis=(0, 1)) > 0]
        if len(flat) == 1:
            half = flat.shape[1] // 2
            flat = numpy.concatenate([flat[:, :half], flat[:, half : 2 * half]])
        found.append(array_stats.rhat(flat, chain_axis=0, draw_axis=1, method="rank").max())
    return float(max(found))


# -- ours ------------------------------------------------------------------------------------------


def ours(model: ppl.Model, seen: dict) -> tuple[Draws, float, str]:
    """The draws of the route that the compiler takes, seconds, and the certificate's grade."""
    begun = time.perf_counter()
    found = ppl.infer(model, seen)
    seconds = time.perf_counter() - begun
    chains = found.certificate.checks["chains"]
    draws = {
        name: found[name]._values.reshape((chains, -1, *found[name].mean.shape)).numpy()
        for name in found
    }
    return draws, seconds, found.certificate.grade


# -- Pyro -----------------------------------------------------------------------------------------


def pyro_models() -> dict[str, Callable]:
    """The same models for Pyro, with the finite part summed out by hand."""
    import pyro
    import pyro.distributions as dist

    def schools():
        seen = published.schools()[1]
        y, error = torch.tensor(seen["y"]).double(), torch.tensor(seen["error"]).double()
        mu = pyro.sample("mu", dist.Normal(torch.tensor(0.0).double(), 5))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0).double()))
        z = pyro.sample("z", dist.Normal(torch.zeros(8).double(), 1).to_event(1))
        pyro.sample("y", dist.Normal(mu + tau * z, error).to_event(1), obs=y)

    def hmm():
        y = torch.tensor(published.hmm()[1]["y"]).double()
        move = pyro.sample("transition", dist.Dirichlet(torch.ones(2, 2).double()).to_event(1))
        prior = dist.Normal(torch.tensor([3.0, 10.0]).double(), 1).to_event(1)
        level = pyro.sample("level", prior)
        logs = dist.Normal(level, 1).log_prob(y[:, None])
        alpha, step = logs[0] - math.log(2), move.log()
        for t in range(1, len(y)):
            alpha = torch.logsumexp(alpha[:, None] + step, dim=0) + logs[t]
        pyro.factor("y", torch.logsumexp(alpha, dim=0))

    def mixture():
        y = torch.tensor(published.mixture()[1]["y"])
        weight = pyro.sample("weight", dist.Beta(torch.tensor(2.0).double(), 2))
        level = pyro.sample("level", dist.Normal(torch.tensor([0.0, 4.0]).double(), 2).to_event(1))
        spread = pyro.sample("spread", dist.LogNormal(torch.zeros(2).double(), 0.5).to_event(1))
        logs = dist.Normal(level, spread).log_prob(y[:, None])
        mix = torch.stack([(1 - weight).log(), weight.log()])
        pyro.factor("y", torch.logsumexp(logs + mix, dim=1).sum())

    def regression():
        seen = published.regression()[1]
        x, y = torch.tensor(seen["x"]), torch.tensor(seen["y"]).double()
        intercept = pyro.sample("intercept", dist.Normal(torch.tensor(0.0).double(), 2))
        slope = pyro.sample("slope", dist.Normal(torch.zeros(20).double(), 1).to_event(1))
        pyro.sample("y", dist.Bernoulli(logits=intercept + x @ slope).to_event(1), obs=y)

    def flu():
        infection = pyro.sample("infection", positive(dist, 2.0, 1.0))
        recovery = pyro.sample("recovery", positive(dist, 0.4, 0.5))
        scatter = pyro.sample("scatter", dist.Exponential(torch.tensor(5.0).double()))
        ill = curve(infection, recovery, torch.stack)
        gamma = dist.GammaPoisson(1 / scatter, 1 / (scatter * ill))
        pyro.sample("y", gamma.to_event(1), obs=torch.tensor(flu_1978.IN_BED).double())

    def positive(dist, mean, sd):
        from ppl.distributions import Normal, Truncated, adopt  # noqa: F401

        base = dist.Normal(torch.tensor(mean).double(), sd)
        return Positive(base)

    class Positive(torch.distributions.Distribution):
        """A normal cut at zero, for Pyro, which has none."""

        support = torch.distributions.constraints.positive
        has_rsample = False
        arg_constraints: dict = {}

        def __init__(self, base):
            self.base = base
            super().__init__(base.batch_shape, validate_args=False)

        def __call__(self, *args, **kwargs):
            return self.sample()

        def sample(self, shape=()):
            low = self.base.cdf(torch.tensor(0.0).double())
            return self.base.icdf(low + (1 - low) * torch.rand(shape).double())

        def log_prob(self, x):
            return self.base.log_prob(x) - torch.log1p(-self.base.cdf(torch.tensor(0.0).double()))

        def expand(self, shape, _instance=None):
            return self

        def has_enumerate_support(self):
            return False

    return {
        "eight schools": schools,
        "HMM": hmm,
        "mixture": mixture,
        "regression": regression,
        "influenza": flu,
    }


def curve(infection, recovery, stack):
    """The number of ill boys on each day, by the same steps as the example's."""
    healthy, now, counts, h = flu_1978.BOYS - 1.0, 1.0, [], 1 / flu_1978.STEPS

    def change(healthy, ill):
        infected = infection * healthy * ill / flu_1978.BOYS
        return -infected, infected - recovery * ill

    for _ in flu_1978.IN_BED:
        for _ in range(flu_1978.STEPS):
            a = change(healthy, now)
            b = change(healthy + h / 2 * a[0], now + h / 2 * a[1])
            c = change(healthy + h / 2 * b[0], now + h / 2 * b[1])
            d = change(healthy + h * c[0], now + h * c[1])
            healthy = healthy + h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
            now = now + h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
        counts.append(now)
    return stack(counts)


def run_pyro(model: Callable, warmup: int, draws: int) -> tuple[Draws, float]:
    """One chain of Pyro's NUTS."""
    import pyro
    from pyro.infer import MCMC, NUTS

    pyro.set_rng_seed(1)
    begun = time.perf_counter()
    chain = MCMC(NUTS(model), num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    chain.run()
    seconds = time.perf_counter() - begun
    return {n: v[None].numpy() for n, v in chain.get_samples().items()}, seconds


# -- NumPyro ----------------------------------------------------------------------------------------


def numpyro_models() -> dict[str, Callable]:
    """The same models for NumPyro."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    numpyro.enable_x64()

    def schools():
        seen = published.schools()[1]
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        z = numpyro.sample("z", dist.Normal(jnp.zeros(8), 1).to_event(1))
        numpyro.sample(
            "y", dist.Normal(mu + tau * z, jnp.array(seen["error"])), obs=jnp.array(seen["y"])
        )

    def hmm():
        y = jnp.array(published.hmm()[1]["y"])
        move = numpyro.sample("transition", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
        level = numpyro.sample("level", dist.Normal(jnp.array([3.0, 10.0]), 1).to_event(1))
        logs = dist.Normal(level, 1).log_prob(y[:, None])
        step = jnp.log(move)

        def forward(alpha, log):
            return jax.scipy.special.logsumexp(alpha[:, None] + step, axis=0) + log, None

        alpha, _ = jax.lax.scan(forward, logs[0] - math.log(2), logs[1:])
        numpyro.factor("y", jax.scipy.special.logsumexp(alpha))

    def mixture():
        y = jnp.array(published.mixture()[1]["y"])
        weight = numpyro.sample("weight", dist.Beta(2, 2))
        level = numpyro.sample("level", dist.Normal(jnp.array([0.0, 4.0]), 2).to_event(1))
        spread = numpyro.sample("spread", dist.LogNormal(jnp.zeros(2), 0.5).to_event(1))
        logs = dist.Normal(level, spread).log_prob(y[:, None])
        mix = jnp.stack([jnp.log1p(-weight), jnp.log(weight)])
        numpyro.factor("y", jax.scipy.special.logsumexp(logs + mix, axis=1).sum())

    def regression():
        seen = published.regression()[1]
        intercept = numpyro.sample("intercept", dist.Normal(0, 2))
        slope = numpyro.sample("slope", dist.Normal(jnp.zeros(20), 1).to_event(1))
        logits = intercept + jnp.array(seen["x"]) @ slope
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=jnp.array(seen["y"]))

    def flu():
        infection = numpyro.sample("infection", dist.TruncatedNormal(2, 1, low=0))
        recovery = numpyro.sample("recovery", dist.TruncatedNormal(0.4, 0.5, low=0))
        scatter = numpyro.sample("scatter", dist.Exponential(5))
        h = 1 / flu_1978.STEPS

        def change(s):
            infected = infection * s[0] * s[1] / flu_1978.BOYS
            return jnp.stack([-infected, infected - recovery * s[1]])

        def day(s, _):
            def step(_, s):
                a = change(s)
                b = change(s + h / 2 * a)
                c = change(s + h / 2 * b)
                d = change(s + h * c)
                return s + h / 6 * (a + 2 * b + 2 * c + d)

            for i in range(flu_1978.STEPS):
                s = step(i, s)
            return s, s[1]

        begin = jnp.array([flu_1978.BOYS - 1.0, 1.0])
        _, ill = jax.lax.scan(day, begin, None, length=len(flu_1978.IN_BED))
        numpyro.sample(
            "y", dist.NegativeBinomial2(ill, 1 / scatter), obs=jnp.array(flu_1978.IN_BED)
        )

    return {
        "eight schools": schools,
        "HMM": hmm,
        "mixture": mixture,
        "regression": regression,
        "influenza": flu,
    }


def run_numpyro(model: Callable) -> tuple[Draws, float]:
    """Four chains of NumPyro's NUTS, a thousand draws each after a thousand of warm-up."""
    import jax
    from numpyro.infer import MCMC, NUTS

    begun = time.perf_counter()
    chains = MCMC(
        NUTS(model),
        num_warmup=1000,
        num_samples=1000,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    chains.run(jax.random.PRNGKey(1))
    found = {n: numpy.asarray(v) for n, v in chains.get_samples(group_by_chain=True).items()}
    return found, time.perf_counter() - begun


# -- PyMC and nutpie ----------------------------------------------------------------------------------


def pymc_models() -> dict[str, Callable]:
    """The same models for PyMC."""
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    def schools():
        seen = published.schools()[1]
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        z = pm.Normal("z", 0, 1, shape=8)
        pm.Normal("y", mu + tau * z, numpy.array(seen["error"]), observed=seen["y"])

    def hmm():
        y = numpy.array(published.hmm()[1]["y"])
        move = pm.Dirichlet("transition", numpy.ones((2, 2)))
        level = pm.Normal("level", numpy.array([3.0, 10.0]), 1)
        logs = pm.logp(pm.Normal.dist(level, 1), y[:, None])
        step = pt.log(move)

        def forward(log, alpha, step):
            return pt.logsumexp(alpha[:, None] + step, axis=0) + log

        alphas = pytensor.scan(
            forward,
            sequences=[logs[1:]],
            outputs_info=[logs[0] - math.log(2)],
            non_sequences=[step],
            return_updates=False,
        )
        pm.Potential("y", pt.logsumexp(alphas[-1]))

    def mixture():
        weight = pm.Beta("weight", 2, 2)
        level = pm.Normal("level", numpy.array([0.0, 4.0]), 2)
        spread = pm.LogNormal("spread", 0, 0.5, shape=2)
        y = published.mixture()[1]["y"]
        pm.NormalMixture("y", pt.stack([1 - weight, weight]), level, sigma=spread, observed=y)

    def regression():
        seen = published.regression()[1]
        intercept = pm.Normal("intercept", 0, 2)
        slope = pm.Normal("slope", 0, 1, shape=20)
        pm.Bernoulli("y", logit_p=intercept + pt.dot(seen["x"], slope), observed=seen["y"])

    def flu():
        infection = pm.TruncatedNormal("infection", 2, 1, lower=0)
        recovery = pm.TruncatedNormal("recovery", 0.4, 0.5, lower=0)
        scatter = pm.Exponential("scatter", 5)
        h = 1 / flu_1978.STEPS

        def change(s, infection, recovery):
            infected = infection * s[0] * s[1] / flu_1978.BOYS
            return pt.stack([-infected, infected - recovery * s[1]])

        def step(s, infection, recovery):
            a = change(s, infection, recovery)
            b = change(s + h / 2 * a, infection, recovery)
            c = change(s + h / 2 * b, infection, recovery)
            d = change(s + h * c, infection, recovery)
            return s + h / 6 * (a + 2 * b + 2 * c + d)

        states = pytensor.scan(
            step,
            outputs_info=[pt.as_tensor(numpy.array([flu_1978.BOYS - 1.0, 1.0]))],
            non_sequences=[infection, recovery],
            n_steps=flu_1978.STEPS * len(flu_1978.IN_BED),
            return_updates=False,
        )
        ill = states[flu_1978.STEPS - 1 :: flu_1978.STEPS, 1]
        pm.NegativeBinomial("y", mu=ill, alpha=1 / scatter, observed=flu_1978.IN_BED)

    return {
        "eight schools": schools,
        "HMM": hmm,
        "mixture": mixture,
        "regression": regression,
        "influenza": flu,
    }


def run_nutpie(model: Callable) -> tuple[Draws, float]:
    """Four chains of nutpie with its defaults, two at a time."""
    import nutpie
    import pymc as pm

    begun = time.perf_counter()
    with pm.Model() as made:
        model()
    compiled = nutpie.compile_pymc_model(made)
    trace = nutpie.sample(compiled, draws=1000, chains=4, cores=2, seed=1, progress_bar=False)
    seconds = time.perf_counter() - begun
    names = [v.name for v in made.free_RVs]
    return {n: trace.posterior[n].to_numpy() for n in names}, seconds


# -- the table ----------------------------------------------------------------------------------------

MODELS: dict[str, Callable] = {
    "eight schools": published.schools,
    "HMM": published.hmm,
    "mixture": published.mixture,
    "regression": published.regression,
    "influenza": lambda: (flu_1978.epidemic(), {"in_bed": flu_1978.IN_BED}),
}
#: Warm-up and draws of Pyro's one chain.
SHORT = {
    "eight schools": (500, 500),
    "HMM": (100, 100),
    "mixture": (300, 300),
    "regression": (300, 300),
    "influenza": (60, 60),
}


def sampling(chosen: list[str]) -> None:
    """Least effective size per second, model by model."""
    peers: dict[str, Callable] = {}
    if importlib.util.find_spec("numpyro"):
        models = numpyro_models()
        peers["NumPyro"] = lambda name: run_numpyro(models[name])
    if importlib.util.find_spec("nutpie") and importlib.util.find_spec("pymc"):
        pymc = pymc_models()
        peers["nutpie"] = lambda name: run_nutpie(pymc[name])
    pyro = pyro_models()
    peers["Pyro"] = lambda name: run_pyro(pyro[name], *SHORT[name])
    ratios: dict[str, list[float]] = {name: [] for name in peers}
    print(
        f"{'model':<14} {'sampler':<8} {'seconds':>8} {'least ESS':>10} {'ESS/s':>9} {'ours over it':>13}"
    )
    published.survival()  # so that no import is timed
    ppl.infer(*published.schools(), budget=ppl.Budget(seconds=20))
    for name in chosen:
        draws, seconds, grade = ours(*MODELS[name]())
        mine = least_size(draws) / seconds
        print(
            f"{name:<14} {'ours ' + grade:<8} {seconds:8.1f} {mine * seconds:10.0f} {mine:9.1f}",
            flush=True,
        )
        for peer, run in peers.items():
            try:
                draws, seconds = run(name)
            except Exception as error:  # a peer that fails is shown as failing
                print(f"{'':<14} {peer:<8} failed: {str(error).splitlines()[0][:80]}", flush=True)
                continue
            theirs, rhat = least_size(draws) / seconds, worst_rhat(draws)
            counts = rhat < DISAGREE
            if counts:
                ratios[peer].append(mine / theirs)
            print(
                f"{'':<14} {peer:<8} {seconds:8.1f} {theirs * seconds:10.0f} {theirs:9.1f} {mine / theirs:12.2f}×"
                + ("" if counts else f"  left out of the mean: R-hat {rhat:.2f}"),
                flush=True,
            )
    for peer, found in ratios.items():
        if found:
            mean = math.exp(sum(map(math.log, found)) / len(found))
            print(f"geometric mean over {peer} ({len(found)} models): {mean:.2f}×")


def without_sampling() -> None:
    """Quadrature and closed form: seconds from the model to the posterior, simulations."""
    cases = {
        "C1 one ball": (galton_board.galton_board(), {"final": [22]}, "slope"),
        "C1 twenty balls": (
            galton_board.galton_board(balls=20),
            {"final": galton_board.TWENTY_BALLS},
            "slope",
        ),
        "C14 MA(2)": (*published.ma2(), ["first", "second"]),
        "Kalman, 200 steps": (*published.walk(), None),
        "change point": (*published.coal(), None),
        "survival": (*published.survival(), None),
        "recapture": (*published.recapture(), None),
    }
    print(f"\n{'model':<20} {'route':<11} {'seconds':>8} {'log-evidence':>14}")
    for name, (model, seen, of) in cases.items():
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            found = ppl.infer(model, seen, of=of)
            seconds.append(time.perf_counter() - begun)
        print(
            f"{name:<20} {found.method:<11} {sorted(seconds)[1]:8.2f} {found.log_evidence:14.5f}",
            flush=True,
        )


def main() -> None:
    """Print both tables."""
    chosen = [name for name in MODELS if not sys.argv[1:] or name in sys.argv[1:]]
    without_sampling()
    print()
    sampling(chosen)


if __name__ == "__main__":
    main()
