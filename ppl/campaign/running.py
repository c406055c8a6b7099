"""How simulations are run: where, for how long at most, and what happens to those that fail."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors import QueryError

__all__ = ["Running"]


@dataclass(frozen=True)
class Running:
    """How simulations are run; none of it changes what they are.

    Args:
        workers: `0` for this process, a number of local processes, or a Dask client or its address.
        store: A folder where they are kept, and from which they go on.
        timeout: Seconds for one batch; needs workers.
        memory: Bytes that one local worker may use; needs workers.
        failures: `"raise"` what raises, hangs or dies, or `"record"` it: rows with a status. NaN and infinity are always rows with a status.
        retries: How often what failed is tried again with the same seed, before it counts.
        progress: Whether to show a bar; by default on a terminal, for what takes longer than two seconds.
    """

    workers: Any = 0
    store: str | PathLike[str] | None = None
    timeout: float | None = None
    memory: int | None = None
    failures: str = "record"
    retries: int = 0
    progress: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody means.

        Raises:
            QueryError: It names the argument.
        """
        if self.failures not in ("raise", "record"):
            raise QueryError(f"failures={self.failures!r}: say 'raise' or 'record'.")
        if isinstance(self.workers, bool) or (isinstance(self.workers, int) and self.workers < 0):
            raise QueryError(
                f"workers={self.workers!r}: say how many processes, or give a Dask client."
            )
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise QueryError(f"retries={self.retries!r}: say how often, 0 or more.")
        for name in ("timeout", "memory"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise QueryError(f"{name}={value!r}: say a positive number, or leave it out.")

    @property
    def here(self) -> bool:
        """Whether this process does the work."""
        return (
            isinstance(self.workers, int) and not self.workers and not (self.timeout or self.memory)
        )
