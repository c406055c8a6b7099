"""Every picture of the documentation, made anew: `python docs/pictures.py [name ...]` writes them beside this file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ppl
from examples import galton_board, sprinkler
from ppl.distributions import Categorical, Normal
from ppl.pictures import plot

HERE = Path(__file__).resolve().parent
#: Ten measurements along a line.
SEEN = [0.3, 0.1, 0.9, 1.0, 1.1, 1.9, 1.8, 2.4, None, 2.6]


def line(simulated: bool = False) -> ppl.Model:
    """Points along a line, measured with noise; its density is known, or only simulated."""
    model = ppl.Model("line")
    model.theta(lambda: Normal(0, 1), name="slope")
    model.theta(lambda: Normal(0, 2), name="height")
    row = model.plate("row", 10)

    def explicit(slope, height, row):
        return Normal(height + slope * row / 3, 0.3)

    def opaque(slope, height, row, rng):
        return height + slope * row / 3 + rng.normal(0, 0.3)

    model.observed(opaque if simulated else explicit, name="y", plate=row)
    return model


def fitted(**options) -> ppl.Posterior:
    """The line through what was seen."""
    return ppl.infer(line(), {"y": SEEN}, **options)


def garden(path: Path) -> None:
    """The garden after an intervention."""
    sprinkler.garden.do(sprinkler=1).draw().save(path)


def board(path: Path) -> None:
    """The slope of the Galton board, three ways."""
    plot(galton_board.side_by_side(), path=path)


def pairs(path: Path) -> None:
    """Slope and height are found together."""
    fitted().plot(path, kind="pairs", truth={"slope": 1})


def predictive(path: Path) -> None:
    """What the line predicts, with what was seen."""
    fitted().plot(path, kind="predictive")


def ranks(path: Path) -> None:
    """The check of the line's posterior."""
    budget = ppl.Budget(simulations=4_000)
    posterior = ppl.infer(line(simulated=True), {"y": SEEN}, method="nle", budget=budget)
    posterior.check()
    posterior.plot(path, kind="ranks")


def trace(path: Path) -> None:
    """The same line, by chains."""
    # Noise is what PNG compresses worst.
    fitted(method="nuts").plot(kind="trace").savefig(path, dpi=75)


def prior(path: Path) -> None:
    """What five numbers teach about the mood of a town, and about its level."""
    town = ppl.Model("town")
    moods = ("low", "middle", "high")
    town.theta(lambda: Categorical([0.2, 0.3, 0.5]), name="mood", states=moods)
    town.theta(lambda: Normal(0, 1), name="level")
    town.observed(
        lambda mood, level: Normal(level + mood, 1), name="x", plate=town.plate("house", 5)
    )
    posterior = ppl.infer(town, {"x": [0.2, 0.9, 1.1, 0.5, 1.2]})
    posterior.plot(path, kind="prior", truth={"mood": "middle"})


PICTURES: dict[str, Callable[[Path], None]] = {
    "garden.svg": garden,
    "galton_board.png": board,
    "line_pairs.png": pairs,
    "line_predictive.png": predictive,
    "town_prior.png": prior,
    "line_trace.png": trace,
    "line_ranks.png": ranks,
}


def main() -> None:
    """All of them, or those that are named."""
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name](HERE / name)
        print(name)


if __name__ == "__main__":
    main()
