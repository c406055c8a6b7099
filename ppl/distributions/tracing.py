"""Whether densities are being recorded as a list of operations: then nothing may look at a number to decide what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["recording", "tracing"]

_DEPTH = [0]


def tracing() -> bool:
    """Whether operations are being recorded."""
    return _DEPTH[0] > 0


@contextmanager
def recording() -> Iterator[None]:
    """While operations are recorded: parameters were checked before, and masks replace branches."""
    _DEPTH[0] += 1
    try:
        yield
    finally:
        _DEPTH[0] -= 1
