"""A posterior in a file: its marginals, draws, certificate and data, and the shape of its model, but none of the model's functions.

What consists of draws is written whole. Of any other answer marginals are written, up to 10,000 joint draws, and the joint table of its finite nodes
where that is small. The file is a document (`ppl.files`): no code is in it and nothing in it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..errors import BackendError, FormatError, QueryError
from ..files import document
from ..files.document import NotPlain
from ..graph import Body, Graph, Node, Parent, Plate
from ..mechanism import Data
from .answer import COUNTED, Answer, Chains, Draws
from .certificate import Certificate, Check
from .kept import KeptAnswer, TabulatedMarginal, tabulated
from .marginal import DrawnMarginal, Marginal, TableMarginal

if TYPE_CHECKING:
    from os import PathLike

    from .posterior import Posterior

__all__ = ["PlanRecord", "load", "save"]

#: Raised when older programs could not read what newer ones write.
FORMAT = 1
#: The numbers in all joint draws that are written, about.
NUMBERS = 2**24
#: The cells of a joint table that is written.
CELLS = 2**14
#: What is written of a node, besides its parents.
NODE = (
    *("name", "role", "plates", "over", "states", "outputs", "picks"),
    *("intervened", "cut", "summary", "where"),
)


@dataclass(frozen=True)
class PlanRecord:
    """What is left of the plan of a posterior that was loaded: its print-out.

    Args:
        text: What `print(plan)` showed.
        method: The methods of the components.
    """

    text: str
    method: str

    def __str__(self) -> str:
        return self.text


def save(posterior: Posterior, path: str | PathLike[str], force: bool) -> Path:
    """Write a posterior; see `Posterior.save`."""
    path = Path(path)
    data = posterior.observation
    content = {
        "graph": _graph_written(posterior.graph),
        "of": list(posterior.of),
        "unasked": posterior.unasked,
        "method": posterior.method,
        "plan": str(posterior.plan),
        "certificate": _certificate_written(posterior.certificate),
        "data": {f.name: getattr(data, f.name) for f in fields(Data)},
        "answers": [_answer_written(answer) for answer in posterior.answers],
    }
    try:
        document.write(path, "posterior", FORMAT, content, force)
    except NotPlain as error:
        raise BackendError(
            f"The posterior of {posterior.graph.name} cannot be saved: {error}, which is neither plain data nor a tensor."
        ) from error
    return path


def load(path: str | PathLike[str]) -> Posterior:
    """Read a posterior; see `Posterior.load`."""
    from .posterior import Posterior

    path = Path(path)
    content = document.read(path, "posterior", FORMAT)
    try:
        graph = _graph_read(content["graph"])
        posterior = Posterior(
            graph,
            [_answer_read(graph, one) for one in content["answers"]],
            tuple(content["of"]),
            PlanRecord(content["plan"], content["method"]),
            Data(**content["data"]),
            content["unasked"],
        )
        posterior.certificate = _certificate_read(content["certificate"])  # type: ignore[misc]
        lacking = [name for name in posterior.of if name not in posterior or name not in graph]
        if lacking:
            raise ValueError(f"it lacks '{lacking[0]}'")
        return posterior
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        reason = f"it lacks '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{path} is no posterior that can be read: {reason[:200]}.") from error


# -- the graph -----------------------------------------------------------------------------------


def _graph_written(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "nodes": [
            {name: getattr(node, name) for name in NODE}
            | {
                "body": _parents_written(node.body),
                "start": _parents_written(node.start),
            }
            for node in graph.nodes.values()
        ],
        "plates": [
            {f.name: getattr(p, f.name) for f in fields(Plate)} for p in graph.plates.values()
        ],
    }


def _parents_written(body: Body | None) -> dict[str, Any] | None:
    if body is None:
        return None
    parents = [[p.argument, p.source, p.kind] for p in body.parents]
    return {"parents": parents, "rng": body.rng, "where": body.where}


def _graph_read(content: Mapping[str, Any]) -> Graph:
    nodes = {}
    for one in content["nodes"]:
        parts = {**one, "body": _body_read(one["body"]), "start": _body_read(one["start"])}
        nodes[one["name"]] = Node(**parts)
    return Graph(content["name"], nodes, {p["name"]: Plate(**p) for p in content["plates"]})


def _body_read(content: Mapping[str, Any] | None) -> Body | None:
    if content is None:
        return None
    parents = tuple(Parent(*parent) for parent in content["parents"])
    return Body(_gone, parents, rng=content["rng"], where=content["where"])


def _gone(*_: Any, **__: Any) -> None:
    raise QueryError(
        "A posterior that was loaded knows no functions of the model; use the model itself."
    )


# -- the certificate -----------------------------------------------------------------------------


def _certificate_written(certificate: Certificate) -> dict[str, Any]:
    found = {f.name: getattr(certificate, f.name) for f in fields(certificate)}
    plain = {name: dict(found[name]) for name in ("checks", "versions")}
    return {**found, **plain, "tests": [asdict(test) for test in certificate.tests]}


def _certificate_read(content: Mapping[str, Any]) -> Certificate:
    tests = tuple(Check(**test) for test in content["tests"])
    return Certificate(**{**content, "tests": tests})


# -- answers -------------------------------------------------------------------------------------


def _answer_written(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {
        "names": list(answer.names),
        "certificate": _certificate_written(answer.certificate),
        "log_evidence": answer.log_evidence,
        "notes": list(answer.notes),
    }
    if type(answer) in (Draws, Chains):
        return {**found, **answer.state()}  # type: ignore[attr-defined]
    marginals = {name: answer.marginal(name) for name in answer.names}
    return {
        **found,
        "kind": "kept",
        "marginals": {name: _marginal_written(m) for name, m in marginals.items()},
        "values": answer.values if isinstance(answer, Draws) else _drawn(answer),
        "joint": _joint_written(answer, marginals),
    }


def _drawn(answer: Answer) -> dict[str, torch.Tensor]:
    """Joint draws, fewer of them where each is large."""
    numbers = sum(value.numel() for value in answer.sample(1, 0).values())
    return answer.sample(max(min(COUNTED, NUMBERS // numbers), 100), 0)


def _answer_read(graph: Graph, content: Mapping[str, Any]) -> Answer:
    certificate, notes = _certificate_read(content["certificate"]), tuple(content["notes"])
    answer: Answer
    if content["kind"] == "chains":
        answer = Chains(
            graph,
            content["values"],
            certificate,
            content["sizes"],
            content["domains"],
            notes,
            content["stats"],
        )
    elif content["kind"] == "draws":
        answer = Draws(
            graph, content["values"], certificate, content["domains"], notes, content["size"]
        )
    elif content["kind"] == "kept":
        values = content["values"]
        marginals = {
            name: _marginal_read(name, one, values[name])
            for name, one in content["marginals"].items()
        }
        answer = KeptAnswer(graph, values, certificate, notes, marginals, content["joint"])
    else:
        raise ValueError(f"nobody knows answers of the kind '{content['kind']}'")
    answer.log_evidence = content["log_evidence"]
    return answer


def _joint_written(answer: Answer, marginals: Mapping[str, Marginal]) -> dict[str, Any] | None:
    """The joint table of all members of finite nodes, if they are few enough, and it is known better than by draws."""
    if isinstance(answer, KeptAnswer):
        return answer.table
    finite = {name: m for name, m in marginals.items() if m.finite and m.exact}
    cells, sizes = [], []
    for name, marginal in finite.items():
        for at in numpy.ndindex(*marginal.probs.shape[:-1]):
            cells.append((name, at))
            sizes.append(len(marginal.domain))
            if prod(sizes) > CELLS:
                return None
    if not cells:
        return None
    domains, probs = answer.joint(cells)
    return {"cells": cells, "domains": domains, "probs": probs}


# -- marginals -----------------------------------------------------------------------------------


def _marginal_written(marginal: Marginal) -> dict[str, Any]:
    same = {"plates": marginal.plates, "states": marginal.states}
    if isinstance(marginal, TableMarginal):
        table = {"domain": marginal.domain, "probs": marginal.probs, "exact": marginal.exact}
        return {"kind": "table", **same, **table}
    if isinstance(marginal, DrawnMarginal):
        return {"kind": "drawn", **same, **marginal.state()}
    if not isinstance(marginal, TabulatedMarginal):
        marginal = tabulated(marginal, torch.zeros(0))
    return {"kind": "tabulated", **same, **marginal.state()}


def _marginal_read(name: str, content: Mapping[str, Any], draws: torch.Tensor) -> Marginal:
    plates, states = content["plates"], content["states"]
    rest = {k: v for k, v in content.items() if k not in ("kind", "plates", "states")}
    if content["kind"] == "table":
        return TableMarginal(name, plates=plates, states=states, **rest)
    if content["kind"] == "drawn":
        return DrawnMarginal(name, plates=plates, states=states, **rest)
    return TabulatedMarginal(name, plates=plates, states=states, draws=draws, **rest)
