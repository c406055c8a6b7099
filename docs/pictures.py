"""Every picture of the documentation, made anew: `python docs/pictures.py [name ...]` writes them beside this file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ppl
from examples import galton_board, sprinkler
from ppl.distributions import Normal
from ppl.pictures import plot

HERE = Path(__file__).resolve().parent
#: Ten measurements along a line.
SEEN = [0.3, 0.1, 0.9, 1.0, 1.1, 1.9, 1.8, 2.4, None, 2.6]


def line() -> ppl.Model:
    """Points along a line, measured with noise by a simulator."""
    model = ppl.Model("line")
    model.theta(lambda: Normal(0, 1), name="slope")
    model.theta(lambda: Normal(0, 2), name="height")
    row = model.plate("row", 10)
    model.observed(
        lambda slope, height, row, rng: height + slope * row / 3 + rng.normal(0, 0.3),
        name="y",
        plate=row,
    )
    return model


def fitted() -> ppl.Posterior:
    """The line through what was seen."""
    budget = ppl.Budget(simulations=4_000)
    return ppl.infer(line(), {"y": SEEN}, method="nle", budget=budget)


def garden(path: Path) -> None:
    """The garden after an intervention."""
    sprinkler.garden.do(sprinkler=1).draw().save(path)


def board(path: Path) -> None:
    """The slope of the Galton board, three ways."""
    plot(galton_board.side_by_side(), path=path)


def pairs(path: Path) -> None:
    """Slope and height are found together."""
    fitted().plot(path, kind="pairs")


def predictive(path: Path) -> None:
    """What the line predicts, with what was seen."""
    fitted().plot(path, kind="predictive")


def ranks(path: Path) -> None:
    """The check of the line's posterior."""
    posterior = fitted()
    posterior.check()
    posterior.plot(path, kind="ranks")


PICTURES: dict[str, Callable[[Path], None]] = {
    "garden.svg": garden,
    "galton_board.png": board,
    "line_pairs.png": pairs,
    "line_predictive.png": predictive,
    "line_ranks.png": ranks,
}


def main() -> None:
    """All of them, or those that are named."""
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name](HERE / name)
        print(name)


if __name__ == "__main__":
    main()
