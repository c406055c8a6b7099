"""A store: simulations in a folder, kept batch by batch, and read again without simulating.

::

    runs/
      manifest.json     which simulations these are
      index.sqlite      which batches there are, and how many of their draws failed
      batches/          one immutable safetensors file each, named by number and checksum
      quarantine/       files that were found damaged
      lock              held by the one process that writes
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError, StoreLocked
from ..files.whole import write_whole
from ..mechanism import Batch
from .files import KEPT, BatchFile, Damaged, read_batch, write_batch
from .index import Entry, Garbage, Index
from .manifest import FORMAT, Manifest

__all__ = ["Store"]


class Store:
    """Batches of one campaign in a folder.

    Args:
        path: The folder; it is made when the first manifest is written.

    Raises:
        StoreError: If there is something else in the folder, or a newer version wrote it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.folder = self.path / "batches"
        self._index: Index | None = None
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file; a store is a folder.")
        known = ("manifest.json", "index.sqlite", "batches", "lock")
        if (
            self.path.is_dir()
            and any(self.path.iterdir())
            and not any((self.path / k).exists() for k in known)
        ):
            raise StoreError(
                f"{self.path} holds other files and no simulations; take an empty folder or a new one."
            )
        self.manifest = self._read_manifest()
        self.entries: dict[int, Entry] = {}
        if self.manifest is not None:
            self._open()

    # -- the manifest ----------------------------------------------------------------------------

    def _read_manifest(self) -> Manifest | None:
        path = self.path / "manifest.json"
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            found = None
        except (ValueError, UnicodeDecodeError):
            found = None
        if found is None:
            # The index has a copy.
            found = self._copy_of_manifest()
        if found is None:
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise StoreError(
                    f"{self.path} holds batches, but its manifest cannot be read, neither in manifest.json nor in the index: "
                    "nobody can tell which model they are of."
                )
            return None
        if not isinstance(found, dict) or not isinstance(found.get("format"), int):
            raise StoreError(f"{path} is no manifest of simulations.")
        if found["format"] > FORMAT:
            raise StoreError(
                f"{self.path} was written by Galton {found.get('versions', {}).get('galton', '?')} in format {found['format']}; "
                f"this one reads up to {FORMAT}. Upgrade, or take another folder."
            )
        try:
            return Manifest(**found)
        except TypeError as error:
            raise StoreError(f"{path} is no manifest of simulations: {error}.") from error

    def _copy_of_manifest(self) -> dict | None:
        path = self.path / "index.sqlite"
        if not path.exists():
            return None
        try:
            index = Index(path)
        except (Garbage, sqlite3.Error):
            return None
        try:
            return index.manifest
        finally:
            index.close()

    def begin(self, manifest: Manifest) -> None:
        """Write the manifest of a new store."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be made: {error.strerror}.") from error
        text = json.dumps(manifest.written(), indent=1)
        write_whole(self.path / "manifest.json", text.encode(), KEPT)
        self.manifest = manifest
        self._open()

    # -- opening ---------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the index; what it does not know is found again from the files."""
        assert self.manifest is not None
        self.folder.mkdir(exist_ok=True)
        path = self.path / "index.sqlite"
        with _disk(self.path):
            try:
                self._index = Index(path)
            except Garbage:
                for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
                    self._quarantine(self.path / name)
                self._index = Index(path)
            if self._index.manifest is None:
                self._index.manifest = self.manifest.written()
            if not (self.path / "manifest.json").exists():
                write_whole(
                    self.path / "manifest.json",
                    json.dumps(self.manifest.written(), indent=1).encode(),
                    KEPT,
                )
            self.entries = self._index.entries()

    def recover(self) -> None:
        """Put in order what an interruption left behind; only who holds the lock may."""
        assert self._index is not None
        for path in self.folder.glob("*.tmp"):
            path.unlink(missing_ok=True)
        there = {path.name: path for path in self.folder.iterdir()}
        for number, entry in list(self.entries.items()):
            found = there.pop(entry.file, None)
            if found is None or found.stat().st_size != entry.bytes:
                self.lose(number)
        for name, path in there.items():
            known = BatchFile.of(name)
            if known is None or known.number in self.entries:
                self._quarantine(path)
                continue
            try:
                batch = read_batch(self.folder, name)
            except Damaged:
                self._quarantine(path)
                continue
            self._enter(known.number, name, path.stat().st_size, batch, 0.0)

    def lose(self, number: int) -> None:
        """Forget a damaged batch; its file goes to the quarantine."""
        assert self._index is not None
        entry = self.entries.pop(number)
        self._quarantine(self.folder / entry.file)
        with _disk(self.path):
            self._index.drop(number)

    def _quarantine(self, path: Path) -> None:
        if path.exists():
            (self.path / "quarantine").mkdir(exist_ok=True)
            os.replace(path, self.path / "quarantine" / path.name)

    def close(self) -> None:
        """Let the index go."""
        if self._index is not None:
            self._index.close()
            self._index = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that writes.

        Raises:
            StoreLocked: If another one is; the lock of a process that died is free.
        """
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        owner = self.path / "owner.json"
        lock = FileLock(self.path / "lock", timeout=0, is_singleton=False)
        try:
            lock.acquire()
        except Timeout:
            pid = host = None
            try:
                told = json.loads(owner.read_text())
                pid, host = told["pid"], told["host"]
            except (OSError, ValueError, KeyError):
                pass
            raise StoreLocked(
                f"{self.path} is being written by process {pid} on {host}; wait for it, or take another folder.",
                pid,
                host,
            ) from None
        try:
            with _disk(self.path):
                owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    # -- batches ---------------------------------------------------------------------------------

    def commit(self, number: int, batch: Batch, names: list[str], seconds: float) -> None:
        """Keep a batch: the file first, then its line in the index."""
        file, size = write_batch(self.folder, number, batch, names)
        self._enter(number, file, size, batch, seconds)

    def _enter(self, number: int, file: str, size: int, batch: Batch, seconds: float) -> None:
        assert self._index is not None
        failures: dict[tuple[str, int], int] = {}
        for node, rows in batch.culprits.items():
            for status in batch.status[rows].tolist():
                failures[node, status] = failures.get((node, status), 0) + 1
        entry = Entry(number, file, size, len(batch.status), seconds, failures)
        with _disk(self.path):
            self._index.add(entry)
        self.entries[number] = entry

    def holds(self, draws: int) -> bool:
        """Whether there are so many draws, as far as the index knows."""
        if self.manifest is None:
            return False
        return all(k in self.entries for k in range(-(-draws // self.manifest.batch)))

    def read(self, number: int, only: list[str] | None = None) -> Batch:
        """A batch, its checksum verified.

        Raises:
            Damaged: If it is not what was written.
        """
        return read_batch(self.folder, self.entries[number].file, only)

    def digest(self) -> str:
        """A checksum of all batches: equal for equal campaigns, however they were run."""
        files = [str(self.entries[k].file) for k in sorted(self.entries)]
        return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Errors of the disk in the user's words."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be written: {error}. {KEPT}") from error
