"""Blame: the line of the user's own code at which an error arose."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from pathlib import Path

from ..errors import GaltonError

__all__ = ["behind", "told"]

#: What belongs to nobody's model: ours, Python's and what is installed.
_HOUSE = Path(__file__).resolve().parents[2]
_LIBRARIES = (
    _HOUSE / "ppl",
    _HOUSE / "backends",
    *(Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")),
)


def told(error: BaseException, file: Path) -> str:
    """An error that a user's file raised, as one sentence that begins with `file:line`."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        text = f"  {error.text.strip()}" if error.text else ""
        return f"{_short(error.filename)}:{error.lineno}: {name}: {error.msg}.{text and chr(10) + text}"
    if isinstance(error, SystemExit):
        return (
            f"{file}: it left Python (sys.exit) while it was read. What it does beside declaring models belongs under "
            "if __name__ == '__main__':"
        )
    at = last_line(error)
    if at is None:
        return f"{file}: {name}: {error}"
    place, _, source = at.partition(": ")
    return f"{place}: {name}: {error}" + (f"\n  {source}" if source else "")


def behind(error: BaseException) -> str | None:
    """`file:line: source` where the error arose that led to this one, if it was in the user's code."""
    before = error.__cause__ or error.__context__
    while before is not None:
        at = None if isinstance(before, GaltonError) else last_line(before)
        if at is not None:
            return at
        before = before.__cause__ or before.__context__
    return None


def last_line(error: BaseException) -> str | None:
    """`file:line: source` of the innermost frame that is the user's; `None` if there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not path.is_file() or any(home in path.resolve().parents for home in _LIBRARIES):
            continue
        source = linecache.getline(frame.filename, frame.lineno or 0).strip()
        return f"{_short(frame.filename)}:{frame.lineno}: {source}"
    return None


def _short(filename: str) -> str:
    """A path as the user would type it: from here, if it is below."""
    path = Path(filename).resolve()
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
