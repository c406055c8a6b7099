"""A checkpoint: the state of a training after an epoch in one file, so that a training that was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ppl.errors import BackendError

__all__ = ["Checkpoint", "Moment"]


@dataclass(frozen=True, eq=False)
class Moment:
    """Where a training stands.

    Args:
        best: The best averaged weights.
        losses: Held-out losses so far.
        waited: Epochs without improvement.
        epoch: The next one.
    """

    best: dict[str, Tensor]
    losses: tuple[float, ...]
    waited: int
    epoch: int


class Checkpoint:
    """One file, written whole or not at all.

    Args:
        path: Where.
    """

    def __init__(self, path: Path):
        self.path = Path(path)

    def write(self, moment: Moment, net, averaged, optimiser, schedule, generator) -> None:
        """Keep the state of everything that moves."""
        tensors = {f"best.{k}": v for k, v in moment.best.items()}
        tensors |= {f"net.{k}": v for k, v in net.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in averaged.state_dict().items()}
        for i, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors |= {"generator": generator.get_state(), "noise": torch.get_rng_state()}
        facts = {
            "losses": moment.losses,
            "waited": moment.waited,
            "epoch": moment.epoch,
            "shape": _shape(net),
            "schedule": schedule.state_dict(),
            "groups": optimiser.state_dict()["param_groups"],
        }
        temporary = self.path.with_name(self.path.name + ".part")
        # Safetensors refuses tensors that share memory.
        save_file(
            {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()},
            temporary,
            {"galton": json.dumps(facts)},
        )
        os.replace(temporary, self.path)

    def read(
        self, net: nn.Module, averaged: nn.Module, optimiser, schedule, generator
    ) -> Moment | None:
        """Put everything back where it was; `None` if there is no file yet.

        Raises:
            BackendError: If the file is of another net, or cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                facts = json.loads(file.metadata()["galton"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 a file is no mapping
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BackendError(
                f"The checkpoint {self.path} cannot be read ({error}). Remove it to train from the beginning."
            ) from error
        if facts["shape"] != _shape(net):
            raise BackendError(
                f"The checkpoint {self.path} is of another net: it was made for another model, or with other options. Remove it, or name another file."
            )
        net.load_state_dict(_part(tensors, "net."))
        averaged.load_state_dict(_part(tensors, "averaged."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimiser.").items():
            i, _, name = key.partition(".")
            state.setdefault(int(i), {})[name] = value
        optimiser.load_state_dict({"state": state, "param_groups": facts["groups"]})
        schedule.load_state_dict(facts["schedule"])
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["noise"])
        best = _part(tensors, "best.")
        return Moment(best, tuple(facts["losses"]), facts["waited"], facts["epoch"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _shape(net: nn.Module) -> list:
    return [[name, list(value.shape)] for name, value in net.state_dict().items()]
