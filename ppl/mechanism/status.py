"""How a draw ended: well, or in which of the ways that a simulator can fail."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """Why a draw has no value; the number is what stores keep."""

    OK = 0
    RAISED = 1
    NOT_FINITE = 2
    MALFORMED = 3
    TIMED_OUT = 4
    DIED = 5

    @property
    def words(self) -> str:
        """As it is told: "3 draws raised an exception"."""
        return _WORDS[self]


_WORDS = {
    Status.OK: "succeeded",
    Status.RAISED: "raised an exception",
    Status.NOT_FINITE: "gave NaN or infinity",
    Status.MALFORMED: "gave a value of another shape",
    Status.TIMED_OUT: "ran out of time",
    Status.DIED: "ended their process",
}
