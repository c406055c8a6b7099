"""Pictures of posteriors: a panel for each node, bars for finite ones, histograms for draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from .marginal import Marginal
    from .posterior import Posterior

__all__ = ["plot"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
#: Panels in one figure at most.
MOST_PANELS = 12


def plot(
    posterior: Posterior | Mapping[str, Posterior],
    path: str | None = None,
    truth: Mapping[str, Any] | None = None,
) -> Any:
    """Marginals of one posterior, or of several overlaid.

    Args:
        posterior: The posterior, or posteriors by label.
        path: Where to save the figure; the suffix decides the format.
        truth: True values, drawn as lines.

    Returns:
        A `matplotlib.figure.Figure`, which notebooks show.
    """
    from matplotlib.figure import Figure

    many = posterior if isinstance(posterior, Mapping) else {"": posterior}
    first = next(iter(many.values()))
    panels = [(name, at) for name in first for at in _members(first[name])][:MOST_PANELS]
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    for k, (name, at) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, k + 1)
        for i, (label, one) in enumerate(many.items()):
            _draw(axes, one[name], at, label, COLOURS[i % len(COLOURS)], len(many), i)
        if truth is not None and name in truth:
            axes.axvline(
                float(numpy.asarray(truth[name])[at] if at else truth[name]),
                color="black",
                linewidth=1,
            )
        axes.set_title(f"{name}[{', '.join(map(str, at))}]" if at else name, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_yticks([])
        if len(many) > 1 and k == 0:
            axes.legend(frameon=False, fontsize=8)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _members(marginal: Marginal) -> list[tuple[int, ...]]:
    shape = (
        marginal.probs.shape[:-1]
        if marginal.finite and marginal.domain.dim() == 1
        else marginal.mean.shape
    )
    return list(numpy.ndindex(*shape))


def _draw(
    axes: Any, marginal: Marginal, at: tuple[int, ...], label: str, colour: str, count: int, i: int
) -> None:
    if marginal.finite and marginal.domain.dim() == 1:
        values, probs = marginal.domain.numpy().astype(float), marginal.probs[at].numpy()
        if len(values) <= 24:
            width = 0.8 / count
            axes.bar(
                numpy.arange(len(values)) + (i - (count - 1) / 2) * width,
                probs,
                width,
                color=colour,
                label=label,
            )
            axes.set_xticks(
                numpy.arange(len(values)),
                [str(s) for s in marginal.states or [f"{v:g}" for v in values]],
            )
            return
        # Many values are a curve: a bar for each would be a comb.
        groups = numpy.array_split(numpy.argsort(values), min(len(values), 60))
        centres = [values[g].mean() for g in groups]
        density = [probs[g].sum() / max(len(g), 1) for g in groups]
        axes.plot(centres, density, color=colour, label=label)
        axes.fill_between(centres, density, alpha=0.2, color=colour, linewidth=0)
        return
    column: Any = (slice(None), *at)
    draws = marginal.draws(4000).numpy()[column]
    axes.hist(
        draws, bins=50, density=True, histtype="stepfilled", alpha=0.35, color=colour, label=label
    )
