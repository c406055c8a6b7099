"""The door of a command: what it says goes to the screen, what goes wrong becomes a sentence and an exit code."""

from __future__ import annotations

import functools
import json
import math
import re
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import typer

from ..errors import GaltonError, UnverifiedError
from .blame import behind

__all__ = ["UNVERIFIED", "WRONG", "Reply", "guarded", "plain"]

#: Exit codes, beside typer's 2 for a wrong command.
WRONG, UNVERIFIED, INTERRUPTED = 1, 3, 130

#: What separates the columns of a print-out.
GAP = re.compile(r"(?<=\S) {2,}(?=\S)")


@dataclass(frozen=True)
class Reply:
    """What a command answers.

    Args:
        text: For people; it is printed as it prints.
        document: For programs; printed as JSON where `--json` asks for it.
        code: The exit code.
        why: What the exit code means, for the standard error.
    """

    text: Any
    document: Mapping[str, Any] | None = None
    code: int = 0
    why: str = ""


def guarded(command: Callable[..., Reply]) -> Callable[..., None]:
    """A command that prints its reply and ends with its exit code, and whose errors are sentences.

    Its options may be `as_json`, to print JSON and nothing else on the standard output, and `debug`, to show tracebacks.
    """

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        out, as_json = sys.stdout, options.get("as_json", False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("once", UserWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            try:
                # What a user's file prints is not part of the document.
                with redirect_stdout(sys.stderr if as_json else out):
                    reply = command(*arguments, **options)
                    text = json.dumps(plain(reply.document), indent=2) if as_json else reply.text
                typer.echo(text if as_json else _fitted(str(text)), nl=bool(str(text)))
            except (typer.Exit, typer.Abort, typer.BadParameter):
                raise
            except (Exception, KeyboardInterrupt) as error:
                raise typer.Exit(_failed(error, options)) from None
        if reply.why:
            _say("unverified", "yellow", reply.why)
        raise typer.Exit(reply.code)

    return called


def plain(value: Any) -> Any:
    """A value as JSON knows it: tensors become lists, what is no number becomes null.

    Example:
        >>> plain({"mean": float("nan"), "given": ("x",)})
        {'mean': None, 'given': ['x']}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _fitted(text: str) -> str:
    """Text for a terminal: a long line goes on below the column in which its last part begins."""
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 40)
    rows = []
    for row in text.splitlines():
        if len(row) > width:
            gaps = [gap.end() for gap in GAP.finditer(row[: width // 2])]
            indent = " " * (gaps[-1] if gaps else len(row) - len(row.lstrip()) + 4)
            row = textwrap.fill(
                row,
                width,
                subsequent_indent=indent,
                replace_whitespace=False,
                break_on_hyphens=False,
            )
        rows.append(row)
    return "\n".join(rows)


def _failed(error: BaseException, options: Mapping[str, Any]) -> int:
    """Say what went wrong; the exit code."""
    if options.get("debug"):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        kept = options.get("store")
        text = "nothing is kept." if kept is None else f"{kept} is kept; the same command goes on."
        _say("interrupted", "yellow", text)
        return INTERRUPTED
    text = str(error)
    if isinstance(error, GaltonError):
        at = behind(error)
        text += f"\n  {at}" if at and at.split(": ", 1)[0] not in text else ""
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        text = f"{type(error).__name__}: {text}\n  Galton did not expect this. --debug shows where it comes from; please report it."
    _say("error", "red", text)
    # The answer was found, and refused for what it is worth.
    return UNVERIFIED if isinstance(error, UnverifiedError) else WRONG


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say("warning", "yellow", str(message))


def _say(word: str, colour: str, text: str) -> None:
    """A line on the standard error that begins with a coloured word."""
    typer.echo(f"{typer.style(f'{word}:', fg=colour, bold=True)} {text}", err=True)
