"""Disks that lie or are full, files that are damaged, folders that somebody else uses: what is damaged is found, set aside and simulated again."""

import json
import multiprocessing
import os
import resource
import sqlite3
import time

import pytest
import torch

import ppl
from ppl.campaign import Store
from ppl.distributions import Uniform

from .models import plain

N = 600


@pytest.fixture
def kept(tmp_path):
    """A store with all its batches, and its digest."""
    draws = plain().simulate(N, seed=5, store=tmp_path / "runs", progress=False)
    store = draws.store
    digest = store.digest()
    store.close()
    return tmp_path / "runs", digest


def files(path):
    """The batches, in order."""
    return sorted((path / "batches").glob("*.safetensors"))


def flip(file):
    """One bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    """The second half is gone."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    """Nothing but a name."""
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip, truncate, empty, os.unlink])
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_batches_are_simulated_again(kept, harm, workers):
    """A flipped bit, half a file, an empty one, none at all."""
    path, digest = kept
    for file in files(path)[1:3]:
        harm(file)
    again = plain().simulate(N, store=path, workers=workers, progress=False)
    assert again.store.digest() == digest
    assert len(files(path)) == len(again.store.entries)
    if harm is not os.unlink:
        assert len(list((path / "quarantine").iterdir())) == 2


@pytest.mark.parametrize("what", ["noise", "empty", "gone", "half"])
def test_a_damaged_index_is_built_again_from_the_batches(kept, what):
    """Nothing is simulated for it."""
    path, digest = kept
    index = path / "index.sqlite"
    for extra in ("index.sqlite-wal", "index.sqlite-shm"):
        (path / extra).unlink(missing_ok=True)
    if what == "gone":
        index.unlink()
    else:
        content = {"noise": os.urandom(5000), "empty": b"", "half": index.read_bytes()[:6000]}
        index.write_bytes(content[what])
    times = [file.stat().st_mtime_ns for file in files(path)]
    again = plain().simulate(N, store=path, progress=False)
    assert again.store.digest() == digest
    assert [file.stat().st_mtime_ns for file in files(path)] == times


def test_a_damaged_manifest_is_read_from_the_index(kept):
    """There are two copies; without either nobody knows what the batches are."""
    path, digest = kept
    (path / "manifest.json").write_text("{ not json")
    assert plain().simulate(N, store=path, progress=False).store.digest() == digest
    (path / "manifest.json").write_text("{ not json")
    for file in path.glob("index.sqlite*"):
        file.unlink()
    with pytest.raises(ppl.StoreError, match="manifest cannot be read"):
        plain().simulate(N, store=path)


def test_a_store_of_a_newer_version_is_refused(kept):
    """It says so."""
    path, _ = kept
    told = json.loads((path / "manifest.json").read_text())
    told["format"] += 1
    (path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(ppl.StoreError, match="Upgrade"):
        plain().simulate(N, store=path)


def test_a_folder_with_other_things_is_refused(tmp_path):
    """Nothing in it is touched."""
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ppl.StoreError, match="other files"):
        plain().simulate(N, store=tmp_path)
    with pytest.raises(ppl.StoreError, match="is a file"):
        plain().simulate(N, store=tmp_path / "thesis.tex")


def test_a_full_disk_loses_nothing(tmp_path):
    """Files may not grow beyond a limit: the error says what is kept, and the same call goes on when there is room."""
    path = tmp_path / "runs"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_full, args=[str(path)])
    process.start()
    process.join()
    assert process.exitcode == 7
    assert not list((path / "batches").glob("*.tmp"))
    again = plain().simulate(N, seed=5, store=path, progress=False)
    calm = plain().simulate(N, seed=5, store=tmp_path / "calm", progress=False)
    assert again.store.digest() == calm.store.digest()


def _full(path):
    plain().simulate(64, seed=5, store=path, progress=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
    try:
        plain().simulate(N, seed=5, store=path, progress=False)
    except ppl.StoreError as error:
        os._exit(7 if "goes on from there" in str(error) else 8)
    os._exit(9)


def _hold(path, ready, done):
    with Store(path).lock():
        ready.set()
        done.wait()


def test_two_processes_on_one_store(tmp_path):
    """The second is told who has it; the lock of a dead process is free."""
    path = tmp_path / "runs"
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    owner = context.Process(target=_hold, args=[str(path), ready, done])
    owner.start()
    ready.wait()
    with pytest.raises(ppl.StoreLocked, match=str(owner.pid)) as caught:
        plain().simulate(N, store=path)
    assert caught.value.pid == owner.pid
    owner.kill()
    owner.join()
    assert len(plain().simulate(N, seed=5, store=path, progress=False)["x"]) == N


def test_a_locked_index_is_waited_for(kept):
    """Somebody looks into it with another program for a moment."""
    path, digest = kept
    other = sqlite3.connect(path / "index.sqlite")
    other.execute("begin")
    other.execute("select count(*) from batches").fetchone()
    again = plain().simulate(N + 100, store=path, progress=False)
    other.close()
    assert len(again["x"]) == N + 100
    assert digest != again.store.digest()


def test_another_model_is_refused_with_the_difference(kept):
    """A changed prior, simulator, seed or input is never mixed in."""
    path, _ = kept
    other = ppl.Model("plain")
    other.theta(lambda: Uniform(0, 2), name="x")
    other.observed(lambda x, rng: x + rng.normal(size=2), name="y")
    with pytest.raises(ppl.StoreError, match=r"'x' has another body.*'y'"):
        other.simulate(N, store=path)
    with pytest.raises(ppl.StoreError, match="seed is 5, not 6"):
        plain().simulate(N, seed=6, store=path)
    more = plain()
    more.observed(lambda x, rng: x + rng.normal(), name="z")
    with pytest.raises(ppl.StoreError, match="has no 'z'"):
        more.simulate(N, store=path)


def test_new_summaries_are_computed_from_what_is_kept(kept):
    """Nothing is simulated: the simulator would be slow, and is not called."""
    path, digest = kept
    model = plain()
    model.deterministic(lambda y: y.sum(), name="s")
    os.environ["TEST_PAUSE"] = "0.05"
    try:
        begun = time.monotonic()
        draws = model.simulate(N, store=path, progress=False)
        assert time.monotonic() - begun < 0.05 * N / 2
    finally:
        del os.environ["TEST_PAUSE"]
    assert torch.allclose(draws["s"], draws["y"].sum(dim=1))
    assert draws.store.digest() == digest
    # And the next batches hold what the old ones hold.
    more = model.simulate(N + 200, store=path, progress=False)
    assert torch.allclose(more["s"], more["y"].sum(dim=1))


def test_a_smaller_number_reads_and_a_larger_one_goes_on(kept):
    """As one campaign."""
    path, digest = kept
    few = plain().simulate(10, store=path, progress=False)
    assert few.store.digest() == digest
    assert few["y"].shape == (10, 2)
    many = plain().simulate(2 * N, store=path, progress=False)
    assert torch.equal(many["y"][:10], few["y"])
    assert set(few.store.entries) < set(many.store.entries)
