"""Files of batches: immutable safetensors whose name tells their checksum, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files.whole import write_whole
from ..mechanism import Batch

__all__ = ["KEPT", "BatchFile", "Damaged", "read_batch", "write_batch"]

#: What is said where a store cannot be written.
KEPT = "What was committed before is kept; the same call goes on from there."
#: Names that no node has, for how the draws ended and where they failed.
STATUS, CULPRIT = " status", " failed at "
NAME = re.compile(r"(\d{8})-([0-9a-f]{16})\.safetensors")


class Damaged(Exception):
    """The file is not what was written."""


@dataclass(frozen=True)
class BatchFile:
    """The name of a batch's file: its number and a checksum of its content."""

    number: int
    checksum: str

    @classmethod
    def of(cls, name: str) -> BatchFile | None:
        """What a name tells; `None` if it is no batch's."""
        match = NAME.fullmatch(name)
        return None if match is None else cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.number:08d}-{self.checksum}.safetensors"


def write_batch(folder: Path, number: int, batch: Batch, names: list[str]) -> tuple[str, int]:
    """Write a batch; its file's name and size.

    Args:
        folder: Of the batches.
        number: Of the batch.
        batch: What was simulated.
        names: The nodes to keep.
    """
    from safetensors.torch import save

    tensors = {name: batch.values[name].contiguous() for name in names}
    tensors[STATUS] = batch.status
    tensors |= {f"{CULPRIT}{name}": rows for name, rows in batch.culprits.items()}
    # One entry only: safetensors writes several in random order, and equal batches must be equal files.
    content = save(tensors, {"errors": json.dumps(batch.errors)})
    name = str(BatchFile(number, hashlib.sha256(content).hexdigest()[:16]))
    write_whole(folder / name, content, KEPT)
    return name, len(content)


def read_batch(folder: Path, name: str, only: list[str] | None = None) -> Batch:
    """Read a batch, all of it or some nodes.

    Raises:
        Damaged: If it is missing, short, or its checksum is wrong.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    known = BatchFile.of(name)
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise Damaged(f"{name}: {error.strerror}") from error
    if known is None or hashlib.sha256(content).hexdigest()[:16] != known.checksum:
        raise Damaged(f"{name}: its checksum is wrong")
    try:
        tensors: dict[str, Tensor] = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise Damaged(f"{name}: {error}") from error
    status = tensors.pop(STATUS, torch.zeros(0, dtype=torch.uint8))
    culprits = {
        key.removeprefix(CULPRIT): tensors.pop(key)
        for key in list(tensors)
        if key.startswith(CULPRIT)
    }
    errors = [tuple(e) for e in json.loads(header.get("__metadata__", {}).get("errors", "[]"))]
    values = {k: v for k, v in tensors.items() if only is None or k in only}
    return Batch(values, status, culprits, errors)
