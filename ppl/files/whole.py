"""A file that is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write under another name, make sure that it is on the disk, and rename: a reader sees all of it or nothing.

    Raises:
        StoreError: If the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{path.parent} cannot be written: {error.strerror or error}. What was committed before is kept; the same call goes on from there."
        ) from error
