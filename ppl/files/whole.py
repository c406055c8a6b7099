"""A file that is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError

__all__ = ["free", "write_whole"]


def free(path: str | os.PathLike[str], force: bool, example: str) -> Path:
    """Where a file may be written, refused before any work is done.

    Args:
        path: Of the file.
        force: Whether a file that is there may be replaced.
        example: A name, for who gave a folder.

    Raises:
        StoreError: If a file is there, or none can be.
    """
    place = Path(path)
    if place.is_dir():
        raise StoreError(f"{place} is a folder; name a file in it, such as {place / example}.")
    if place.exists() and not force:
        raise StoreError(
            f"{place} is there already. Choose another name, or replace it with force=True."
        )
    if not place.parent.is_dir():
        raise StoreError(f"{place} cannot be written: there is no folder {place.parent}.")
    return place


def write_whole(path: Path, content: bytes, kept: str = "") -> Path:
    """Write under another name, make sure that it is on the disk, and rename: a reader sees all of it or nothing.

    Args:
        path: Of the file.
        content: Of the file.
        kept: What the user should know if it fails.

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
            f"{path} cannot be written: {error.strerror or error}. {kept}".rstrip()
        ) from error
    return path
