"""Simulations are decided by the seed, the batch and the node's name, and by nothing else."""

import random

import numpy as np
import torch

import ppl
from ppl.campaign import batch_size
from ppl.distributions import Bernoulli, Normal
from ppl.mechanism import probe, read_data


def pair() -> ppl.Model:
    """Two normals, one below the other, and a simulator below both."""
    model = ppl.Model("pair")
    model.latent(lambda: Normal(0, 1), name="a")
    model.latent(lambda a: Normal(a, 1), name="b")
    model.observed(lambda b, rng: b + rng.normal(), name="c")
    return model


def test_equal_seeds_give_equal_bits_and_others_do_not():
    """Whatever the process did to its own generators."""
    one = pair().simulate(100, seed=4)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    two = pair().simulate(100, seed=4)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert not torch.equal(one["a"], pair().simulate(100, seed=5)["a"])


def test_the_process_keeps_its_random_state():
    """No global state leaks."""
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    pair().simulate(50)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert torch.get_default_dtype() == torch.float32


def test_an_intervention_shares_the_noise_of_what_it_leaves_alone():
    """And asking for fewer nodes changes none of them."""
    model = pair()
    assert torch.equal(model.do(b=0.0).simulate(50, seed=2)["a"], model.simulate(50, seed=2)["a"])
    assert torch.equal(model.simulate(50, seed=2, of="b")["b"], model.simulate(50, seed=2)["b"])
    assert set(model.simulate(5, of="a")) == {"a"}


def test_nodes_are_independent_where_the_graph_says_so():
    """Two nodes of one law share no noise: correlation within five standard errors of zero."""
    model = ppl.Model("m")
    row = model.plate("row", 3)
    model.latent(lambda: Normal(0, 1), name="x", plate=row)
    model.latent(lambda: Normal(0, 1), name="y", plate=row)
    draws = model.simulate(4000)
    columns = torch.cat([draws["x"], draws["y"]], dim=1)
    correlation = torch.corrcoef(columns.T) - torch.eye(6)
    assert float(correlation.abs().max()) < 5 / 4000**0.5


def test_batches_are_powers_of_two():
    """Small for simulators that are called singly, large otherwise, smaller for a large plate, and never much more than is wanted."""
    model = ppl.Model("m")
    row = model.plate("row", 10_000)
    model.latent(lambda: Bernoulli(0.5), name="x", plate=row)
    wide = probe(model.graph, read_data(model.graph))
    graph = pair().graph
    single = probe(graph, read_data(graph))
    for mechanism in (wide, single):
        for n in (1, 2, 10, 1000, 5000, 10**6):
            size = batch_size(mechanism, n)
            assert size & (size - 1) == 0
            assert -(-n // size) * size <= max(2 * n, n + 64)
    assert batch_size(wide, 10**6) * 10_000 <= 2**23
    assert batch_size(single, 1000) == 16
    assert batch_size(single, 10**6) == 1024
    assert len(model.simulate(70)["x"]) == 70


def test_failed_draws_are_kept_and_counted():
    """NaN from a simulator is a failure; the draw stays, and is marked."""
    model = ppl.Model("m")
    model.latent(lambda: Normal(0, 1), name="a")
    model.observed(lambda a, rng: float("nan") if a > 1 else a + rng.normal(), name="x")
    draws = model.simulate(500)
    assert torch.equal(draws.failed, draws["a"] > 1)
    assert draws.failures == {"x": int(draws.failed.sum())}
    assert "failed" in str(draws)
