"""Drivers that are killed at any moment, or told to stop: the same call goes on, nothing is lost, nothing is there twice."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from . import models
from .models import plain

N = 3000


@pytest.fixture(scope="module")
def server():
    """Processes that have everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.models"])
    return context


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The digest of a run that nothing disturbed."""
    store = tmp_path_factory.mktemp("calm") / "runs"
    return plain().simulate(N, seed=5, store=store, progress=False).store.digest()


def committed(store):
    """How many batches lie in the folder."""
    folder = store / "batches"
    return len(list(folder.glob("*.safetensors"))) if folder.exists() else 0


def end(server, store, after, **options):
    """A driver that is killed a while after its first new batch."""
    process = server.Process(target=models.run, args=[str(store), N], kwargs=options)
    before = committed(store)
    process.start()
    while process.is_alive() and committed(store) == before:
        time.sleep(0.002)
    time.sleep(after)
    process.kill()
    process.join()
    return process.exitcode


def test_a_driver_killed_thirty_times(server, calm, tmp_path):
    """At random moments; in the end nothing is missing and every bit is what it would have been."""
    store, rng = tmp_path / "runs", random.Random(3)
    killed = 0
    while killed < 30 and committed(store) < N // 64 + 1:
        workers = 2 if killed % 10 == 9 else 0
        end(server, store, rng.uniform(0, 0.05), workers=workers, pause=0.0004)
        killed += 1
    assert killed >= 10
    draws = plain().simulate(N, seed=5, store=store, progress=False)
    assert draws.store.digest() == calm
    assert len(list((store / "batches").iterdir())) == len(draws.store.entries)
    assert not (store / "quarantine").exists()


@pytest.mark.parametrize("step", models.STEPS)
def test_a_driver_killed_inside_a_commit(server, calm, tmp_path, step):
    """Before and after every step; then another engine goes on."""
    store = tmp_path / "runs"
    process = server.Process(
        target=models.run, args=[str(store), N], kwargs={"step": step, "pause": 0.0}
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 1 <= committed(store) <= 2
    draws = plain().simulate(N, seed=5, store=store, workers=1, progress=False)
    assert draws.store.digest() == calm
    assert not list((store / "batches").glob("*.tmp"))


def test_workers_end_with_their_driver(server, tmp_path):
    """A killed driver leaves no process behind."""
    process = server.Process(
        target=models.run, args=[str(tmp_path / "runs"), N], kwargs={"workers": 2, "pause": 0.05}
    )
    process.start()
    workers: list[psutil.Process] = []
    while len(workers) < 2:
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "loky" in " ".join(child.cmdline())
            and "resource_tracker" not in " ".join(child.cmdline())
        ]
        time.sleep(0.1)
    while committed(tmp_path / "runs") == 0:
        time.sleep(0.1)
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


SCRIPT = """
import sys
from tests.faults.models import plain
plain().simulate(20_000, seed=5, store=sys.argv[1], workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_told_to_stop(tmp_path, number, workers):
    """Ctrl-C and SIGTERM: what is done is kept, and it says how to go on."""
    store = tmp_path / "runs"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store), str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=os.getcwd(),
        env={**os.environ, models.PAUSE: "0.002"},
    )
    while process.poll() is None and committed(store) < 2:
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert "are kept in" in said
    assert "goes on from there" in said
    assert process.returncode == (128 + number if number == signal.SIGTERM else -number)
    kept = committed(store)
    more = plain().simulate(64 * kept, store=store, progress=False)
    assert torch.equal(more["y"], plain().simulate(20_000, seed=5)["y"][: 64 * kept])
