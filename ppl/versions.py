"""The programs that make the numbers, by name: what a saved file and a certificate state."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Their versions.

    Example:
        >>> sorted(versions())
        ['galton', 'python', 'torch']
    """
    try:
        own = version("galton")
    except PackageNotFoundError:  # a checkout that was not installed
        own = "unknown"
    return {"galton": own, "torch": torch.__version__, "python": platform.python_version()}
