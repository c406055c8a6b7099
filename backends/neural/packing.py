"""Packing: tensors of several parts in one mapping, each under a prefix, and back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["loaded", "packed", "unpacked"]


def packed(**parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`part/name` for every tensor of every part.

    Example:
        >>> import torch
        >>> list(packed(net={"weight": torch.ones(1)}))
        ['net/weight']
    """
    return {f"{part}/{name}": t for part, some in parts.items() for name, t in some.items()}


def unpacked(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part."""
    prefix = f"{part}/"
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def loaded(net: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A net with these weights, ready to answer."""
    net.load_state_dict(dict(tensors))
    return net.eval()
