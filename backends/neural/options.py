"""What `ppl.Method(...)` lets one choose of every neural estimator, checked before anything is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from ppl.compiler import Query
from ppl.errors import QueryError, closest

from .densities import KINDS
from .train import Settings

__all__ = ["COMMON", "Options", "read"]

#: The options of every estimator: how many nets are averaged, how they are trained, and where a training keeps its state.
COMMON = (
    "ensemble",
    "epochs",
    "batch",
    "rate",
    "held_out",
    "patience",
    "checkpoint",
    "compiled",
    "device",
    "progress",
)


@dataclass(frozen=True)
class Options:
    """The options of an estimator.

    Args:
        settings: Of the training.
        ensemble: How many nets are averaged.
        density: The kind of density, or `None` for the rule's.
        embed: The user's own nets by node.
        progress: Whether a bar is shown; by default on terminals.
    """

    settings: Settings = field(default_factory=Settings)
    ensemble: int = 1
    density: str | None = None
    embed: Mapping[str, nn.Module] = field(default_factory=dict)
    progress: bool | None = None


def read(query: Query, method: str, ensemble: int = 1, **defaults: Any) -> Options:
    """The options that the user chose, or the defaults.

    Args:
        query: Its `options` are read.
        method: For errors.
        ensemble: How many nets there are by default.
        defaults: Of the training.

    Raises:
        QueryError: If one of them makes no sense; it says what does.
    """
    chosen = dict(query.options)
    settings = Settings(**defaults)
    for name, low, high in (
        ("epochs", 1, 100_000),
        ("batch", 1, 10**7),
        ("patience", 1, 100_000),
        ("ensemble", 1, 100),
    ):
        value = chosen.get(name)
        if value is not None and not (
            isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        ):
            raise QueryError(f"{method}: {name}={value!r}: a whole number from {low} on.")
    for name, top in (("rate", 1.0), ("held_out", 0.9)):
        value = chosen.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 < value < top):
            raise QueryError(f"{method}: {name}={value!r}: a number between 0 and {top:g}.")
    kind = chosen.get("density")
    if kind is not None and kind not in KINDS:
        raise QueryError(
            f"{method}: density={kind!r}.{closest(str(kind), KINDS)} There are {', '.join(KINDS)}."
        )
    embed = chosen.get("embed") or {}
    for name, net in embed.items():
        if name not in query.evidence and name not in query.clamped and name not in query.compared:
            raise QueryError(
                f"{method}: embed= names '{name}', which is not observed.{closest(name, query.evidence)}"
            )
        if not isinstance(net, nn.Module):
            raise QueryError(f"{method}: embed['{name}'] is no torch.nn.Module; it was {net!r}.")
    names = ("epochs", "batch", "rate", "held_out", "patience", "compiled", "device")
    settings = replace(settings, **{n: chosen[n] for n in names if chosen.get(n) is not None})
    if chosen.get("checkpoint") is not None:
        settings = replace(settings, checkpoint=Path(chosen["checkpoint"]))
    return Options(
        settings, chosen.get("ensemble") or ensemble, kind, dict(embed), chosen.get("progress")
    )
