"""sbi, run by an interpreter of its own: trained on a task of `simulators`, its draws and CPU seconds written to a file.

    PYTHON -m tests.benchmarks.neural_peers question.json answer.npz

`neural` writes the question and starts this; it imports nothing of ours. Everything is sbi's default, as its tutorials call it: `NPE(prior)`, `NLE(prior)`,
with draws of a likelihood or a ratio by its vectorised slice sampler.

The question has: method (NPE, NLE or NRE), task, observation (a row), simulations (in each round), rounds, draws, seconds (see `stopped`), seed.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy
import torch

from .simulators import BOXES, simulate


class Stopped(Exception):
    """The processor's time is over."""


def main(question: Path, answer: Path) -> None:
    """Train, draw, and write: draws `(draws, parameters)`, the seconds of training and of drawing, and how many rounds were finished."""
    from sbi import inference
    from sbi.utils import BoxUniform

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    asked = json.loads(question.read_text())
    torch.manual_seed(asked["seed"])
    numpy.random.seed(asked["seed"])
    seen = torch.tensor([asked["observation"]], dtype=torch.float32)
    dimensions, bound = BOXES[asked["task"]]
    prior = BoxUniform(-bound * torch.ones(dimensions), bound * torch.ones(dimensions))
    trainer = getattr(inference, asked["method"])(prior, show_progress_bars=False)
    _stop_at(2 * asked["seconds"])
    begun, rounds, proposal, draws = time.process_time(), 0, None, None
    trained = drawn = float("nan")
    try:
        while rounds < asked["rounds"] and not stopped(begun, asked):
            theta = (proposal or prior).sample((asked["simulations"],))
            x = simulate(asked["task"], theta)
            if asked["method"] == "NPE":
                trainer.append_simulations(theta, x, proposal=proposal)
            else:
                trainer.append_simulations(theta, x)
            trainer.train()
            proposal = trainer.build_posterior()
            proposal.set_default_x(seen)
            rounds += 1
            print(f"round {rounds}: {time.process_time() - begun:.0f} s", flush=True)
        trained = time.process_time() - begun
        if rounds == asked["rounds"]:
            draws = proposal.sample((asked["draws"],), show_progress_bars=False).numpy()
            drawn = time.process_time() - begun - trained
    except Stopped:
        if not trained > 0:
            trained = time.process_time() - begun
    numpy.savez(
        answer,
        draws=numpy.zeros((0, dimensions)) if draws is None else draws,
        trained=trained,
        drawn=drawn,
        rounds=rounds,
        complete=draws is not None,
    )


def stopped(begun: float, asked: dict) -> bool:
    """Whether the rounds so far took more CPU seconds than allowed; a round that takes twice as many is interrupted."""
    return time.process_time() - begun > asked["seconds"]


def _stop_at(seconds: float) -> None:
    def stop(number, frame):
        raise Stopped

    signal.signal(signal.SIGXCPU, stop)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
