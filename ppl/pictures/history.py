"""How an answer came about: losses of nets by epoch, tolerances of sequential ABC by generation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import QueryError
from .style import COLOURS, FAINT, bare, legend, new_figure, whole_steps

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["tolerance", "training"]


def training(posterior: Posterior) -> Any:
    """Held-out loss of each net; a dot where it was best, which is the net that was kept. Rounds follow one another.

    Raises:
        QueryError: If no net was trained.
    """
    found = _found(posterior, "loss")
    if not found:
        raise QueryError(
            f"plot: 'training' shows the losses of nets, and this posterior has none: it was found by {posterior.method}"
            f"{', and came from a file' if posterior.saved else ''}."
        )
    figure = new_figure(1, 1, 6.0, 3.4)
    axes = bare(figure.add_subplot(), "held-out loss")
    rounds = _rounds(found)
    begin = 0
    for number, nets in rounds.items():
        for k, (name, losses) in enumerate(nets.items()):
            steps = begin + 1 + numpy.arange(len(losses))
            colour = COLOURS[k % len(COLOURS)]
            label = name if len(nets) > 1 else None
            axes.plot(steps, losses, color=colour, label=label, linewidth=1.3)
            best = int(numpy.argmin(losses))
            axes.plot(steps[best], losses[best], "o", ms=4, color=colour, label="kept")
        longest = max(len(losses) for losses in nets.values())
        if len(rounds) > 1:
            middle = begin + 0.5 + longest / 2
            place = axes.get_xaxis_transform()
            axes.text(middle, 1.0, str(number), transform=place, ha="center", fontsize=8)
            if begin:
                axes.axvline(begin + 0.5, color=FAINT, linewidth=0.6, linestyle=":")
        begin += longest
    if len(rounds) > 1:
        axes.set_title("held-out loss, round by round", fontsize=10, pad=12)
    whole_steps(axes, "epoch")
    legend(figure)
    return figure


def tolerance(posterior: Posterior) -> Any:
    """Tolerance and acceptance of each generation.

    Raises:
        QueryError: If there were no generations.
    """
    found = _found(posterior, "tolerance")
    if not found:
        raise QueryError(
            f"plot: 'tolerance' shows the generations of sequential ABC, and this posterior has none: it was found by {posterior.method}. method='abc-smc' has them."
        )
    shares = _found(posterior, "acceptance")
    figure = new_figure(2, 1, 4.4, 3.0)
    left = bare(figure.add_subplot(1, 2, 1), "tolerance")
    right = bare(figure.add_subplot(1, 2, 2), "share of new draws that came nearer")
    for axes, lines in ((left, found), (right, shares)):
        for k, (name, values) in enumerate(lines.items()):
            look = {"color": COLOURS[k % len(COLOURS)], "label": name if len(lines) > 1 else None}
            axes.plot(range(1, len(values) + 1), values, "o-", ms=4, linewidth=1.3, **look)
        whole_steps(axes, "generation")
    every = [value for values in found.values() for value in values]
    if min(every) > 0 and max(every) > 10 * min(every):
        left.set_yscale("log")
    else:
        left.set_ylim(bottom=0)
    right.set_ylim(bottom=0)
    legend(figure)
    return figure


def _found(posterior: Posterior, word: str) -> dict[str, Sequence[float]]:
    """The histories of a kind, of all components, by a name that tells them apart."""
    parts = [answer for answer in posterior.answers if answer.history]
    several = len(parts) > 1
    return {
        f"{name} ({', '.join(answer.names)})" if several else name: values
        for answer in parts
        for name, values in answer.history.items()
        if name.startswith(word) and len(values)
    }


def _rounds(found: Mapping[str, Sequence[float]]) -> dict[int, dict[str, Sequence[float]]]:
    """By round, then by net."""
    rounds: dict[int, dict[str, Sequence[float]]] = {}
    for name, values in found.items():
        said = re.search(r" of round (\d+)", name)
        number = int(said[1]) if said else 1
        net = name.replace(said[0], "") if said else name
        rounds.setdefault(number, {})[net] = values
    return dict(sorted(rounds.items()))
