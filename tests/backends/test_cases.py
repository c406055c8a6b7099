"""Published cases, with their reference numbers."""

import itertools
import math

import pytest
import torch

import ppl
from examples import galton_board, sprinkler
from examples.asia import clinic
from examples.burglary import house
from ppl.distributions import Categorical, Normal


def one(model, seen, node) -> float:
    """P(node = 1 | seen)."""
    return float(ppl.infer(model, seen, of=node)[node].prob(1))


def test_burglary():
    """C2, to the digits that are published."""
    model = house
    assert one(model, {"john": 1, "mary": 1}, "burglary") == pytest.approx(0.284172, abs=1e-6)
    assert one(model, {"john": 1}, "burglary") == pytest.approx(0.016284, abs=1e-6)
    assert one(model, {"john": 1, "mary": 1}, "earthquake") == pytest.approx(0.176067, abs=1e-6)
    assert one(model, {"alarm": 1}, "burglary") == pytest.approx(0.373551, abs=1e-6)
    assert one(model.do(alarm=1), {}, "burglary") == pytest.approx(0.001, abs=1e-12)


def test_sprinkler():
    """C3, from the example itself."""
    found = dict(sprinkler.table())
    expected = [0.6471, 0.429764, 0.707928, 0.194499, 0.3, 0.5, 0.523810]
    assert list(found.values()) == pytest.approx(expected, abs=1e-6)


def test_asia():
    """C4: priors, and two patients."""
    model = clinic
    priors = {
        n: one(model, {}, n)
        for n in ("tuberculosis", "lung", "bronchitis", "either", "xray", "dyspnoea")
    }
    assert list(priors.values()) == pytest.approx(
        [0.0104, 0.055, 0.45, 0.064828, 0.11029, 0.435971], abs=1e-6
    )
    seen = {"asia": 1, "dyspnoea": 1}
    asked = ("tuberculosis", "lung", "bronchitis", "smoke")
    assert [one(model, seen, n) for n in asked] == pytest.approx(
        [0.087751, 0.099525, 0.811402, 0.625920], abs=1e-6
    )
    seen = {"smoke": 1, "xray": 1, "dyspnoea": 1}
    assert [one(model, seen, n) for n in asked[:3]] == pytest.approx(
        [0.075266, 0.723714, 0.713706], abs=1e-6
    )


def final_position(slopes: torch.Tensor) -> torch.Tensor:
    """p(final position | slope) by pushing the distribution down the board row by row, `(slopes, 31)`."""
    probs = torch.zeros(len(slopes), 31, dtype=torch.float64)
    probs[:, 15] = 1
    nails = torch.arange(31, dtype=torch.float64)
    for row in range(20):
        skew = math.sin(math.pi * row / 19)
        left = (1 - skew) / 2 + skew * torch.sigmoid(10 * slopes[:, None] * (2 * nails / 30 - 1))
        stay_left, go_right = probs * left, probs * (1 - left)
        if row % 2 == 0:
            probs = stay_left + torch.roll(go_right, 1, dims=1)
        else:
            probs = torch.roll(stay_left, -1, dims=1) + go_right
    return probs


@pytest.mark.parametrize(
    "seen", [[22], galton_board.TWENTY_BALLS], ids=["one ball", "twenty balls"]
)
def test_galton_board_is_the_direct_sum(seen):
    """C1 on a grid of 401 slopes: posterior and log-evidence are those of a direct sum over the grid."""
    slopes = torch.linspace(-2, 2, 401, dtype=torch.float64)
    likelihood = final_position(slopes)[:, seen].log().sum(dim=1)
    log_evidence = torch.logsumexp(likelihood, 0) - math.log(401)
    weights = torch.softmax(likelihood, 0)

    board = galton_board.galton_board(balls=len(seen), grid=401)
    found = ppl.infer(board, {"final": seen}, of="slope")

    assert found.method == "exact"
    assert found.log_evidence == pytest.approx(float(log_evidence), abs=1e-6)
    assert float((found["slope"].probs - weights).abs().max()) < 1e-9


def test_galton_board_reproduces_the_published_distribution():
    """p(x | θ = −0.8) of the paper's board, x = 5…25, and its mean and sd."""
    published = [
        0.00110,
        0.00654,
        0.01874,
        0.03522,
        0.05012,
        0.05920,
        0.06219,
        0.06135,
        0.05937,
        0.05828,
        0.05927,
    ]
    published += [
        0.06279,
        0.06862,
        0.07552,
        0.08085,
        0.08053,
        0.07064,
        0.05091,
        0.02750,
        0.00966,
        0.00162,
    ]
    board = galton_board.galton_board().do(slope=-0.8)
    final = ppl.infer(board, {}, of="final")["final"]
    found = {int(v): float(p) for v, p in zip(final.domain, final.probs[0], strict=True) if p > 0}
    assert sorted(found) == list(range(5, 26))
    assert [found[x] for x in range(5, 26)] == pytest.approx(published, abs=6e-6)
    assert float(final.mean[0]) == pytest.approx(15.58306, abs=1e-5)
    assert float(final.sd[0]) == pytest.approx(4.51850, abs=1e-5)


def test_hidden_markov_model_of_200_steps():
    """The log-evidence is the forward algorithm's, the marginals are forward–backward's."""
    move = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)
    level = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    model = ppl.Model("hmm")
    day = model.plate("day", 200, ordered=True)

    @model.latent(plate=day, start=lambda: Categorical([1 / 3] * 3))
    def state(previous):
        return Categorical(move[previous])

    @model.observed(plate=day)
    def y(state):
        return Normal(level[state], 1.0)

    seen = model.simulate(1, seed=5)["y"][0]
    emission = -0.5 * (seen[:, None] - level) ** 2 - 0.5 * math.log(2 * math.pi)
    forward = [emission[0] - math.log(3)]
    for t in range(1, 200):
        forward.append(torch.logsumexp(forward[-1][:, None] + move.log(), 0) + emission[t])
    backward = [torch.zeros(3, dtype=torch.float64)]
    for t in range(199, 0, -1):
        backward.append(torch.logsumexp(move.log() + emission[t] + backward[-1], 1))
    marginal = torch.softmax(torch.stack(forward) + torch.stack(backward[::-1]), 1)

    found = ppl.infer(model, {"y": seen})

    assert found.log_evidence == pytest.approx(float(torch.logsumexp(forward[-1], 0)), abs=1e-9)
    assert float((found["state"].probs - marginal).abs().max()) < 1e-9


def random_network(generator: torch.Generator, nodes: int) -> tuple[ppl.Model, dict]:
    """A random DAG with random tables, some of whose entries are zero."""
    model, tables = ppl.Model("random"), {}
    for i in range(nodes):
        parents = [f"n{j}" for j in range(i) if torch.rand((), generator=generator) < 0.4][-3:]
        card = int(torch.randint(2, 4, (), generator=generator))
        shape = [tables[p][0] for p in parents] + [card]
        table = torch.rand(shape, generator=generator, dtype=torch.float64) ** 2
        table = torch.where(
            (table < 0.02) & (table < table.max(dim=-1, keepdim=True).values), 0.0, table
        )
        table = table / table.sum(dim=-1, keepdim=True)
        tables[f"n{i}"] = (card, parents, table)
        source = (
            f"lambda {', '.join(parents)}: Categorical(table[{', '.join(parents)}])"
            if parents
            else "lambda: Categorical(table)"
        )
        body = eval(source, {"Categorical": Categorical, "table": table})
        model.latent(body, name=f"n{i}")
    return model, tables


@pytest.mark.parametrize("seed", range(20))
def test_elimination_is_brute_force_enumeration(seed):
    """All marginals and the evidence of random networks, with two nodes observed, one of them missing in a batch."""
    generator = torch.Generator().manual_seed(seed)
    model, tables = random_network(generator, 7)
    names = list(tables)
    joint = torch.ones([tables[n][0] for n in names], dtype=torch.float64)
    for i, n in enumerate(names):
        _, parents, table = tables[n]
        axes = [names.index(p) for p in parents] + [i]
        order = sorted(range(len(axes)), key=axes.__getitem__)
        shape = [tables[m][0] if j in axes else 1 for j, m in enumerate(names)]
        joint = joint * table.permute(order).reshape(shape)
    truth = model.simulate(1, seed=seed)
    seen = {n: int(truth[n][0]) for n in ("n3", "n5")}
    index = tuple(slice(seen[n], seen[n] + 1) if n in seen else slice(None) for n in names)
    part = joint[index]

    found = ppl.infer(model, seen)

    assert found.log_evidence == pytest.approx(float(part.sum().log()), abs=1e-10)
    for n in found:
        others = tuple(j for j, m in enumerate(names) if m != n)
        assert float((found[n].probs - part.sum(dim=others) / part.sum()).abs().max()) < 1e-10
    some = dict(itertools.islice(((n, int(truth[n][0])) for n in found), 99))
    at = tuple(some.get(n, seen.get(n)) for n in names)
    assert float(found.log_prob(some)) == pytest.approx(
        float((joint[at] / part.sum()).log()), abs=1e-9
    )

    partial = ppl.infer(model, {"n3": seen["n3"], "n5": None}, of="n0")
    rest = joint[
        tuple(slice(seen["n3"], seen["n3"] + 1) if n == "n3" else slice(None) for n in names)
    ]
    expected = rest.sum(dim=tuple(range(1, len(names)))) / rest.sum()
    assert float((partial["n0"].probs - expected).abs().max()) < 1e-10
