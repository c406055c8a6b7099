"""Seven published networks: what a question costs is the cost of elimination, not the size of the joint space.

ALARM has 2^54 states and is answered with 1,241 cells. Each network is read, all its marginals are found at once, and the cost of the order that the
compiler found is printed.

Source: the bnlearn repository (M. Scutari, bnlearn.com/bnrepository); the papers are named in `examples/data/README.md`.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import ppl

DATA = Path(__file__).resolve().parent / "data"
NETWORKS = ("asia", "child", "alarm", "win95pts", "hailfinder", "insurance", "pigs")


def network(name: str) -> ppl.Model:
    """A network of `examples/data`; that some published rows are rounded is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ppl.read(DATA / f"{name}.bif")


def cost(plan: ppl.Plan) -> float:
    """The log2 of the number of cells in the factors that elimination makes, all components together."""
    return math.log2(sum(route.verdict.cost["table cells"] for route in plan.routes))


def states(model: ppl.Model) -> float:
    """The log2 of the number of joint states."""
    return sum(math.log2(len(model.graph[name].states)) for name in model.graph)


def main() -> None:
    """Print a line for each network."""
    print(ppl.compile(network("asia"), {"dysp": "yes"}, of="lung"), end="\n\n")
    print("  network     nodes  joint states  elimination  marginals")
    for name in NETWORKS:
        model = network(name)
        found = ppl.infer(model, {})
        print(
            f"  {name:<11} {len(model.graph):5}  {f'2^{states(model):.0f}':>12}  {f'2^{cost(found.plan):.1f}':>11}  {len(found.of):9}"
        )


if __name__ == "__main__":
    main()
