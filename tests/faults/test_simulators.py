"""Simulators that raise, give nonsense, hang or end their process: every draw is there, with a status, and no other draw suffers."""

import threading
import time

import psutil
import pytest
import torch

import ppl
from ppl.campaign import trial
from ppl.errors import SimulationError
from ppl.mechanism import Status

from . import models
from .models import LIMIT, misbehaving, plain

N = 128


def behaves(act, status, workers, **running):
    """Exactly the draws below the limit have the status; the others are those of a model that behaves."""
    good = plain_values()
    found = misbehaving(act).simulate(
        N, seed=5, failures="record", workers=workers, progress=False, **running
    )
    bad = found["x"] < LIMIT
    assert 0 < int(bad.sum()) < N
    assert torch.equal(found.status, bad.to(torch.uint8) * int(status))
    assert torch.equal(found["x"], good["x"])
    assert torch.equal(found["y"][~bad], good["y"][~bad])
    assert found.failures == {"y": int(bad.sum())}
    assert status.words in str(found)
    return found


def plain_values():
    """What the same seed gives where nothing fails."""
    model = ppl.Model("misbehaving")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")
    model.observed(lambda x, rng: x + rng.normal(size=2), name="y")
    return model.simulate(N, seed=5)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("act", "status"),
    [
        (models.raising, Status.RAISED),
        (models.nan, Status.NOT_FINITE),
        (models.infinite, Status.NOT_FINITE),
        (models.longer, Status.MALFORMED),
        (models.nothing, Status.MALFORMED),
    ],
)
def test_failures_of_a_draw_are_its_own(act, status, workers):
    """Here and elsewhere."""
    behaves(act, status, workers)


@pytest.mark.parametrize(
    ("act", "status", "running"),
    [
        (models.hanging, Status.TIMED_OUT, {"timeout": 0.7}),
        (models.holding, Status.TIMED_OUT, {"timeout": 0.7}),
        (models.leaving, Status.DIED, {}),
        (models.greedy, Status.RAISED, {"memory": 2**30}),
    ],
)
def test_what_takes_its_process_along_is_found_and_left_out(act, status, running):
    """A loop without end, a call into C that holds the interpreter, an exit, and all the memory."""
    begun = time.monotonic()
    behaves(act, status, 2, **running)
    assert time.monotonic() - begun < 240


def test_whole_batches_may_fail():
    """Nine of ten draws raise: batches without one good draw are kept as they are."""
    model = ppl.Model("rare")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")

    @model.observed
    def y(x, rng):
        if x > 0.1:
            raise ValueError("no solution")
        return x + rng.normal()

    draws = model.simulate(500, seed=1, failures="record")
    assert torch.equal(draws.failed, draws["x"] > 0.1)
    assert bool(draws.failed.reshape(-1, 10).all(dim=1).any())


def test_a_vectorized_simulator_fails_as_a_batch():
    """Its parents are kept."""
    model = ppl.Model("batch")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")

    @model.observed(vectorized=True)
    def y(x, rng):
        if len(x) > 8 and x[0] > 0.5:
            raise ValueError("no solution")
        return x + rng.normal(size=len(x))

    draws = model.simulate(2000, seed=1, failures="record")
    first = (draws["x"][::128] > 0.5).repeat_interleave(128)[:2000]
    assert draws.campaign.size == 128
    assert torch.equal(draws.failed, first)
    assert 0 < int(draws.failed.sum()) < 2000


def test_whole_numbers_and_others_may_mix():
    """A simulator that returns 0 now and then: its batches have two types, its draws one."""
    model = ppl.Model("mixed")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")
    model.observed(lambda x, rng: 0 if x < 0.9 else x, name="y")
    draws = model.simulate(600, seed=1)
    assert draws["y"].dtype == torch.float64
    assert torch.equal(draws["y"], torch.where(draws["x"] < 0.9, 0.0, draws["x"]))


def test_a_wrong_shape_from_the_first_draw_is_an_error():
    """There is nothing right to compare with."""
    model = ppl.Model("shapes")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")
    model.observed(lambda x, rng: [0.0] * int(1 + 5 * x), name="y")
    with pytest.raises(ppl.ModelError, match="shape"):
        model.simulate(100, seed=1)


@pytest.mark.parametrize("act", [models.raising, models.leaving, models.hanging])
def test_failures_are_raised_unless_they_are_recorded(act):
    """At once, with the seed that replays the draw."""
    with pytest.raises(ppl.SimulationError, match=r"default_rng\(\d+\)"):
        misbehaving(act).simulate(N, seed=5, workers=2, timeout=0.7, progress=False)


def test_a_killed_worker_is_replaced_and_nothing_is_lost(tmp_path, monkeypatch):
    """The same digest as an undisturbed run."""
    calm = plain().simulate(1500, seed=5, store=tmp_path / "calm", progress=False)
    monkeypatch.setenv(models.PAUSE, "0.002")
    killed = []

    def kill():
        while len(killed) < 3:
            for child in psutil.Process().children(recursive=True):
                if child.cpu_times().user > 1.0:  # it is at work
                    killed.append(child.pid)
                    child.kill()
                    break
            time.sleep(0.7)
            if stop.is_set():
                return

    stop = threading.Event()
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        wild = plain().simulate(
            1500, seed=5, store=tmp_path / "wild", workers=2, failures="record", progress=False
        )
    finally:
        stop.set()
        thread.join()
    assert killed
    assert not bool(wild.failed.any())
    assert wild.store.digest() == calm.store.digest()


def test_what_fails_is_replayed():
    """With its own seed and parents, as the exception that it was."""
    draws = misbehaving(models.raising).simulate(N, seed=5, failures="record")
    bad = int(draws.failed.nonzero()[0])
    with pytest.raises(ppl.SimulationError, match="no solution") as caught:
        draws.replay(bad)
    assert isinstance(caught.value.__cause__, ValueError)
    good = int((~draws.failed).nonzero()[0])
    assert torch.equal(draws.replay(good)["y"], draws["y"][good])


def test_retries_use_the_same_seed(tmp_path):
    """A failure of the machine: the second time it works, and the draw is what it would have been."""
    model = ppl.Model("flaky")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")

    @model.observed
    def y(x, rng, folder=str(tmp_path)):
        import pathlib

        once = pathlib.Path(folder) / f"{x:.17f}"
        if x < LIMIT and not once.exists():
            once.touch()
            raise OSError("licence server is away")
        return x + rng.normal(size=2)

    for workers in (0, 2):
        draws = model.simulate(
            N, seed=5, failures="record", retries=1, workers=workers, progress=False
        )
        assert not bool(draws.failed.any())
        assert torch.equal(draws["y"], plain_values()["y"])
        for file in tmp_path.iterdir():
            file.unlink()


def test_what_cannot_be_sent_is_named():
    """A lock, an open file, a generator; at once."""
    for name, value in (("lock", threading.Lock()), ("rows", (i for i in range(3)))):
        model = ppl.Model("packed")
        model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")
        scope = {"thing": value}
        exec(f"def y(x, rng, {name}=thing): return x + rng.normal()", scope)
        model.observed(scope["y"])
        with pytest.raises(ppl.SimulationError, match=rf"'{name}'"):
            model.simulate(10, workers=1)


def test_lambdas_closures_and_classes_travel():
    """By value, as a notebook defines them."""
    scale = 3.0

    class Engine:
        def __call__(self, x, rng):
            return scale * x + rng.normal()

    engine = Engine()
    model = ppl.Model("closures")
    model.theta(lambda: ppl.distributions.Uniform(0, 1), name="x")
    model.observed(lambda x, rng, engine=engine: engine(x, rng), name="y")
    one, two = (model.simulate(100, workers=w, progress=False) for w in (0, 1))
    assert torch.equal(one["y"], two["y"])


@pytest.mark.parametrize("act", [models.hanging, models.leaving])
def test_the_first_calls_of_a_model_take_no_driver_along(act, monkeypatch):
    """Most of the prior misbehaves, and so do the two draws by which a model is met, for the first seeds."""
    monkeypatch.setattr(models, "LIMIT", 0.6)
    # From here on the smallest x of the two draws is 0.09, 0.23, and at last 0.76.
    monkeypatch.setattr(trial, "PROBE", trial.PROBE + 1)
    monkeypatch.setattr(trial, "PATIENCE", 2.0)
    running = {"workers": 1, "timeout": 0.7, "failures": "record", "progress": False}
    model = models.misbehaving(act)
    draws = model.simulate(6, seed=1, **running)
    assert 0 < int(draws.failed.sum()) < 6
    assert bool((draws["x"][draws.failed] < 0.6).all())
    assert bool((draws["x"][~draws.failed] >= 0.6).all())


def test_a_model_that_never_ends_is_an_error(monkeypatch):
    """Nothing can be learned of it, and the error says so."""
    monkeypatch.setattr(models, "LIMIT", 2.0)
    monkeypatch.setattr(trial, "SEEDS", 2)
    monkeypatch.setattr(trial, "PATIENCE", 1.0)
    with pytest.raises(SimulationError, match="whichever of 2 seeds"):
        models.misbehaving(models.hanging).simulate(16, workers=1, timeout=0.5, failures="record")
    with pytest.raises(SimulationError, match="whichever of 1 seeds"):
        models.misbehaving(models.leaving).simulate(16, workers=1)
