"""Simulations for other programs: a folder of NumPy files, or one Parquet table, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
from torch import Tensor

from ..errors import StoreError

if TYPE_CHECKING:
    from .simulate import Simulations

__all__ = ["columns_of", "to_numpy", "to_parquet"]


def to_numpy(draws: Simulations, folder: str | os.PathLike[str]) -> None:
    """One `.npy` file a node, `(n, *plates, *event)`, and `status.npy`."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for name in draws:
        numpy.save(path / f"{name}.npy", draws[name].numpy())
    numpy.save(path / "status.npy", draws.status.numpy())


def to_parquet(draws: Simulations, path: str | os.PathLike[str]) -> None:
    """One row a draw, one column a number: `theta`, `y[0]`, `y[1]`, …, and `status`.

    Raises:
        StoreError: If pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise StoreError('Parquet needs pyarrow: pip install "galton[parquet]".') from error
    writer = None
    try:
        for columns in _tables(draws):
            table = pyarrow.table(columns)
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _tables(draws: Simulations) -> Iterator[dict[str, numpy.ndarray]]:
    """Columns of some draws at a time."""
    done = 0
    for values in draws.parts():
        columns: dict[str, numpy.ndarray] = {}
        n = 0
        for name, value in values.items():
            columns |= columns_of(name, value)
            n = len(value)
        columns["status"] = draws.status[done : done + n].numpy()
        done += n
        yield columns


def columns_of(name: str, value: Tensor) -> dict[str, numpy.ndarray]:
    """The numbers of one node, each a column."""
    if value.dim() == 1:
        return {name: value.numpy()}
    flat = value.reshape(len(value), -1).numpy()
    places = numpy.ndindex(*value.shape[1:])
    return {f"{name}[{','.join(map(str, place))}]": flat[:, k] for k, place in enumerate(places)}
