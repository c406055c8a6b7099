"""A real Dask cluster of two worker processes: the bits of one process, a killed worker, a draw that kills, a draw that hangs."""

import threading
import time
import warnings

import psutil
import pytest
import torch

import ppl
from ppl.mechanism import Status

from . import models
from .models import LIMIT, misbehaving, plain
from .test_simulators import N, plain_values


@pytest.fixture(scope="module")
def client():
    """Two workers on this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from distributed import Client, LocalCluster

        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_bits_of_one_process(client, tmp_path):
    """By client and by address."""
    calm = plain().simulate(N, seed=5, store=tmp_path / "calm", progress=False)
    one = plain().simulate(N, seed=5, store=tmp_path / "one", workers=client, progress=False)
    address = client.scheduler_info()["address"]
    two = plain().simulate(N, seed=5, store=tmp_path / "two", workers=address, progress=False)
    assert calm.store.digest() == one.store.digest() == two.store.digest()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("act", "status", "running"),
    [
        (models.raising, Status.RAISED, {}),
        (models.leaving, Status.DIED, {}),
        (models.hanging, Status.TIMED_OUT, {"timeout": 1.0}),
    ],
)
def test_a_poison_draw_harms_no_other(client, act, status, running):
    """It alone has the status; batches that waited behind it are simulated elsewhere."""
    found = misbehaving(act).simulate(
        N, seed=5, failures="record", workers=client, progress=False, **running
    )
    bad = found["x"] < LIMIT
    assert 0 < int(bad.sum()) < N
    assert torch.equal(found.status, bad.to(torch.uint8) * int(status))
    assert torch.equal(found["y"][~bad], plain_values()["y"][~bad])


@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_of_a_cluster(client, tmp_path, monkeypatch):
    """Nothing is lost, nothing is there twice."""
    calm = plain().simulate(1500, seed=5, store=tmp_path / "calm", progress=False)
    client.run(_slow)
    pids = list(client.run(_pid).values())

    def kill():
        time.sleep(1.0)
        psutil.Process(pids[0]).kill()

    thread = threading.Thread(target=kill)
    thread.start()
    wild = plain().simulate(
        1500, seed=5, store=tmp_path / "wild", workers=client, failures="record", progress=False
    )
    thread.join()
    assert not bool(wild.failed.any())
    assert wild.store.digest() == calm.store.digest()


def _slow():
    import os

    os.environ["TEST_PAUSE"] = "0.003"


def _pid():
    import os

    return os.getpid()


def test_workers_must_be_workers():
    """Neither a number, nor a client, nor an address."""
    with pytest.raises(ppl.QueryError, match="neither a number"):
        plain().simulate(10, workers=2.5)
