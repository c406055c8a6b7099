"""A folder of results: the answer as files that other programs read."""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GaltonError, StoreError
from .door import plain

if TYPE_CHECKING:
    from ..compiler import Plan
    from ..posterior import Posterior

__all__ = ["FILES", "Folder", "may_write"]

#: What a folder of results holds; draws are Parquet where pyarrow is there, otherwise `.npz`.
FILES = (
    "summary.json",
    "summary.csv",
    "draws.parquet",
    "draws.npz",
    "marginals.png",
    "dag.svg",
    "plan.json",
    "report.html",
)


def may_write(path: Path, force: bool) -> Path:
    """A path that will be written, refused before any work is done.

    Raises:
        StoreError: If it is there and `force` is not, if it is a folder, or if it has no folder to be in.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise StoreError(f"{path} is there already. Take another name, or replace it with --force.")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.parent}.")
    return path


class Folder:
    """Where results go.

    Args:
        path: The folder; it is made if it is not there.
        force: Whether results that are in it may be replaced. Other files in it are never touched.

    Raises:
        StoreError: If it holds results already, or is a file.
    """

    def __init__(self, path: Path, force: bool):
        self.path = path
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file; --out takes a folder.")
        there = [name for name in FILES if (path / name).exists()]
        if there and not force:
            raise StoreError(
                f"{path} holds results already ({', '.join(there)}). Take another folder, or replace them with --force."
            )
        self._stale = there

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """The folder, there before the work begins, and gone again if the work failed and it is empty."""
        new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            yield self
        except BaseException:
            if new and not any(self.path.iterdir()):
                self.path.rmdir()
            raise

    def write(
        self, plan: Plan, posteriors: Sequence[Posterior], document: Mapping[str, Any], draws: int
    ) -> list[str]:
        """Write everything; the names of the files.

        Args:
            plan: The plan that was followed.
            posteriors: One, or one for each row of the data.
            document: What `--json` prints.
            draws: How many draws are kept.
        """
        os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, no window is opened
        for name in self._stale:  # what is not written again would belong to another answer
            (self.path / name).unlink()
        _write_json(self.path / "summary.json", document)
        _write_json(self.path / "plan.json", plan.to_dict())
        many = len(posteriors) > 1
        rows = [
            ({"observation": k} if many else {}) | _flat(row)
            for k, posterior in enumerate(posteriors)
            for row in posterior.summary().rows
        ]
        _write_csv(self.path / "summary.csv", rows)
        written = ["summary.json", "summary.csv", "plan.json", self._draws(posteriors, draws)]
        pages: dict[str, Callable[[Path], Any]] = {"dag.svg": lambda path: plan.draw().save(path)}
        if not many:
            pages["marginals.png"] = lambda path: posteriors[0].plot(path=str(path))
            pages["report.html"] = posteriors[0].report
        for name, write in pages.items():
            # The numbers are safe by now; a picture that cannot be drawn here is no reason to fail.
            try:
                write(self.path / name)
            except GaltonError as error:
                warnings.warn(f"there is no {name}: {error}", stacklevel=2)
            else:
                written.append(name)
        return written

    def _draws(self, posteriors: Sequence[Posterior], n: int) -> str:
        """Joint draws: a row each, a column for each number, labels as labels."""
        import numpy

        pieces = [_columns(posterior, n, seed=k) for k, posterior in enumerate(posteriors)]
        if len(pieces) > 1:
            for k, piece in enumerate(pieces):
                piece["observation"] = numpy.full(n, k)
        columns = {name: numpy.concatenate([p[name] for p in pieces]) for name in pieces[0]}
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            numpy.savez(self.path / "draws.npz", **columns)  # type: ignore[arg-type]
            return "draws.npz"
        parquet.write_table(pyarrow.table(columns), self.path / "draws.parquet")
        return "draws.parquet"


def _columns(posterior: Posterior, n: int, seed: int) -> dict[str, Any]:
    import numpy

    from ..campaign.export import columns_of

    found: dict[str, Any] = {}
    for name, value in posterior.sample(n, seed).items():
        columns = columns_of(name, value)
        states = posterior.graph[name].states
        if states is not None:
            labels = numpy.array([str(state) for state in states])
            columns = {title: labels[column] for title, column in columns.items()}
        found |= columns
    return found


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One number's row of a summary, with a column for each of its figures."""
    found = {key: value for key, value in row.items() if not isinstance(value, Mapping | tuple)}
    found |= {f"{100 * q:g}%": value for q, value in row.get("quantiles", {}).items()}
    return found | {f"p({label})": p for label, p in row.get("probs", {}).items()}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(plain(document), indent=2) + "\n", encoding="utf-8")


def _write_csv(path: Path, rows: Collection[Mapping[str, Any]]) -> None:
    titles = list(dict.fromkeys(title for row in rows for title in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, titles)
        table.writeheader()
        table.writerows(rows)
