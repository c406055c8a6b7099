"""How an answer came about: losses of nets, tolerances of sequential ABC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import QueryError
from .style import COLOURS, bare, new_figure

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["draw"]

#: What each kind is drawn from, what its steps are called, and who has it.
SHOWN = {
    "training": ("loss", "epoch", "neural estimators, trained in this process, have"),
    "tolerance": ("tolerance", "generation", "method='abc-smc' has"),
}


def draw(posterior: Posterior, kind: str) -> Any:
    """A line for each net, or tolerance and acceptance."""
    prefix, step, who = SHOWN[kind]
    found = {}
    for answer in posterior.answers:
        found.update({k: v for k, v in answer.history.items() if k.startswith(prefix)})
    if not found:
        raise QueryError(f"plot: {posterior.method} has no '{kind}'; {who}.")
    accepted = {}
    for answer in posterior.answers:
        accepted.update({k: v for k, v in answer.history.items() if k == "acceptance"})
    panels = 1 + (kind == "tolerance" and bool(accepted))
    figure = new_figure(panels, 1, 4.8, 3.2)
    axes = bare(
        figure.add_subplot(1, panels, 1), "held-out loss" if kind == "training" else "tolerance"
    )
    for k, (name, values) in enumerate(found.items()):
        axes.plot(range(1, len(values) + 1), values, color=COLOURS[k % len(COLOURS)], label=name)
    axes.set_xlabel(step)
    if len(found) > 1:
        axes.legend(frameon=False, fontsize=8)
    if kind == "tolerance" and min(map(min, found.values())) > 0:
        axes.set_yscale("log")
    if panels == 2:
        right = bare(figure.add_subplot(1, 2, 2), "share of new draws that came nearer")
        for values in accepted.values():
            right.plot(range(1, len(values) + 1), values, color=COLOURS[1])
        right.set_ylim(bottom=0)
        right.set_xlabel(step)
    return figure
