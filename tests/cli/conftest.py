"""A command line in a folder of its own, with a few models in it."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ppl.cli import app

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"

GARDEN = """
import ppl
from ppl.distributions import Bernoulli

garden = ppl.Model("garden")

@garden.latent(states=("dry", "rain"))
def weather():
    return Bernoulli(0.2)

@garden.observed
def wet(weather):
    return Bernoulli([0.1, 0.9][weather])
"""

MODELS = """
import ppl
from ppl.distributions import Bernoulli, Normal

print("read")

@ppl.model
def line(model, scale=1.0):
    row = model.plate("row")
    model.input("x", plate=row)

    @model.theta
    def slope():
        return Normal(0, scale)

    @model.observed(plate=row)
    def y(slope, x):
        return Normal(slope * x, 1)

@ppl.model
def pair(model, spread):
    @model.theta
    def mean():
        return Normal([0.0, 0.0], 1)

    @model.observed
    def z(mean):
        return Normal(mean, spread)

    @model.observed(states=("no", "yes"))
    def flag():
        return Bernoulli(0.5)

    @model.observed
    def noise(mean, rng):
        if mean[0] > 1:
            raise ArithmeticError("no solution")
        return mean[0] + rng.normal()

not_a_model = 3

def undecorated(model):
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: garden.py with one model, models.py with two factories, alarm.bif."""
    (tmp_path / "garden.py").write_text(GARDEN)
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "alarm.bif").symlink_to(DATA / "alarm.bif")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def galton(folder):
    """Type a command; what it said and its exit code come back."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
