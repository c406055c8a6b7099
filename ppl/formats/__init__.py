"""Files of Bayesian networks: BIF and UAI, read into models and written from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FormatError, QueryError
from .text import Text

__all__ = ["read", "read_evidence", "write"]


def read(path: str | Path) -> Any:
    """A network in a file, as a model: it draws, plans, simulates, takes `do`, like any other.

    Args:
        path: A `.bif` or `.uai` file, or one of these gzipped (`.bif.gz`). The rows of its tables sum to one within 1e-5;
            they are then renormalised, with a warning if they were off by more than rounding.

    Raises:
        FormatError: With file, line and variable, if the file is not what its format says.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "rain.bif"
        >>> _ = file.write_text('''
        ... network weather { }
        ... variable rain { type discrete [ 2 ] { dry, wet }; }
        ... probability ( rain ) { table 0.8, 0.2; }
        ... ''')
        >>> print(read(file))
        weather
          Z  rain  Categorical; states dry, wet
    """
    path = Path(path)
    kind = _kind(path, (".bif", ".uai"))
    text = Text.of(path)
    if kind == ".bif":
        from .bif import parse
    else:
        from .uai import parse
    return parse(text).model()


def read_evidence(path: str | Path) -> list[dict[str, int]]:
    """The observations of a `.evid` file, for a network that was read from the `.uai` beside it.

    Raises:
        FormatError: If the file's counts do not fit.
    """
    from .uai import parse_evidence

    path = Path(path)
    _kind(path, (".evid",))
    return parse_evidence(Text.of(path))


def write(model: Any, path: str | Path, *, evidence: Mapping[str, Any] | None = None) -> None:
    """Write a finite model as a network; what is read back has the same tables to the last digit.

    Args:
        model: Every node must be finite, with a density. Members of a plate become variables `name[0]`, `name[1]`, …
        path: Ends in `.bif`, or in `.uai`, which keeps no names: variable i is the model's i-th.
        evidence: For UAI: an observation, written beside it as `path.evid`, by name to state number or label.

    Raises:
        FormatError: If the name does not tell the format, or it cannot hold the model's names.
        QueryError: If the model is no finite network, or the evidence is not of this model.
    """
    from .network import network_of

    path = Path(path)
    kind = _kind(path, (".bif", ".uai"), gzipped=False)
    network = network_of(model)
    if kind == ".bif":
        from .bif import write as text
    else:
        from .uai import write as text
    if evidence is not None and kind != ".uai":
        raise QueryError("BIF has no place for evidence; write it beside a .uai file.")
    path.write_text(text(network), encoding="utf-8")
    if evidence is not None:
        from .uai import write_evidence

        states: dict[str, int] = {}
        for name, value in evidence.items():
            if name not in network.labels:
                raise QueryError(f"evidence: {network.name} has no variable '{name}'.")
            labels = network.labels[name]
            known = labels.index(value) if isinstance(value, str) and value in labels else value
            if not isinstance(known, int) or not 0 <= known < len(labels):
                raise QueryError(f"evidence: '{name}' has no state {value!r}.")
            states[name] = known
        Path(f"{path}.evid").write_text(write_evidence(network, states), encoding="utf-8")


def _kind(path: Path, known: tuple[str, ...], gzipped: bool = True) -> str:
    suffixes = path.suffixes[:-1] if gzipped and path.suffix == ".gz" else path.suffixes
    if suffixes and suffixes[-1].lower() in known:
        return suffixes[-1].lower()
    raise FormatError(f"{path.name}: the name should end in {' or '.join(known)}.")
