"""Marginals: a panel for each number, bars for finite nodes, densities for continuous ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from .style import COLOURS, SEEN, bare, new_figure

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Marginal, Posterior

__all__ = ["MOST_BARS", "beside_prior", "curve", "draw", "members"]

#: Panels in one figure at most; finite nodes with more values are curves; draws that a density is smoothed from.
MOST_PANELS, MOST_BARS, DRAWS = 12, 24, 4000


def draw(
    many: Mapping[str, Posterior], names: Sequence[str], truth: Mapping[str, Any], seed: int
) -> Any:
    """One posterior, or several overlaid."""
    first = next(iter(many.values()))
    panels = [(name, at) for name in names for at in members(first[name])]
    figure, places = _panels(panels)
    for k, (axes, (name, at)) in enumerate(zip(places, panels, strict=False)):
        for i, (label, one) in enumerate(many.items()):
            _one(axes, one[name], at, label, i, len(many), seed)
        if name in truth:
            value = numpy.asarray(truth[name], dtype=float)[at] if at else float(truth[name])
            _line(axes, first[name], float(value))
        if len(many) > 1 and k == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def beside_prior(
    posterior: Posterior, names: Sequence[str], truth: Mapping[str, Any], seed: int
) -> Any:
    """The posterior over draws from the prior."""
    from ..posterior.predict import prior_draws

    drawn = prior_draws(posterior, DRAWS, seed)
    panels = [(name, at) for name in names for at in members(posterior[name])]
    figure, places = _panels(panels)
    for k, (axes, (name, at)) in enumerate(zip(places, panels, strict=False)):
        marginal = posterior[name]
        column: Any = (slice(None), *at)
        if _bars(marginal):
            values = marginal.domain
            shares = (drawn[name][column].unsqueeze(-1) == values).double().mean(dim=0)
            _put_bars(axes, marginal, shares.numpy(), "prior", "#B0B0B0", 0, 2)
        else:
            curve(axes, drawn[name][column], "prior", "#808080")
        _one(
            axes,
            marginal,
            at,
            "posterior",
            int(_bars(marginal)),
            1 + _bars(marginal),
            seed,
            COLOURS[0],
        )
        if name in truth:
            value = numpy.asarray(truth[name], dtype=float)[at] if at else float(truth[name])
            _line(axes, marginal, float(value))
        if k == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def members(marginal: Marginal) -> list[tuple[int, ...]]:
    """Where the single numbers of a node are."""
    finite = marginal.finite and marginal.domain.dim() == 1
    shape = marginal.probs.shape[:-1] if finite else marginal.mean.shape
    return list(numpy.ndindex(*shape))


def curve(axes: Any, draws: Tensor, label: str, colour: str) -> None:
    """A smoothed density that does not leak beyond the draws."""
    values = draws.to(torch.float64).numpy()
    low, high = values.min(), values.max()
    if high <= low:
        axes.axvline(low, color=colour, label=label)
        return
    # Histograms, smoothed by a kernel whose mass beyond the ends is folded back.
    edges = numpy.linspace(low, high, 201)
    counts = numpy.histogram(values, edges)[0].astype(float)
    quartiles = numpy.quantile(values, [0.25, 0.75])
    spread = min(values.std(), (quartiles[1] - quartiles[0]) / 1.34) or values.std()
    width = max(0.9 * spread * len(values) ** -0.2 / (edges[1] - edges[0]), 0.5)
    reach = min(int(4 * width) + 1, 200)
    kernel = numpy.exp(-0.5 * (numpy.arange(-reach, reach + 1) / width) ** 2)
    padded = numpy.pad(counts, reach, mode="symmetric")
    density = numpy.convolve(padded, kernel / kernel.sum(), mode="valid")
    centres = (edges[1:] + edges[:-1]) / 2
    density /= density.sum() * (edges[1] - edges[0])
    axes.plot(centres, density, color=colour, label=label)
    axes.fill_between(centres, density, alpha=0.2, color=colour, linewidth=0)
    # What was drawn before may be flatter.
    axes.set_ylim(
        0,
        max(
            density.max() * 1.05,
            max((line.get_ydata().max() * 1.05 for line in axes.lines), default=0),
        ),
    )


def _panels(panels: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[Any, list[Any]]:
    shown = panels[:MOST_PANELS]
    columns = min(max(len(shown), 1), 3)
    rows = max(-(-len(shown) // columns), 1)
    figure = new_figure(columns, rows)
    places = []
    for k, (name, at) in enumerate(shown):
        title = f"{name}[{', '.join(map(str, at))}]" if at else name
        axes = bare(figure.add_subplot(rows, columns, k + 1), title)
        axes.set_yticks([])
        places.append(axes)
    if len(panels) > len(shown):
        figure.supxlabel(f"and {len(panels) - len(shown)} more", fontsize=9)
    return figure, places


def _bars(marginal: Marginal) -> bool:
    return marginal.finite and marginal.domain.dim() == 1 and len(marginal.domain) <= MOST_BARS


def _line(axes: Any, marginal: Marginal, value: float) -> None:
    """A true value: at its bar, or at its number."""
    if _bars(marginal):
        value = int((marginal.domain - value).abs().argmin())
    axes.axvline(value, color=SEEN, linewidth=1)


def _one(
    axes: Any,
    marginal: Marginal,
    at: tuple[int, ...],
    label: str,
    i: int,
    count: int,
    seed: int,
    colour: str = "",
) -> None:
    colour = colour or COLOURS[i % len(COLOURS)]
    if _bars(marginal):
        _put_bars(axes, marginal, marginal.probs[at].numpy(), label, colour, i, count)
        return
    if marginal.finite and marginal.domain.dim() == 1:
        # Many values are a curve: a bar for each would be a comb.
        values, probs = marginal.domain.numpy().astype(float), marginal.probs[at].numpy()
        groups = numpy.array_split(numpy.argsort(values), min(len(values), 60))
        centres = [values[g].mean() for g in groups]
        density = [probs[g].sum() / max(len(g), 1) for g in groups]
        axes.plot(centres, density, color=colour, label=label)
        axes.fill_between(centres, density, alpha=0.2, color=colour, linewidth=0)
        return
    column: Any = (slice(None), *at)
    curve(axes, marginal.draws(DRAWS, seed)[column], label, colour)


def _put_bars(
    axes: Any, marginal: Marginal, probs: numpy.ndarray, label: str, colour: str, i: int, count: int
) -> None:
    width = 0.8 / count
    places = numpy.arange(len(probs))
    axes.bar(places + (i - (count - 1) / 2) * width, probs, width, color=colour, label=label)
    labels = [str(s) for s in marginal.states or [f"{float(v):g}" for v in marginal.domain]]
    slanted = sum(map(len, labels)) > 24
    axes.set_xticks(places, labels, rotation=30 * slanted, ha="right" if slanted else "center")
