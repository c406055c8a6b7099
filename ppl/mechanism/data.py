"""Data: what the user hands in becomes tensors, with a mask for missing cells and the sizes of the plates.

Observations are always kept as a batch, `(datasets, *plates, *event)`; a single one is a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import QueryError, closest
from ..graph import Graph, Node
from .soft import Belief, Likelihood

__all__ = ["Data", "read_data"]


#: The mask of one plain value that is there.
THERE = torch.ones(1, dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class Data:
    """Values of nodes, ready for the engines.

    Args:
        observed: Values of random nodes, `(datasets, *plates, *event)`; missing cells hold an arbitrary valid number.
        present: Which cells are there, `(datasets, *plates)`, for every observed node.
        inputs: Values of input nodes, `(1, *plates, *event)`.
        columns: For a long-format plate, the member of each pointed-to plate, `(size,)`.
        sizes: The number of members of every plate whose size is known.
        likelihoods: Virtual evidence on finite nodes, `(datasets or 1, *plates, cardinality)`.
        beliefs: Soft evidence: what their marginals shall be, of the same shape.
        datasets: How many observations there are.
    """

    observed: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    likelihoods: Mapping[str, Tensor] = field(default_factory=dict)
    beliefs: Mapping[str, Tensor] = field(default_factory=dict)
    datasets: int = 1

    def one(self, i: int) -> Data:
        """One observation of a batch."""
        if self.datasets == 1:
            return self

        def cut(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: v[i : i + 1] if len(v) > 1 else v for name, v in values.items()}

        return replace(
            self,
            observed=cut(self.observed),
            present=cut(self.present),
            likelihoods=cut(self.likelihoods),
            beliefs=cut(self.beliefs),
            datasets=1,
        )

    @property
    def soft(self) -> frozenset[str]:
        """The nodes with virtual or soft evidence."""
        return frozenset(self.likelihoods) | frozenset(self.beliefs)

    def missing(self, name: str) -> int:
        """How many cells of an observed node are missing."""
        return int((~self.present[name]).sum())


def read_data(
    graph: Graph,
    given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    nan: str = "error",
    batch: bool = False,
) -> Data:
    """Read observations, inputs and the columns of long-format plates from one mapping.

    Args:
        graph: The graph that the names belong to.
        given: By name. With `batch`, observed nodes have one more leading axis, or it is a list of mappings.
        sizes: Sizes of plates that the data do not show.
        nan: `"error"`, or `"missing"` to read NaN as a missing cell.
        batch: Whether there are many observations.

    Raises:
        QueryError: For unknown names, unknown labels, wrong shapes, sizes that disagree, NaN, or a node that `do` has set.
    """
    if nan not in ("error", "missing"):
        raise QueryError(f"nan={nan!r}: say 'error' or 'missing'.")
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        given = _transpose(graph, given)
    if given is not None and not isinstance(given, Mapping):
        raise QueryError(f"An observation is a dictionary from node to value; it was {given!r}.")
    given = dict(given or {})
    known: dict[str, tuple[int, str]] = {
        p.name: (p.size, "declared") for p in graph.plates.values() if p.size
    }
    for plate, size in (sizes or {}).items():
        if plate not in graph.plates:
            raise QueryError(
                f"sizes: {graph.name} has no plate '{plate}'.{closest(plate, graph.plates)}"
            )
        _agree(known, plate, int(size), "sizes=")
    columns = _columns(graph, given, known)
    observed, present, inputs = {}, {}, {}
    likelihoods: dict[str, Tensor] = {}
    beliefs: dict[str, Tensor] = {}
    for name, value in given.items():
        node = graph.nodes.get(name)
        if node is None:
            raise QueryError(
                f"{graph.name} has no node '{name}' to observe.{closest(name, _observable(graph))}"
            )
        _refuse(node)
        lead = 1 if batch and not node.is_input else 0
        if isinstance(value, Likelihood):
            kind = beliefs if isinstance(value, Belief) else likelihoods
            kind[name] = _weights(graph, node, value, known)
            continue
        if not lead and not node.axes and not node.is_input and _plain(node, value):
            code = value if isinstance(value, int) else node.states.index(value)  # type: ignore[union-attr]
            observed[name], present[name] = torch.tensor([int(code)]), THERE
            continue
        tensor, there = _read(node, value, nan, lead)
        if not lead:
            tensor, there = tensor.unsqueeze(0), there.unsqueeze(0)
        _shape(graph, node, tensor, known, lead)
        there = _cells(node, there)
        if node.is_input:
            if not bool(there.all()):
                raise QueryError(
                    f"Input '{name}' has missing cells; inputs are known. Make it a latent with a prior."
                )
            inputs[name] = tensor
        else:
            observed[name], present[name] = tensor, there
    counts = {name: len(value) for name, value in observed.items()}
    counts.update({n: len(v) for n, v in {**likelihoods, **beliefs}.items() if len(v) > 1})
    datasets = max(counts.values(), default=1)
    for name, count in counts.items():
        if count != datasets:
            raise QueryError(f"'{name}' has {count} observations where others have {datasets}.")
    _check_columns(graph, columns, known)
    found = {k: v[0] for k, v in known.items()}
    return Data(observed, present, inputs, columns, found, likelihoods, beliefs, datasets)


def _plain(node: Node, value: Any) -> bool:
    """Whether a value is one whole number or a label that the node has."""
    if isinstance(value, str):
        return node.states is not None and value in node.states
    return type(value) in (int, bool) and -(2**62) < value < 2**62


def _weights(graph: Graph, node: Node, value: Likelihood, known: dict) -> Tensor:
    """Virtual evidence, `(datasets or 1, *plates, cardinality)`; without an axis of data sets it serves all."""
    if node.is_input:
        raise QueryError(f"'{node.name}' is an input; evidence is about random nodes.")
    weights, axes = value.weights, len(node.axes)
    if weights.dim() == axes + 1:
        weights = weights.unsqueeze(0)
    if weights.dim() != axes + 2:
        raise QueryError(
            f"'{node.name}': the weights have the shape {tuple(value.weights.shape)}; one for each value"
            f"{' of each member' if axes else ''} is needed."
        )
    _shape(graph, node, weights, known, 1)
    return weights


def _observable(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes.values() if not n.outputs and not n.determined] or list(
        graph.nodes
    )


def _refuse(node: Node) -> None:
    if node.intervened in ("value", "policy"):
        raise QueryError(
            f"'{node.name}' was set by do(); what is set cannot also be observed. Drop it from the observation."
        )
    if node.outputs:
        raise QueryError(
            f"'{node.name}' is a group; observe {', '.join(f'{node.name}.{o}' for o in node.outputs)}."
        )


def _transpose(graph: Graph, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A list of observations as lists by name; a name that one of them lacks is missing there."""
    names = dict.fromkeys(name for one in given for name in one)
    result = {}
    for name in names:
        values = [one.get(name) for one in given]
        if (name in graph.nodes and graph[name].is_input) or name in graph.plates:
            if any(repr(v) != repr(values[0]) for v in values):
                raise QueryError(
                    f"'{name}' is an input and must be the same for all observations of one batch."
                )
            result[name] = values[0]
            continue
        sample = next(v for v in values if v is not None)
        hole = _hole(sample)
        result[name] = [hole if v is None else v for v in values]
    return result


def _hole(sample: Any) -> Any:
    """Missing cells in the shape of the sample."""
    if isinstance(sample, Tensor | numpy.ndarray | list | tuple):
        return [_hole(item) for item in sample]
    return None


def _read(node: Node, value: Any, nan: str, lead: int) -> tuple[Tensor, Tensor]:
    """The values, and which of them are there."""
    if isinstance(value, numpy.ma.MaskedArray):
        there = torch.as_tensor(~numpy.ma.getmaskarray(value))
        value = value.filled(0)
    else:
        there = None
    if hasattr(value, "to_numpy"):  # a pandas Series or DataFrame
        if hasattr(value, "isna") and value.to_numpy().dtype.kind in "OUT":
            # Among labels pandas writes a gap as NaN; among numbers NaN may also be a failed computation.
            gaps = numpy.asarray(value.isna())
            there = torch.as_tensor(~gaps)
            value = numpy.where(gaps, None, value.to_numpy().astype(object))
        else:
            value = value.to_numpy()
    array = None
    if isinstance(value, Tensor):
        tensor = value.detach()
    else:
        try:
            array = numpy.asarray(value)
        except ValueError as error:
            raise QueryError(
                f"'{node.name}': the rows of the value have different lengths."
            ) from error
        if array.dtype.kind in "US" and not isinstance(value, numpy.ndarray):
            array = numpy.asarray(value, dtype=object)  # numbers among labels stay numbers
        if array.dtype.kind in "OUS":
            array, holes = _objects(node, array)
            there = ~torch.as_tensor(holes) if there is None else there & ~torch.as_tensor(holes)
        tensor = torch.as_tensor(array)
    if tensor.is_complex():
        raise QueryError(f"'{node.name}' was given complex numbers.")
    tensor = tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)
    there = (
        torch.ones(tensor.shape, dtype=torch.bool) if there is None else there.reshape(tensor.shape)
    )
    bad = torch.isnan(tensor) & there if tensor.is_floating_point() else torch.zeros_like(there)
    if bool(bad.any()):
        if nan == "error":
            raise QueryError(
                f"'{node.name}' has {int(bad.sum())} NaN in the observation. If it means missing, say so: write None in its "
                "place, or pass nan='missing'."
            )
        there = there & ~bad
        tensor = torch.nan_to_num(tensor)
    return tensor, there


def _objects(node: Node, array: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Labels become the positions of the states, None and NA become holes."""
    labels = {label: i for i, label in enumerate(node.states or ())}
    places = {**labels, None: -1}
    try:
        codes = numpy.array(
            [places[item] for item in array.reshape(-1).tolist()], dtype=numpy.int64
        )
        return codes.clip(min=0).reshape(array.shape), (codes < 0).reshape(array.shape)
    except (KeyError, TypeError):
        pass  # numbers among them, other kinds of holes, or a label that is not known: one by one
    flat, holes = [], []
    for item in array.reshape(-1).tolist() if array.dtype.kind != "O" else array.reshape(-1):
        hole = item is None or type(item).__name__ in ("NAType", "NaTType", "MaskedConstant")
        holes.append(hole)
        if hole:
            flat.append(0)
        elif isinstance(item, str):
            if item not in labels:
                if not labels:
                    raise QueryError(
                        f"'{node.name}' takes numbers; it was observed as '{item}'. Labels are declared with states=."
                    )
                raise QueryError(f"'{node.name}' has no state '{item}'.{closest(item, labels)}")
            flat.append(labels[item])
        elif isinstance(item, Tensor | numpy.ndarray):
            raise QueryError(f"'{node.name}': the rows of the value have different lengths.")
        else:
            flat.append(item)
    if not all(isinstance(x, int | float | bool | numpy.number | numpy.bool_) for x in flat):
        wrong = next(
            x for x in flat if not isinstance(x, int | float | bool | numpy.number | numpy.bool_)
        )
        raise QueryError(
            f"'{node.name}' cannot be {wrong!r}; it takes numbers{' or labels' if labels else ''}."
        )
    return numpy.array(flat).reshape(array.shape), numpy.array(holes, dtype=bool).reshape(
        array.shape
    )


def _shape(graph: Graph, node: Node, tensor: Tensor, known: dict, lead: int) -> None:
    axes = node.axes
    shape = tuple(tensor.shape[1:])
    if len(shape) < len(axes):
        many = " after the axis of observations" if lead else ""
        raise QueryError(
            f"'{node.name}' is in plate {', '.join(repr(a) for a in axes)} and needs one value a member{many}; it was given "
            f"the shape {shape}."
        )
    for axis, plate in enumerate(axes):
        _agree(known, plate, shape[axis], f"'{node.name}'")


def _agree(known: dict, plate: str, size: int, who: str) -> None:
    if plate in known and known[plate][0] != size:
        raise QueryError(
            f"{who} has {size} members along plate '{plate}', which has {known[plate][0]} ({known[plate][1]}). "
            "Give one value for each member; a missing one is None."
        )
    known.setdefault(plate, (size, f"from {who}"))


def _cells(node: Node, there: Tensor) -> Tensor:
    """Whether each member is there, `(datasets, *plates)`."""
    events = there.reshape((*there.shape[: 1 + len(node.axes)], -1))
    if bool((events.any(-1) != events.all(-1)).any()):
        raise QueryError(
            f"'{node.name}' is missing a part of one value. Cells can be missing member by member: put its axis in a plate."
        )
    return events.all(-1)


def _columns(graph: Graph, given: dict, known: dict) -> dict[str, dict[str, Tensor]]:
    """The integer columns of long-format plates, taken out of the data."""
    columns: dict[str, dict[str, Tensor]] = {}
    for plate in graph.plates.values():
        if not plate.of:
            continue
        columns[plate.name] = {}
        for pointed in plate.of:
            if pointed not in given:
                continue
            column = torch.as_tensor(numpy.asarray(given[pointed]))
            if column.is_floating_point() or column.dim() != 1:
                raise QueryError(
                    f"Plate '{plate.name}' is in long format: the column '{pointed}' holds one integer for each member, the "
                    f"number of its {pointed}."
                )
            _agree(known, plate.name, len(column), f"the column '{pointed}'")
            if len(column) and int(column.min()) < 0:
                raise QueryError(
                    f"The column '{pointed}' has {int(column.min())}; members are numbered from 0."
                )
            if pointed not in known:
                known[pointed] = (int(column.max()) + 1, f"from the column '{pointed}'")
            elif len(column) and int(column.max()) >= known[pointed][0]:
                raise QueryError(
                    f"The column '{pointed}' names member {int(column.max())}; plate '{pointed}' has {known[pointed][0]} members, "
                    "numbered from 0."
                )
            columns[plate.name][pointed] = column.to(torch.int64)
    for found in columns.values():
        for pointed in found:
            given.pop(pointed, None)
    for name in list(given):
        if name in graph.plates:
            raise QueryError(
                f"'{name}' is a plate of {graph.name}; only long-format plates (of=) take columns."
            )
    return columns


def _check_columns(graph: Graph, columns: dict, known: dict) -> None:
    for plate, found in columns.items():
        used = any(plate in node.plates for node in graph.nodes.values())
        lacking = [p for p in graph.plates[plate].of if p not in found]
        if used and found and lacking:
            raise QueryError(
                f"Plate '{plate}' is in long format; the column '{lacking[0]}' is missing from the data."
            )
