"""Replay: one draw again, with its own seed and its own parents, failing as it failed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..mechanism import Calls, quiet
from .campaign import Campaign

__all__ = ["replay"]


def replay(campaign: Campaign, number: int, row: int) -> dict[str, Tensor]:
    """The values of one draw, simulated again; only this draw is called where bodies are called singly.

    Args:
        campaign: Which simulations.
        number: Of the batch.
        row: In the batch.

    Raises:
        SimulationError: As it did then, from the exception of the body.
    """
    callers = campaign.mechanism.callers.values()
    before = [caller.record for caller in callers]
    for caller in callers:
        caller.record = False
    try:
        with quiet(), torch.no_grad():
            batch = campaign.batch(number, Calls(only=row))
    finally:
        for caller, record in zip(callers, before, strict=True):
            caller.record = record
    found: dict[str, Any] = {}
    for name in campaign.kept or batch.values:
        value = batch.values[name]
        found[name] = value[row] if len(value) > 1 else value[0]
    return found
