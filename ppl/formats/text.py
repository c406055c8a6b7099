"""A file as text: opened within bounds, and positions in it as lines."""

from __future__ import annotations

import gzip
import math
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError

__all__ = ["Text"]

#: The largest file that is read, in bytes.
LARGEST = 2**28


@dataclass(frozen=True)
class Text:
    """The contents of a file.

    Args:
        name: The file's name, for errors.
        text: Its contents.
    """

    name: str
    text: str

    @classmethod
    def of(cls, path: Path) -> Text:
        """Read a file, gzipped if it ends in `.gz`.

        Raises:
            FormatError: If it does not exist, is too large, or is no text.
        """
        try:
            with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
                raw = file.read(LARGEST + 1)
        except (OSError, EOFError) as error:
            raise FormatError(f"{path}: {getattr(error, 'strerror', None) or error}.") from error
        if len(raw) > LARGEST:
            raise FormatError(
                f"{path.name}: more than {LARGEST // 2**20} MB, which no network needs."
            )
        try:
            return cls(path.name, raw.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise FormatError(f"{path.name}:{line}: this is no text in UTF-8.") from error

    def where(self, position: int) -> str:
        """`file:line` of a position."""
        return f"{self.name}:{self.text.count(chr(10), 0, position) + 1}"

    def error(self, position: int, message: str) -> FormatError:
        """An error at a position."""
        return FormatError(f"{self.where(position)}: {message}")

    def found(self, position: int) -> str:
        """What stands at a position, for an error."""
        word = re.compile(r"\s*(\S{1,40})").match(self.text, position)
        return f"'{word[1]}'" if word else "the end of the file"

    def probabilities(self, words: list[str], position: int, owner: str) -> list[float]:
        """Numbers, none of them negative or without bounds."""
        try:
            numbers = list(map(float, words))
            if min(numbers, default=0.0) >= 0 and math.isfinite(sum(numbers)):
                return numbers
        except ValueError:
            pass
        for word in words:
            try:
                number = float(word)
            except ValueError:
                raise self.error(
                    position, f"'{owner}' has {word.strip()[:40]!r} where a number should be."
                ) from None
            if not number >= 0 or math.isinf(number):
                raise self.error(position, f"'{owner}' has the probability {number:g}.")
        raise self.error(position, f"the probabilities of '{owner}' add up to infinity.")
