"""A posterior in ArviZ, pandas and notebooks."""

import sys

import numpy
import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Normal

from .routes import ROUTES, answered, each

EVIL = "<script>alert(1)</script>"


@each
def test_arviz_gets_the_draws_with_the_names_of_the_plates(case, method):
    """Chains as chains; the mean is the posterior's."""
    pytest.importorskip("arviz_base")
    found = answered(case, method)
    tree = found.to_arviz(500, seed=2)
    array = tree["posterior"][case.ask]
    assert array.dims == ("chain", "draw", *found[case.ask].plates)
    assert (array.sizes["chain"] > 1) == (method in ("nuts", "smc"))
    if method == "nuts":
        assert tree["sample_stats"]["energy"].dims == ("chain", "draw")
    size = min(
        getattr(found[case.ask], "effective_size", 500), array.sizes["chain"] * array.sizes["draw"]
    )
    error = (found[case.ask].sd / size**0.5).numpy()
    gap = numpy.abs(array.mean(("chain", "draw")).to_numpy() - found[case.ask].mean.numpy())
    assert bool((gap <= 6 * error).all())
    (seen,) = found.observation.observed
    assert (
        tree["observed_data"][seen].to_numpy().tolist()
        == found.observation.observed[seen][0].tolist()
    )
    assert tree.attrs["grade"] == found.certificate.grade


def test_arviz_summarises_our_chains_as_we_do():
    """ESS, R-hat and mean, by ArviZ's own function on the exported tree."""
    pytest.importorskip("xarray_einstats")
    stats = pytest.importorskip("arviz_stats")
    case = next(c for c, m in ROUTES if c.name == "coin")
    found = answered(case, "nuts")
    theirs = stats.summary(found.to_arviz(), round_to="none").loc["bias"]
    (ours,) = found.summary().rows
    assert float(theirs["ess_bulk"]) == pytest.approx(ours["ess"], rel=1e-6)
    assert float(theirs["r_hat"]) == pytest.approx(ours["rhat"], rel=1e-6)
    assert float(theirs["mean"]) == pytest.approx(ours["mean"], rel=1e-6)


def plates() -> ppl.Posterior:
    """A labelled node, a plate, a vector, an input, a missing cell."""
    model = ppl.Model("m")
    row = model.plate("row", 3)
    model.input("dose", plate=row)
    model.latent(lambda: Bernoulli(0.3), name="sky", states=("dry", EVIL))
    model.theta(lambda sky: Normal([0.0, 1.0], 1.0 + sky), name="w", plate=row)
    model.observed(lambda w, dose: Normal(w.sum() + dose, 1), name="y", plate=row)
    return ppl.infer(
        model,
        {"y": [1.0, None, 2.0], "dose": [0.0, 1.0, 2.0]},
        of=["sky", "w"],
        method="closed",
    )


def test_arviz_groups_on_request():
    """Prior and predictive draws, inputs, and a missing cell as NaN."""
    pytest.importorskip("arviz_base")
    tree = plates().to_arviz(50, predictive=True, prior=True)
    assert set(tree.children) == {
        *("posterior", "posterior_predictive", "prior", "prior_predictive"),
        *("observed_data", "constant_data"),
    }
    assert tree["posterior_predictive"]["y"].dims == ("chain", "draw", "row")
    assert tree["posterior"]["w"].sizes["row"] == 3
    assert tree["posterior"]["sky"].attrs["states"] == ["dry", EVIL]
    assert numpy.isnan(tree["observed_data"]["y"].to_numpy()).tolist() == [False, True, False]
    assert tree["constant_data"]["dose"].to_numpy().tolist() == [0.0, 1.0, 2.0]


def test_pandas_has_a_column_for_each_number():
    """Labels are categories; the rows are joint draws."""
    found = plates()
    frame = found.to_pandas(40, seed=3)
    assert list(frame.columns) == ["sky", *(f"w[{i}, {j}]" for i in range(3) for j in range(2))]
    assert set(frame["sky"]) <= {"dry", EVIL}
    assert list(frame["sky"].cat.categories) == ["dry", EVIL]
    assert torch.equal(torch.tensor(frame["w[2, 1]"]), found.sample(40, 3)["w"][:, 2, 1])


@pytest.mark.parametrize(
    ("library", "wish"),
    [
        ("pandas", lambda p: p.to_pandas()),
        ("pandas", lambda p: p.summary().to_pandas()),
        ("arviz_base", lambda p: p.to_arviz()),
        ("xarray", lambda p: p["w"].to_xarray()),
    ],
)
def test_a_library_that_is_missing_is_named(library, wish, monkeypatch):
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ppl.BackendError, match="pip install"):
        wish(plates())


def test_notebooks_escape_names_and_set_no_colours():
    """Labels and names are the user's, and notebooks are dark or light."""
    model = ppl.Model(EVIL)
    model.latent(lambda: Bernoulli(0.3), name="sky", states=("dry", EVIL))
    model.observed(lambda sky: Bernoulli([0.2, 0.7][sky]), name="wet")
    plan = ppl.compile(model, given=["wet"])
    found, many = plan.posterior({"wet": 1}), plan.posteriors({"wet": [0, 1]})
    fitted = ppl.fit(model, {"sky": [0, 1, 1], "wet": [0, 1, 0]})
    shown = [model, model.graph, plan, found, many, found["sky"], found.summary(), fitted]
    shown += [found.certificate, found.compare(found), found.joint("sky")]
    shown += [found.most_probable(), many["sky"]]
    for thing in shown:
        html = thing._repr_html_().replace("color: inherit", "")
        assert "<script" not in html, type(thing)
        assert "color" not in html
        assert "background" not in html
    assert "&lt;script&gt;" in found._repr_html_()
