"""The index of a store: one SQLite file that says which batches there are, how large, and how many of their draws failed.

Everything in it can be found again from the batches themselves.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Entry", "Garbage", "Index"]

TABLES = """
create table if not exists manifest (one integer primary key check (one = 1), text text not null);
create table if not exists batches (
    number integer primary key, file text not null, bytes integer not null, draws integer not null, seconds real not null
);
create table if not exists failures (number integer not null, node text not null, status integer not null, draws integer not null);
create index if not exists by_number on failures (number);
"""


class Garbage(Exception):
    """The file is no index."""


@dataclass(frozen=True)
class Entry:
    """One batch.

    Args:
        number: Which.
        file: Its name in the folder of batches.
        bytes: Its size.
        draws: How many it holds.
        seconds: How long it took.
        failures: By node and status, how many draws failed.
    """

    number: int
    file: str
    bytes: int
    draws: int
    seconds: float
    failures: Mapping[tuple[str, int], int]


class Index:
    """An open index.

    Args:
        path: Its file; made where there is none.

    Raises:
        Garbage: If it is not an index, or a damaged one.
    """

    def __init__(self, path: Path):
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            try:
                self._db.execute("pragma journal_mode = wal")
                # Rows that a power cut takes are found again from the files.
                self._db.execute("pragma synchronous = normal")
                self._db.executescript(TABLES)
                answer = self._db.execute("pragma quick_check").fetchone()
                if answer != ("ok",):
                    raise Garbage(str(answer))
            except BaseException:
                self._db.close()
                raise
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise Garbage(str(error)) from error

    def close(self) -> None:
        self._db.close()

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What was written of the manifest."""
        row = self._db.execute("select text from manifest").fetchone()
        return None if row is None else json.loads(row[0])

    @manifest.setter
    def manifest(self, value: dict[str, Any]) -> None:
        self._db.execute("insert or replace into manifest values (1, ?)", [json.dumps(value)])

    def add(self, entry: Entry) -> None:
        """In one transaction."""
        self._db.execute("begin immediate")
        try:
            self._drop(entry.number)
            self._db.execute(
                "insert into batches values (?, ?, ?, ?, ?)",
                [entry.number, entry.file, entry.bytes, entry.draws, entry.seconds],
            )
            self._db.executemany(
                "insert into failures values (?, ?, ?, ?)",
                [[entry.number, node, status, n] for (node, status), n in entry.failures.items()],
            )
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def drop(self, number: int) -> None:
        """Forget a batch."""
        self._db.execute("begin immediate")
        self._drop(number)
        self._db.execute("commit")

    def _drop(self, number: int) -> None:
        self._db.execute("delete from batches where number = ?", [number])
        self._db.execute("delete from failures where number = ?", [number])

    def entries(self) -> dict[int, Entry]:
        """All batches, by number, in order."""
        failures: dict[int, dict[tuple[str, int], int]] = {}
        for number, node, status, n in self._db.execute("select * from failures"):
            failures.setdefault(number, {})[node, status] = n
        rows = self._db.execute("select * from batches order by number")
        return {
            number: Entry(number, file, size, draws, seconds, failures.get(number, {}))
            for number, file, size, draws, seconds in rows
        }
