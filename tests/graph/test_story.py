"""A model prints as the story of how its data came about."""

import pytest

from ppl.graph import Body, Graph, Node, Parent, Plate
from ppl.graph.story import story


def body(*parents: str | Parent) -> Body:
    return Body(lambda *_: 0, tuple(p if isinstance(p, Parent) else Parent(p, p) for p in parents))


def graph(*nodes: Node, plates: tuple[Plate, ...] = (), name: str = "model") -> Graph:
    return Graph(name, {n.name: n for n in nodes}, {p.name: p for p in plates})


def only(node: Node, kind: str | None = None, *plates: Plate) -> str:
    """The line that a node alone gets."""
    told = story(graph(node, plates=plates), {} if kind is None else {node.name: kind})
    return told.splitlines()[-1].strip()


def test_a_chain_reads_from_top_to_bottom():
    weather = graph(
        Node("transition", "theta", body(), plates=("row",)),
        Node("level", "theta", body(), plates=("row",)),
        Node(
            "state",
            "latent",
            body(Parent("previous", "state", "previous"), "transition"),
            start=body("transition"),
            plates=("day",),
        ),
        Node("y", "observed", body("state", "level"), plates=("day",)),
        plates=(Plate("day", 200, ordered=True), Plate("row", 3)),
        name="weather",
    )

    assert story(weather, {"level": "explicit: Normal", "y": "opaque"}) == "\n".join(
        [
            "weather",
            "  for each row of 3:",
            "    θ  transition",
            "    θ  level       Normal",
            "  for each day of 200, in order:",
            "    Z  state       given state[t-1], transition; first given transition",
            "    X  y           (simulator) given state, level",
        ]
    )


def test_nested_plates_are_indented_and_a_shared_one_is_said_once():
    schools = graph(
        Node("sigma", "input", plates=("school",)),
        Node("effect", "latent", body(), plates=("school",)),
        Node("y", "observed", body("effect", "sigma"), plates=("school", "pupil")),
        Node("mean", "deterministic", body("effect")),
        plates=(Plate("school", 8), Plate("pupil")),
        name="schools",
    )

    assert story(schools).splitlines() == [
        "schools",
        "  for each school of 8:",
        "    input  sigma   known",
        "    Z      effect",
        "    for each pupil, sized by the data:",
        "      X      y       given effect, sigma",
        "  =      mean    from effect",
    ]


def test_every_node_has_a_line_in_drawing_order():
    nodes = [Node(f"n{i}", "latent", body(*([f"n{i - 1}"] if i else []))) for i in range(30)]

    lines = story(graph(*nodes)).splitlines()

    assert [line.split()[1] for line in lines[1:]] == [node.name for node in nodes]


def test_long_format_says_what_a_member_points_to():
    told = story(
        graph(
            Node("y", "observed", body(), plates=("answer",)),
            plates=(
                Plate("student"),
                Plate("question"),
                Plate("answer", of=("student", "question")),
            ),
        )
    )

    assert "for each answer, sized by the data, with its student and question:" in told


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (("no", "yes"), "states no, yes"),
        (tuple(range(6)), "states 0, 1, 2, 3, 4, 5"),
        (tuple(range(7)), "7 states"),
    ],
)
def test_states_are_listed_while_they_are_few(states, said):
    assert only(Node("a", "latent", body(), states=states)) == f"Z  a  {said}"


def test_what_do_did_is_told_in_the_users_labels():
    told = story(
        graph(
            Node("season", "latent", body()),
            Node(
                "sprinkler",
                "latent",
                Body(lambda: 1),
                intervened="value",
                cut=("season", "sprinkler"),
                states=("off", "on"),
            ),
            Node("dose", "observed", body("season"), intervened="policy"),
            Node("heat", "latent", body(), intervened="soft"),
        ),
        {"heat": "explicit: Normal"},
    )

    assert told.splitlines()[1:] == [
        "  Z  season",
        "  Z  sprinkler  set to on; states off, on",
        "  X  dose       set by a policy given season",
        "  Z  heat       set to a draw of Normal",
        "  do: sprinkler was set to on; it no longer depends on season, its own past",
        "  do: dose was set by a policy that looks at season",
        "  do: heat was given a new distribution",
    ]


def test_a_value_for_each_member_is_not_spelt_out():
    member = Parent("member0", "row", "index")
    node = Node("a", "latent", body(member), plates=("row",), intervened="value")

    lines = story(graph(node, plates=(Plate("row", 3),))).splitlines()

    assert lines[2:] == ["    Z  a  set by do", "  do: a was set from outside"]


def test_carriers_blocks_and_indices_are_told():
    day = Plate("day", 14)

    carrier = Node("town", "observed", body("p"), outputs=("mean", "sd"))
    assert only(carrier, "opaque") == "X  town  (simulator) given p; returns mean, sd"
    assert only(Node("town.sd", "observed", body("town"), picks=1)) == "X  town.sd  part of town"
    block = Node("curve", "deterministic", body("p"), over="day")
    assert only(block, "deterministic", day) == "=  curve  from p; one call for all of day"
    indexed = Node("a", "latent", body(Parent("day", "day", "index")), plates=("day",))
    assert only(indexed, None, day) == "Z  a  given index of day"
    assert only(Node("x", "input", body()), "input") == "input  x  prepared for a range"


def test_many_parents_do_not_grow_over_the_page():
    line = only(Node("y", "observed", body(*(f"p{i}" for i in range(30)))))

    assert line == "X  y  given p0, p1, p2, p3, p4, p5, p6 and 23 more"


def test_an_empty_graph_is_only_its_name():
    assert story(graph(name="nothing")) == "nothing"
