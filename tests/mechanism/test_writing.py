"""Bodies that write into tensors of their own are lifted, and give what single calls give."""

import torch

import ppl
from ppl.distributions import Normal
from ppl.mechanism import forward, probe
from ppl.mechanism.data import read_data


def drawn(model, name):
    """Fifty draws, and how the body of a node was called."""
    mechanism = probe(model.graph, read_data(model.graph, {}))
    values = forward(mechanism, 50, 1).values
    return values, mechanism.callers[name, "body"].mode


def test_a_body_that_fills_a_tensor_is_lifted():
    """Entry by entry, by slices and by lists of places: what vmap forbids, one tensor for each row."""
    model = ppl.Model("filled")
    member = model.plate("member", 6)
    for name in "abc":
        model.theta(lambda: Normal(0, 1), name=name)

    @model.deterministic(over=member)
    def path(a, b, c):
        out = torch.zeros(6, dtype=torch.float64)
        out[0] = a
        for i in range(1, 6):
            out[i] = out[i - 1] * b + c
        out[1:3] = out[1:3] * 2
        out[[0, 5]] += 1.0
        return out

    values, mode = drawn(model, "path")
    assert mode == "vmap"
    a, b, c = (values[n] for n in "abc")
    rows = [a]
    for _ in range(5):
        rows.append(rows[-1] * b + c)
    rows[0], rows[5] = rows[0] + 1, rows[5] + 1
    rows[1], rows[2] = rows[1] * 2, rows[2] * 2
    assert torch.allclose(values["path"], torch.stack(rows, dim=1))


def test_a_view_that_is_older_than_a_write_is_not_lifted_wrongly():
    """A slice is taken, the whole is written, the slice is used: in torch it sees the write."""
    model = ppl.Model("aliased")
    model.theta(lambda: Normal(0, 1), name="a")

    @model.deterministic
    def b(a):
        whole = torch.zeros(2, dtype=torch.float64)
        part = whole[0:1]
        whole[0] = a
        return part.sum()

    values, _ = drawn(model, "b")
    assert torch.allclose(values["b"], values["a"])
