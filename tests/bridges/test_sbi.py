"""sbi runs on a model's prior and simulator, and agrees with the answer that is known.

sbi is none of our requirements, and brings many packages: `pip install "galton[bench]"` has it.
"""

import pytest
import torch

import ppl
from ppl.distributions import Gamma, Normal

sbi = pytest.importorskip(
    "sbi", reason='sbi is not installed: pip install "galton[bench]" to compare with it'
)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """sbi writes logs where it runs."""
    monkeypatch.chdir(tmp_path)


def line() -> ppl.Model:
    """A line through ten points; the posterior is Gaussian and known."""
    model = ppl.Model("line")
    row = model.plate("row", 10)
    model.input("x", plate=row)

    @model.theta
    def slope():
        return Normal(0, 2)

    @model.theta
    def height():
        return Normal(1, 1)

    @model.observed(plate=row)
    def y(slope, height, x):
        return Normal(height + slope * x, 0.5)

    return model


X = torch.linspace(-1, 1, 10)
SEEN = {"x": X, "y": 0.5 + 1.5 * X + 0.1 * torch.cos(9 * X)}


def test_npe_agrees_with_the_closed_form():
    """Means within a third of a standard deviation, and deviations within a third: 2,000 simulations, one round."""
    from sbi.inference import NPE, simulate_for_sbi
    from sbi.utils.user_input_checks import check_sbi_inputs, process_prior, process_simulator

    model = line()
    exact = ppl.infer(model, SEEN, method="closed")
    prior, simulator = model.vectors(inputs={"x": X})
    torch.manual_seed(0)
    checked, _, numpy = process_prior(prior)
    assert checked is prior
    wrapped = process_simulator(simulator, checked, numpy)
    check_sbi_inputs(wrapped, checked)
    theta, x = simulate_for_sbi(
        wrapped, checked, num_simulations=2000, simulation_batch_size=1000, seed=1
    )
    engine = NPE(prior=checked)
    engine.append_simulations(theta, x).train(max_num_epochs=100)
    posterior = engine.build_posterior()
    draws = posterior.sample((4000,), x=simulator.flat({"y": SEEN["y"]}), show_progress_bars=False)
    for name, values in prior.named(draws).items():
        sd = float(exact[name].sd)
        assert abs(float(values.mean()) - float(exact[name].mean)) < sd / 3
        assert float(values.std()) == pytest.approx(sd, rel=1 / 3)


def test_nle_walks_on_the_unconstrained_space_of_our_support():
    """A positive scale: sbi maps it by our support, and MCMC never leaves it; failed simulations are left out."""
    from sbi.inference import NLE
    from sbi.utils.sbiutils import mcmc_transform

    model = ppl.Model("noise")

    @model.theta
    def scale():
        return Gamma(3, 2)

    @model.theta
    def level(scale):
        return Normal(0, scale)

    @model.observed
    def y(level, scale, rng):
        if rng.random() < 0.05:
            raise ArithmeticError("the instrument is out of order")
        return level + scale * rng.normal(size=2)

    explicit = ppl.Model("noise", model.graph.subgraph(["scale", "level"]))

    @explicit.observed(name="y")
    def known(level, scale):
        return Normal([level, level], scale)

    seen = {"y": [1.0, 2.0]}
    exact = ppl.infer(explicit, seen)
    torch.manual_seed(0)
    to = mcmc_transform(model.prior)
    rows = model.prior.sample((5,))
    torch.testing.assert_close(to.inv(to(rows)), rows, rtol=1e-4, atol=1e-5)
    prior, simulator = model.vectors()
    theta = prior.sample((4000,))
    x = simulator(theta)
    assert 0.03 < float(torch.isnan(x).any(dim=1).double().mean()) < 0.07
    engine = NLE(prior=prior)
    engine.append_simulations(theta, x, exclude_invalid_x=True).train(max_num_epochs=100)
    posterior = engine.build_posterior(
        mcmc_method="slice_np_vectorized", mcmc_parameters={"num_chains": 20, "thin": 1}
    )
    draws = posterior.sample((2000,), x=simulator.flat(seen), show_progress_bars=False)
    found = prior.named(draws)
    assert bool((found["scale"] > 0).all())
    for name in ("scale", "level"):
        sd = float(exact[name].sd)
        assert abs(float(found[name].mean()) - float(exact[name].mean)) < sd / 3
        assert float(found[name].std()) == pytest.approx(sd, rel=1 / 3)
