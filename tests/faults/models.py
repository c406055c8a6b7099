"""Models whose simulators misbehave, each in its own way, for the same share of draws; and a driver to be killed."""

import ctypes
import os
import time

import ppl
from ppl.distributions import Uniform

#: Below this value of x a simulator misbehaves.
LIMIT = 0.02
#: Seconds of a draw of the well-behaved one.
PAUSE = "TEST_PAUSE"


def misbehaving(act, size=2):
    """x is uniform; y is x plus noise, unless x is below the limit: then `act(x)` is what comes back."""
    model = ppl.Model("misbehaving")
    model.theta(lambda: Uniform(0, 1), name="x")
    model.observed(
        lambda x, rng, act=act, size=size, limit=LIMIT: (
            act(x) if x < limit else x + rng.normal(size=size)
        ),
        name="y",
    )
    return model


def raising(x):
    """An exception."""
    raise ValueError("no solution")


def nan(x):
    """Not a number."""
    return [float("nan"), 0.0]


def infinite(x):
    """Infinity."""
    return [float("inf"), 0.0]


def longer(x):
    """Another shape."""
    return [1.0, 2.0, 3.0]


def nothing(x):
    """A forgotten return."""


def hanging(x):
    """A loop that never ends."""
    while True:
        time.sleep(0.01)


def holding(x):
    """A call into C that never ends, and never lets Python run."""
    ctypes.PyDLL(None).sleep(1000)


def leaving(x):
    """The process ends."""
    os._exit(3)


def greedy(x):
    """More memory than there is."""
    return bytearray(2**40)


def plain():
    """A well-behaved one, as slow as the environment says: it is the same model at any speed."""
    model = ppl.Model("plain")
    model.theta(lambda: Uniform(0, 1), name="x")

    def y(x, rng):
        if PAUSE in os.environ:
            time.sleep(float(os.environ[PAUSE]))
        return x + rng.normal(size=2)

    model.observed(y, name="y")
    return model


def run(store, n, workers=0, pause=0.001, step=None):
    """A driver in a process of its own; at a step of the first commit it kills itself.

    Args:
        store: The folder.
        n: Draws.
        workers: Processes.
        pause: Seconds of one draw.
        step: The number of the step, among writing, syncing, renaming, and the lines of the index.
    """
    if step is not None:
        _die_at(step)
    os.environ[PAUSE] = str(pause)
    plain().simulate(n, seed=5, store=store, workers=workers, progress=False)


#: The steps of a commit, in order: what is called, and whether the end comes before or after it.
STEPS = ("before sync", "after sync", "after rename", "inside the index", "after the index")


def _die_at(step):
    """SIGKILL ourselves at a step of the third commit."""
    import signal

    from ppl.campaign import index

    count = {"commits": 0}

    def end():
        os.kill(os.getpid(), signal.SIGKILL)

    sync, rename, drop, add = os.fsync, os.replace, index.Index._drop, index.Index.add

    def fsync(number):
        count["commits"] += 1
        if count["commits"] == 3 and step == "before sync":
            end()
        sync(number)
        if count["commits"] == 3 and step == "after sync":
            end()

    def replace(one, other):
        rename(one, other)
        if count["commits"] == 3 and step == "after rename":
            end()

    def dropped(self, number):
        drop(self, number)
        if count["commits"] == 3 and step == "inside the index":
            end()

    def added(self, entry):
        add(self, entry)
        if count["commits"] == 3 and step == "after the index":
            end()

    os.fsync, os.replace = fsync, replace
    index.Index._drop, index.Index.add = dropped, added
