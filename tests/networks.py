"""Networks of the tests, built through the DSL from their published tables."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import ppl
from ppl.distributions import Categorical

DATA = Path(__file__).resolve().parent / "data"


def network(name: str) -> ppl.Model:
    """A network of `tests/data` as a model, one latent for each variable, with its labels."""
    text = (DATA / f"{name}.bif").read_text()
    states = {
        found[1]: tuple(s.strip() for s in found[2].split(","))
        for found in re.finditer(r"variable (\S+) \{\s*type discrete \[ \d+ \] \{ (.*?) \};", text)
    }
    tables: dict[str, tuple[list[str], torch.Tensor]] = {}
    for found in re.finditer(
        r"probability \( (\S+)(?: \| (.*?))? \) \{(.*?)\n\}", text, flags=re.S
    ):
        child, given, rows = found[1], found[2], found[3]
        parents = [p.strip() for p in given.split(",")] if given else []
        table = torch.zeros(
            [len(states[p]) for p in parents] + [len(states[child])], dtype=torch.float64
        )
        for row in re.finditer(r"(?:\((.*?)\)|table) (.*?);", rows):
            at = tuple(
                states[p].index(s.strip())
                for p, s in zip(parents, (row[1] or "").split(","), strict=False)
            )
            table[at] = torch.tensor([float(x) for x in row[2].split(",")], dtype=torch.float64)
        tables[child] = parents, table
    model = ppl.Model(name)
    while tables:
        for child in [
            c for c, (parents, _) in tables.items() if all(p in model.graph for p in parents)
        ]:
            parents, table = tables.pop(child)
            arguments = {f"p{i}": parent for i, parent in enumerate(parents)}
            source = f"lambda {', '.join(arguments)}: Categorical(table[({''.join(a + ', ' for a in arguments)})])"
            body = eval(source, {"Categorical": Categorical, "table": table})
            model.latent(body, name=child, parents=arguments, states=states[child])
    return model
