"""A document: plain values and tensors in one file, safe to read from anybody and refused if a single byte has changed.

The file is a safetensors file. Its metadata hold one JSON text, in which every tensor is a reference to one that stands aside, and a checksum
of the whole file. Nothing in it is code, and nothing in it is ever run. The checksum notices accidents; it is no signature, since
whoever changes a file on purpose can write a new one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import FormatError, StoreError
from .whole import free, write_whole

__all__ = ["NotPlain", "plain", "read", "write"]

#: The only entry of the metadata: safetensors writes several in random order, and equal documents shall be equal files.
ENTRY = "galton"
NOUGHT = "0" * 64


class NotPlain(Exception):
    """A value is neither plain nor a tensor; the text says where and what it is."""


def plain(value: Any, where: str = "") -> tuple[Any, dict[str, Tensor]]:
    """A value as JSON takes it, and the tensors that were in it.

    Lists, tuples, dictionaries with any plain keys, numbers, texts, `None`, tensors and NumPy arrays come back as they were (arrays as tensors, on
    the CPU).

    Args:
        value: What is to be written.
        where: Its name, by which its tensors are called.

    Raises:
        NotPlain: If there is anything else in it.

    Example:
        >>> plain({"seen": (1, 2.5), "weight": torch.zeros(2)})
        ({'seen': {'$tuple': [1, 2.5]}, 'weight': {'$tensor': 'weight'}}, {'weight': tensor([0., 0.])})
    """
    tensors: dict[str, Tensor] = {}
    return _written(value, where, tensors), tensors


def write(path: Path, kind: str, version: int, content: Mapping[str, Any], force: bool) -> None:
    """Write a document whole or not at all.

    Args:
        path: Of the file; its folder exists.
        kind: What it is, such as `"plan"`.
        version: Of its layout.
        content: What it says, by name.
        force: Whether a file that is there may be replaced.

    Raises:
        NotPlain: If something in it cannot be written down.
        StoreError: If there is a file already, or none can be written there.
    """
    from safetensors.torch import save

    free(path, force, f"{kind}.safetensors")
    text, tensors = plain(dict(content))
    head = {"checksum": NOUGHT, "kind": kind, "format": version, "content": text}
    raw = save(tensors, {ENTRY: json.dumps(head, ensure_ascii=True, allow_nan=False)})
    at = _place(raw)
    checksum = hashlib.sha256(raw).hexdigest().encode()
    write_whole(path, raw[:at] + checksum + raw[at + len(checksum) :])


def read(path: Path, kind: str, version: int) -> dict[str, Any]:
    """What a document says.

    Args:
        path: Of the file.
        kind: What it should be.
        version: The newest layout that is understood.

    Raises:
        StoreError: If there is no such file, or it cannot be read.
        FormatError: If it is no such document, was changed or cut short, or is of a newer layout.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if path.is_dir():
        raise StoreError(f"{path} is a folder; name the {kind}'s file in it.")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"There is no file {path}.") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    head = _head(path, raw, kind)
    if head["format"] > version:
        raise FormatError(
            f"{path} is a {kind} of format {head['format']}, and this version of galton reads up to {version}. Update galton, or make the "
            f"{kind} anew."
        )
    damaged = FormatError(
        f"{path} is damaged: its checksum is wrong. Some of it was changed or is missing; take another copy, or make the {kind} anew."
    )
    try:
        at = _place(raw, head["checksum"])
    except ValueError:
        raise damaged from None
    if hashlib.sha256(raw[:at] + NOUGHT.encode() + raw[at + 64 :]).hexdigest() != head["checksum"]:
        raise damaged
    try:
        return _restored(head["content"], load(raw))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path} is no {kind} that can be read: {error}.") from error


def _head(path: Path, raw: bytes, kind: str) -> dict[str, Any]:
    """The JSON of the metadata, which says what the file is."""
    try:
        length = int.from_bytes(raw[:8], "little")
        if len(raw) < 8 + length:
            raise ValueError("it is cut short")
        head = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"][ENTRY])
        if head["kind"] != kind:
            raise ValueError(f"it says that it is a {head['kind']}")
        parts = {"format": int, "content": dict, "checksum": str}
        if not all(isinstance(head[name], type_) for name, type_ in parts.items()):
            raise ValueError("its head is not what galton writes")
        return head
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"{path} is no {kind} of galton, or is damaged: {reason[:200]}."
        ) from error


def _place(raw: bytes, checksum: str = NOUGHT) -> int:
    """Where the checksum stands: within a JSON text within a JSON text."""
    inner = json.dumps({"checksum": checksum})[1:-1]
    mark = json.dumps(inner)[1:-1].encode()
    return raw.index(mark) + mark.index(checksum.encode())


def _written(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, numpy.generic):
        return _written(value.item(), where, tensors)
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
        value = torch.as_tensor(value)
    if type(value) in (Tensor, torch.nn.Parameter):
        key = where or "value"
        while key in tensors:
            key += "'"
        # Each is a copy of its own: safetensors refuses tensors that share memory.
        tensors[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"$tensor": key}
    if type(value) in (list, tuple):
        items = [_written(v, f"{where}/{i}", tensors) for i, v in enumerate(value)]
        return items if type(value) is list else {"$tuple": items}
    if isinstance(value, Mapping):
        inner = f"{where}/" if where else ""
        pairs = [(k, _written(v, f"{inner}{k}", tensors)) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k, _ in pairs):
            return dict(pairs)
        return {"$dict": [[_written(k, where, tensors), v] for k, v in pairs]}
    raise NotPlain(f"{where or 'it'} is a {type(value).__module__}.{type(value).__qualname__}")


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_restored(v, tensors) for v in value["$tuple"])
    if "$dict" in value:
        return {_restored(k, tensors): _restored(v, tensors) for k, v in value["$dict"]}
    return {k: _restored(v, tensors) for k, v in value.items()}
