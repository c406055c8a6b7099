"""`galton version`: which Galton, Python and libraries run here."""

from __future__ import annotations

import platform
from importlib import metadata

from .door import Reply
from .options import Debug, Json

__all__ = ["said", "version"]

LIBRARIES = ("torch", "pyro-ppl", "zuko", "numpy", "scipy", "networkx")


def version(as_json: Json = False, debug: Debug = False) -> Reply:
    """Print which Galton, Python and libraries run here.

    [bold]Examples[/]

    [cyan]galton version[/]

    [cyan]galton version --json[/]
    """
    found = versions()
    width = max(map(len, found))
    return Reply("\n".join(f"{name:<{width}}  {number}" for name, number in found.items()), found)


def said() -> str:
    """The version in a line."""
    return f"galton {versions()['galton']}"


def versions() -> dict[str, str]:
    """Version by name; read from what is installed, and nothing is loaded."""
    return {
        "galton": _number("galton"),
        "python": platform.python_version(),
        **{name: _number(name) for name in LIBRARIES},
    }


def _number(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
