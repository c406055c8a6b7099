"""A progress bar: how many draws there are, how fast they come, how many failed, and what the consumer wants to tell."""

from __future__ import annotations

import sys
from typing import Any

from ..mechanism import Batch

__all__ = ["Progress"]

#: A bar appears for what takes longer than so many seconds.
DELAY = 2.0


class Progress:
    """A bar on the terminal; on anything else only when it is asked for.

    Args:
        draws: How many there will be.
        shown: Whether to show it; `None` for terminals only.
        title: What is being done.
        unit: Of what is counted.
    """

    def __init__(
        self,
        draws: int,
        shown: bool | None = None,
        title: str = "simulating",
        unit: str = " draws",
    ):
        self._draws, self._shown, self._title, self._unit = draws, shown, title, unit
        self._bar: Any = None
        self._failed = 0
        self._told: dict[str, str] = {}

    def __enter__(self) -> Progress:
        if self._shown or (self._shown is None and sys.stderr.isatty()):
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._draws,
                desc=self._title,
                unit=self._unit,
                unit_scale=self._unit == " draws",
                delay=0.0 if self._shown else DELAY,
                dynamic_ncols=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, draws: int, batch: Batch) -> None:
        """So many more draws."""
        if self._bar is None:
            return
        self._failed += int(batch.failed.sum())
        if self._failed:
            self.tell(failed=f"{self._failed:,}")
        self._bar.update(draws)

    def step(self, steps: int, **words: str) -> None:
        """So many more of what is no draw, and what stands at the end of the bar."""
        if self._bar is not None:
            self.tell(**words)
            self._bar.update(steps)

    def tell(self, **words: str) -> None:
        """What stands at the end of the bar: acceptance, tolerance."""
        if self._bar is not None:
            self._told.update(words)
            self._bar.set_postfix(self._told, refresh=False)
