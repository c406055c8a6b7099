"""Simulations in the hands of other programs."""

import numpy
import pandas
import pytest
import torch

import ppl
from ppl.distributions import Normal


@pytest.fixture(params=["memory", "store"])
def draws(request, tmp_path):
    """A number, a pair in a plate, and a failure now and then."""
    model = ppl.Model("m")
    item = model.plate("item", 3)
    model.theta(lambda: Normal(0, 1), name="a")
    model.latent(lambda a: Normal(a * torch.ones(2), 1), name="b", plate=item)
    model.observed(lambda a, rng: float("nan") if a > 1 else a + rng.normal(), name="y")
    store = {"store": tmp_path / "runs"} if request.param == "store" else {}
    return model.simulate(300, seed=1, **store)


def test_numpy_files(draws, tmp_path):
    """One a node, and the status."""
    draws.to_numpy(tmp_path / "out")
    for name in draws:
        found = numpy.load(tmp_path / "out" / f"{name}.npy")
        assert numpy.array_equal(found, draws[name].numpy(), equal_nan=True)
    assert numpy.array_equal(numpy.load(tmp_path / "out" / "status.npy"), draws.status.numpy())


def test_a_parquet_table(draws, tmp_path):
    """One row a draw, one column a number."""
    draws.to_parquet(tmp_path / "draws.parquet")
    frame = pandas.read_parquet(tmp_path / "draws.parquet")
    assert list(frame.columns) == [
        "a",
        *(f"b[{i},{k}]" for i in range(3) for k in range(2)),
        "y",
        "status",
    ]
    assert len(frame) == 300
    assert numpy.array_equal(frame["b[2,1]"], draws["b"][:, 2, 1].numpy())
    assert numpy.array_equal(frame["y"].isna(), draws.failed.numpy())
