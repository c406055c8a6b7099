"""What can go wrong, in the user's words.

::

    GaltonError
    ├── ModelError            the model text is wrong: a parent, a shape, a promise that does not hold
    │   └── DistributionError a parameter is NaN, out of range, or a probability row does not sum to one
    ├── QueryError            the question is wrong: an unknown node, a label, a value outside the support
    │   └── ImpossibleError   the observation has probability zero under the model
    ├── FormatError           a file cannot be read; says file, line and variable
    ├── SimulationError       a body failed while it was called for a draw; says which, and how to replay it
    ├── StoreError            a folder of simulations or a saved plan cannot be used; says why, and what is kept
    │   └── StoreLocked       another process writes to it
    ├── BackendError          no engine can answer, or the engine that was asked for cannot; says why
    └── UnverifiedError       the answer could not be verified, and only a verified one was wanted (strict=True)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "DistributionError",
    "FormatError",
    "GaltonError",
    "ImpossibleError",
    "ModelError",
    "QueryError",
    "SimulationError",
    "StoreError",
    "StoreLocked",
    "UnverifiedError",
    "closest",
]


class GaltonError(Exception):
    """The root of every error that Galton raises on purpose."""


class ModelError(GaltonError):
    """The model text is wrong; raised as early as it can be known."""


class DistributionError(ModelError, ValueError):
    """A distribution was given parameters that it cannot have."""


class QueryError(GaltonError):
    """The question cannot be asked of this model."""


class ImpossibleError(QueryError):
    """The observation has probability zero under the model."""


class FormatError(GaltonError):
    """A file is not what its format says, or a model does not fit the format."""


class SimulationError(GaltonError):
    """A body raised, or returned nonsense, while it was called for a draw.

    Attributes:
        node: The name of the node, or `None`.
        seed: The failing call got `rng=numpy.random.default_rng(seed)`; `None` where there was none.
    """

    def __init__(self, message: str, node: str | None = None, seed: int | None = None):
        super().__init__(message)
        self.node, self.seed = node, seed


class StoreError(GaltonError):
    """A folder of simulations, or a saved plan, cannot be used: damaged, of another model, of a newer version, or on a full disk."""


class StoreLocked(StoreError):
    """Another process writes to the store.

    Attributes:
        pid: Of that process.
        host: Where it runs.
    """

    def __init__(self, message: str, pid: int | None = None, host: str | None = None):
        super().__init__(message)
        self.pid, self.host = pid, host


class BackendError(GaltonError):
    """No engine can answer the query, or the engine that was asked for cannot."""


class UnverifiedError(GaltonError):
    """The answer has grade U, and `strict=True` wants a better one.

    Attributes:
        posterior: The answer all the same, with its certificate.
    """

    def __init__(self, message: str, posterior: object = None):
        super().__init__(message)
        self.posterior = posterior


def closest(word: str, candidates: Iterable[str]) -> str:
    """A sentence that suggests the nearest candidate, or lists what there is; empty without any.

    Example:
        >>> closest("sprinkle", ["rain", "sprinkler"])
        " Did you mean 'sprinkler'?"
        >>> closest("xyz", ["rain", "sprinkler"])
        ' There are: rain, sprinkler.'
    """
    names = [str(candidate) for candidate in candidates]
    near = difflib.get_close_matches(str(word), names, n=1)
    if near:
        return f" Did you mean '{near[0]}'?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f" There are: {shown}."
