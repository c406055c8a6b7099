"""A posterior in a file is the posterior, without its model; and whatever is not what was written is refused."""

import pytest
import torch

import ppl
from ppl.distributions import Bernoulli, Normal
from ppl.files import document

from .routes import ROUTES, answered, each


@each
def test_a_loaded_posterior_says_the_same_to_the_last_bit(case, method, tmp_path):
    """Marginals, the printed summary, evidence, certificate and data; saved once more, it is the same file."""
    found = answered(case, method)
    loaded = ppl.Posterior.load(found.save(tmp_path / "one"))
    one, two = found[case.ask], loaded[case.ask]
    for figure in ("mean", "sd", "standard_error"):
        assert torch.equal(getattr(one, figure), getattr(two, figure))
    if one.finite:
        assert torch.equal(one.probs, two.probs)
        assert torch.equal(one.domain, two.domain)
    assert str(loaded.summary()) == str(found.summary())
    assert getattr(loaded, "log_evidence", None) == getattr(found, "log_evidence", None)
    assert loaded.certificate == found.certificate
    assert (loaded.of, loaded.method, loaded.notes) == (found.of, found.method, found.notes)
    assert str(loaded.plan) == str(found.plan)
    for name, value in found.observation.observed.items():
        assert torch.equal(loaded.observation.observed[name], value)
    loaded.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@each
def test_its_draws_are_draws_of_the_posterior(case, method, tmp_path):
    """The same ones where the answer consists of draws."""
    found = answered(case, method)
    loaded = ppl.Posterior.load(found.save(tmp_path / "file"))
    draws = [p.sample(2000, seed=4)[case.ask] for p in (found, loaded)]
    if method in ("nuts", "smc", "rejection"):
        assert torch.equal(*draws)
    means = [value.to(torch.float64).mean(dim=0) for value in draws]
    assert bool(((means[0] - means[1]).abs() <= 6 * found[case.ask].sd * (2 / 2000) ** 0.5).all())
    assert loaded[case.ask].draws(9).shape == found[case.ask].draws(9).shape


def pair() -> ppl.Posterior:
    """Two finite nodes, one of them in a plate and one with labels."""
    model = ppl.Model("m")
    row = model.plate("row", 2)
    model.latent(lambda: Bernoulli(0.3), name="sky", states=("dry", "<wet>"))
    model.latent(lambda sky: Bernoulli([0.2, 0.9][sky]), name="z", plate=row)
    model.observed(lambda z: Bernoulli([0.4, 0.7][z]), name="x", plate=row)
    return ppl.infer(model, {"x": [1, None]}, of=["sky", "z"])


def test_a_small_joint_table_stays_exact(tmp_path):
    """And so do events, parts and comparisons."""
    found = pair()
    loaded = ppl.Posterior.load(found.save(tmp_path / "file"))
    for cells in (["sky"], ["z[1]", "sky"], ["z[1]", "z[0]", "sky"]):
        assert torch.allclose(loaded.joint(*cells).probs, found.joint(*cells).probs, atol=1e-15)
    assert loaded.joint("sky").states == (("dry", "<wet>"),)
    assert loaded.only("z").joint("z[0]", "z[1]").probs.sum() == pytest.approx(1)
    assert all(row["variation"] == 0 for row in loaded.compare(found).rows)
    assert loaded.graph.parents("z") == ("sky",)
    assert bool(loaded.observation.present["x"].tolist() == [[True, False]])


def test_what_needs_the_functions_of_the_model_says_so(tmp_path):
    """Predictions take the model from the program."""
    found = pair()
    loaded = ppl.Posterior.load(found.save(tmp_path / "file"))
    with pytest.raises(ppl.QueryError, match="model=model"):
        loaded.predict("x")


def test_predictions_with_the_model_go_on_from_the_file(tmp_path):
    """θ is in the file, the mechanism is in the program."""
    model = ppl.Model("m")
    model.theta(lambda: Normal(0, 1), name="t")
    model.observed(lambda t: Normal(t, 0.1), name="x")
    found = ppl.infer(model, {"x": 1.0}, method="closed")
    loaded = ppl.Posterior.load(found.save(tmp_path / "file"))
    drawn = loaded.predict("x", model=model, n=4000)["x"]
    assert float(drawn.mean()) == pytest.approx(float(found["t"].mean), abs=0.02)


def test_nothing_is_overwritten_without_force(tmp_path):
    """And a folder that is not there is not made."""
    found, path = pair(), tmp_path / "file"
    found.save(path)
    before = path.read_bytes()
    with pytest.raises(ppl.StoreError, match="force=True"):
        found.save(path)
    assert path.read_bytes() == before
    assert found.save(path, force=True) == path
    with pytest.raises(ppl.StoreError, match="no folder"):
        found.save(tmp_path / "nowhere" / "file")


def test_a_file_that_was_changed_is_refused(tmp_path):
    """Wherever one byte is another; cut short; of another kind; of a newer version; or missing."""
    found, path = pair(), tmp_path / "file"
    found.save(path)
    raw = path.read_bytes()
    for at in range(8, len(raw), max(len(raw) // 40, 1)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(ppl.FormatError):
            ppl.Posterior.load(path)
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ppl.FormatError):
        ppl.Posterior.load(path)
    with pytest.raises(ppl.FormatError, match="it says that it is a plan"):
        ppl.Posterior.load(found.plan.save(tmp_path / "plan"))
    document.write(tmp_path / "new", "posterior", 99, {}, force=False)
    with pytest.raises(ppl.FormatError, match="Update galton"):
        ppl.Posterior.load(tmp_path / "new")
    with pytest.raises(ppl.StoreError, match="no file"):
        ppl.Posterior.load(tmp_path / "none")


@pytest.mark.parametrize("lost", ["graph", "of", "answers", "data", "certificate", "plan"])
def test_a_well_made_document_that_is_no_posterior_is_refused(lost, tmp_path):
    """Whoever writes a valid checksum over nonsense gets no traceback of ours."""
    pair().save(tmp_path / "file")
    content = document.read(tmp_path / "file", "posterior", 1)
    for name, wrong in (("gone", None), ("number", 3), ("text", "x"), ("list", [{}])):
        changed = {k: v for k, v in content.items() if k != lost}
        if name != "gone" and lost != "plan":
            changed[lost] = wrong
        document.write(tmp_path / name, "posterior", 1, changed, force=False)
        with pytest.raises(ppl.FormatError, match="no posterior"):
            ppl.Posterior.load(tmp_path / name)


def test_every_kind_of_answer_is_written():
    """Draws, chains and what is more than draws."""
    kinds = {type(answered(c, m).answers[0]).__name__ for c, m in ROUTES}
    assert {"Draws", "Chains", "ExactAnswer", "ClosedAnswer", "QuadratureAnswer"} <= kinds
