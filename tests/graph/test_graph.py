"""Pearl's questions, against definitions on random graphs; elimination costs against all orders."""

import itertools
from math import prod

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppl
from ppl.distributions import Bernoulli
from ppl.graph import elimination


@st.composite
def random_dags(draw):
    """Up to seven nodes; each may have any earlier ones as parents."""
    n = draw(st.integers(2, 7))
    edges = [(i, j) for j in range(n) for i in range(j) if draw(st.booleans())]
    return n, edges


def as_model(n, edges) -> ppl.Model:
    """A model with this DAG."""
    model = ppl.Model("random")
    for j in range(n):
        parents = {f"p{i}": f"n{i}" for i, k in edges if k == j}
        body = eval(f"lambda {', '.join(parents)}: Bernoulli(0.5)", {"Bernoulli": Bernoulli})
        model.latent(body, name=f"n{j}", parents=parents)
    return model


@given(random_dags(), st.data())
@settings(max_examples=40, deadline=None)
def test_separation_and_blankets_by_definition(dag, data):
    """Against networkx on the same edges: separation, ancestors; the blanket separates a node from all the rest."""
    n, edges = dag
    graph = as_model(n, edges).graph
    plain = networkx.DiGraph([(f"n{i}", f"n{j}") for i, j in edges])
    plain.add_nodes_from(graph.nodes)
    names = list(graph.nodes)
    a, b = data.draw(st.permutations(names))[:2]
    rest = [x for x in names if x not in (a, b)]
    known = {x for x in rest if data.draw(st.booleans())}
    assert graph.d_separated(a, b, known) == networkx.is_d_separator(plain, {a}, {b}, known)
    assert graph.ancestors_of(a) == networkx.ancestors(plain, a) | {a}
    assert graph.descendants_of(a) == networkx.descendants(plain, a) | {a}
    blanket = graph.markov_blanket(a)
    others = set(names) - blanket - {a}
    assert graph.d_separated(a, others, blanket)


@given(random_dags(), st.lists(st.integers(2, 4), min_size=7, max_size=7))
@settings(max_examples=40, deadline=None)
def test_elimination_order_costs_what_it_says_and_is_near_the_best(dag, cards):
    """The predicted cost is that of playing the order; on graphs this small a greedy order is within twice the best."""
    n, edges = dag
    scopes = [tuple([i for i, k in edges if k == j] + [j]) for j in range(n)]
    sizes = dict(enumerate(cards[:n]))

    def cost(order):
        tables, total = [set(s) for s in scopes], 0
        for v in order:
            joined = set().union(*(t for t in tables if v in t))
            total += prod(sizes[u] for u in joined)
            tables = [t for t in tables if v not in t] + [joined - {v}]
        return total

    found = elimination(scopes, sizes)
    assert sorted(found.order) == list(range(n))
    assert found.cells == cost(found.order)
    if n <= 6:
        assert found.cells <= 2 * min(map(cost, itertools.permutations(range(n))))


def test_a_chain_is_one_node_and_still_separates():
    """The future is separated from the past's noise only through the state; given every state, two outputs are apart."""
    model = ppl.Model("m")
    day = model.plate("day", 5, ordered=True)
    model.latent(lambda: Bernoulli(0.5), name="bias")
    model.latent(
        lambda previous, bias: Bernoulli(0.5), name="s", plate=day, start=lambda: Bernoulli(0.5)
    )
    model.observed(lambda s: Bernoulli(0.5), name="x", plate=day)
    model.observed(lambda s: Bernoulli(0.5), name="y", plate=day)
    graph = model.graph
    assert not graph.d_separated("x", "y")
    assert graph.d_separated("x", "y", "s")
    assert graph.d_separated("bias", "x", "s")
    assert graph.chain_plate("s") == "day"
    assert graph.markov_blanket("s") == {"bias", "x", "y"}


def test_a_graph_is_frozen_and_surgery_makes_another():
    """`do` leaves the model that it was called on as it was."""
    model = as_model(3, [(0, 1), (1, 2)])
    cut = model.do(n1=1)
    assert model.graph.parents("n1") == ("n0",)
    assert cut.graph.parents("n1") == ()
    assert cut.graph["n1"].cut == ("n0",)
    assert cut.graph.children("n1") == ("n2",)
    with pytest.raises(AttributeError):
        model.graph.name = "other"
