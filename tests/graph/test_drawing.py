"""What a statistician reads off a picture must be what the graph says."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import graphviz
import pytest

from ppl.errors import BackendError, QueryError
from ppl.graph import Body, Graph, Node, Parent, Plate, drawing
from ppl.graph import picture as rendering
from ppl.graph.drawing import draw
from ppl.graph.picture import Picture


def body(*parents: str | Parent) -> Body:
    return Body(lambda *_: 0, tuple(p if isinstance(p, Parent) else Parent(p, p) for p in parents))


def lag(source: str) -> Parent:
    return Parent("last", source, "previous")


def graph(*nodes: Node, plates: tuple[Plate, ...] = (), name: str = "model") -> Graph:
    return Graph(name, {n.name: n for n in nodes}, {p.name: p for p in plates})


def garden() -> Graph:
    return graph(
        Node("season", "latent", body()),
        Node("rain", "latent", body("season")),
        Node("sprinkler", "latent", body("season")),
        Node("wet", "observed", body("rain", "sprinkler")),
        name="garden",
    )


def weather() -> Graph:
    return graph(
        Node("transition", "theta", body(), plates=("row",)),
        Node("state", "latent", body(lag("state"), "transition"), start=body(), plates=("day",)),
        Node("y", "observed", body("state"), plates=("day",)),
        plates=(Plate("day", 200, ordered=True), Plate("row", 3)),
    )


def statement(picture: Picture, name: str) -> str:
    """The line of the source that says how a node looks."""
    return next(
        line for line in picture.source.splitlines() if line.strip().startswith(f'"{name}" [')
    )


def arrows(picture: Picture) -> dict[tuple[str, str], str]:
    """By edge, how it looks."""
    found = re.findall(r'^\t"([^"]*)" -> "([^"]*)"(.*)$', picture.source, re.MULTILINE)
    return {(tail, head): look for tail, head, look in found}


def boxes(picture: Picture) -> dict[str, set[str]]:
    """By box, everything inside it, boxes too."""
    found: dict[str, set[str]] = {}
    inside: list[str] = []
    for line in picture.source.splitlines():
        opened = re.match(r'\s*subgraph "cluster_(.*)" \{', line)
        node = re.match(r'\s*"(.*?)" \[', line)
        for outer in inside:
            found[outer] |= {m.group(1) for m in (opened, node) if m}
        if opened:
            inside.append(opened.group(1))
            found[opened.group(1)] = set()
        elif line.strip() == "}" and inside:
            inside.pop()
    return found


# -- what the picture says -------------------------------------------------------------------------


def test_the_arrows_are_the_edges_of_the_dag():
    assert set(arrows(draw(garden()))) == set(garden().dag.edges)


def test_observed_nodes_are_shaded_and_others_are_open():
    picture = draw(garden())

    assert drawing.SHADE in statement(picture, "wet")
    assert all(drawing.SHADE not in statement(picture, n) for n in ("season", "rain", "sprinkler"))


@pytest.mark.parametrize(
    ("role", "symbol"),
    [("theta", "θ"), ("nuisance", "η"), ("latent", "Z"), ("observed", "X"), ("input", "input")],
)
def test_the_role_is_written_in_the_node(role, symbol):
    assert f">{symbol}</font>" in statement(draw(graph(Node("a", role, body()))), "a")


def test_the_family_is_written_beside_the_role():
    picture = draw(garden(), kinds={"rain": "explicit: Bernoulli"})

    assert "Z · Bernoulli" in statement(picture, "rain")


def test_inputs_and_simulators_are_boxes_and_deterministic_nodes_have_a_double_border():
    picture = draw(
        graph(
            Node("x", "input"),
            Node("f", "deterministic", body("x")),
            Node("s", "latent", body("f")),
        ),
        kinds={"x": "input", "f": "deterministic", "s": "opaque"},
    )

    assert 'shape="box"' in statement(picture, "x")
    assert 'peripheries="2"' in statement(picture, "f")
    assert 'shape="box"' in statement(picture, "s")
    assert "simulator" in statement(picture, "s")


def test_do_shows_the_value_and_the_cut_parent():
    cut = Node(
        "sprinkler",
        "latent",
        Body(lambda: 1),
        intervened="value",
        cut=("season",),
        states=("off", "on"),
    )
    picture = draw(graph(*(cut if n.name == "sprinkler" else n for n in garden().nodes.values())))

    assert "do(sprinkler)" in statement(picture, "sprinkler")
    assert "set to on" in statement(picture, "sprinkler")
    assert "dashed" in arrows(picture)["season", "sprinkler"]
    assert "tee" in arrows(picture)["season", "sprinkler"]
    assert "dashed" not in arrows(picture)["season", "rain"]


def test_an_observed_node_that_was_set_is_no_longer_shaded():
    picture = draw(graph(Node("x", "observed", Body(lambda: 1.5), intervened="value")))

    assert drawing.SHADE not in statement(picture, "x")
    assert "set to 1.5" in statement(picture, "x")


def test_a_chain_is_one_node_with_a_loop():
    look = arrows(draw(weather()))

    assert "t−1" in look["state", "state"]
    assert "t−1" not in look["state", "y"]


def test_a_lag_that_looks_down_does_not_turn_the_picture_upside_down():
    picture = draw(
        graph(
            Node("state", "latent", body(lag("y")), start=body(), plates=("day",)),
            Node("y", "observed", body("state"), plates=("day",)),
            plates=(Plate("day", None, ordered=True),),
        )
    )

    assert "t−1" in arrows(picture)["y", "state"]
    assert "constraint" in arrows(picture)["y", "state"]
    assert "constraint" not in arrows(picture)["state", "y"]


def test_the_index_of_a_member_is_no_arrow():
    node = Node("y", "observed", body(Parent("row", "row", "index")), plates=("row",))

    assert arrows(draw(graph(node, plates=(Plate("row", 3),)))) == {}


def test_a_block_is_drawn_dashed_inside_the_plate_it_returns():
    picture = draw(
        graph(
            Node("curve", "deterministic", body(), over="day"),
            Node("x", "observed", body("curve"), plates=("day",)),
            plates=(Plate("day", 14, ordered=True),),
        )
    )

    assert boxes(picture)["day"] == {"curve", "x"}
    assert "dashed" in statement(picture, "curve")
    assert "all day" in statement(picture, "curve")
    assert "dashed" not in statement(picture, "x")


def test_a_carrier_is_drawn_only_if_it_has_several_children():
    def town(*outputs: str) -> Graph:
        children = [Node(f"t.{o}", "observed", body("t"), picks=i) for i, o in enumerate(outputs)]
        carrier = Node("t", "observed", body("p"), outputs=outputs)
        reader = Node("x", "observed", body(f"t.{outputs[0]}"))
        return graph(Node("p", "theta", body()), carrier, *children, reader)

    two, one = draw(town("mean", "sd"), {"t": "opaque"}), draw(town("mean"), {"t": "opaque"})

    assert set(arrows(two)) == {("p", "t"), ("t", "t.mean"), ("t", "t.sd"), ("t.mean", "x")}
    assert set(arrows(one)) == {("p", "t.mean"), ("t.mean", "x")}
    assert "simulator" in statement(one, "t.mean")


# -- plates ----------------------------------------------------------------------------------------


def test_plates_are_boxes_that_say_their_size_and_order():
    picture = draw(weather())

    assert boxes(picture) == {"day": {"state", "y"}, "row": {"transition"}}
    assert "<day (200, in order)>" in picture.source
    assert "<row (3)>" in picture.source


def test_nested_plates_are_nested_boxes():
    picture = draw(
        graph(
            Node("school effect", "latent", body(), plates=("school",)),
            Node("y", "observed", body("school effect"), plates=("school", "pupil")),
            plates=(Plate("school", 8), Plate("pupil")),
        )
    )

    assert boxes(picture) == {
        "school": {"school effect", "school/pupil", "y"},
        "school/pupil": {"y"},
    }
    assert "<pupil>" in picture.source


def test_a_node_alone_in_two_plates_has_two_boxes():
    nodes = (Node("y", "observed", body(), plates=("a", "b")),)

    assert boxes(draw(graph(*nodes, plates=(Plate("a"), Plate("b"))))) == {
        "a": {"a/b", "y"},
        "a/b": {"y"},
    }


def test_crossed_plates_stand_side_by_side_and_share_a_third_box():
    picture = draw(
        graph(
            Node("ability", "latent", body(), plates=("student",)),
            Node("difficulty", "theta", body(), plates=("question",)),
            Node(
                "right", "observed", body("ability", "difficulty"), plates=("student", "question")
            ),
            plates=(Plate("student", 30), Plate("question", 20)),
        )
    )

    assert boxes(picture) == {
        "student": {"ability"},
        "question": {"difficulty"},
        "student/question": {"right"},
    }
    assert "<student (30) × question (20)>" in picture.source


def test_plates_that_cross_within_a_plate_stay_within_it():
    names = [("site",), ("site", "plot"), ("site", "year"), ("site", "plot", "year")]
    picture = draw(
        graph(
            *(
                Node("".join(p[0] for p in plates), "latent", body(), plates=plates)
                for plates in names
            ),
            plates=(Plate("site"), Plate("plot"), Plate("year")),
        )
    )

    assert set(boxes(picture)) == {"site", "site/plot", "site/year", "site/plot/year"}
    assert boxes(picture)["site"] >= {"s", "sp", "sy", "spy", "site/plot/year"}
    assert boxes(picture)["site/plot"] == {"sp"}


def test_long_format_names_the_plates_it_points_to():
    picture = draw(
        graph(
            Node("y", "observed", body(), plates=("answer",)),
            plates=(
                Plate("student"),
                Plate("question"),
                Plate("answer", of=("student", "question")),
            ),
        )
    )

    assert "<answer of student, question>" in picture.source


# -- colours, notes, legend ------------------------------------------------------------------------


def test_colours_notes_and_fading_show():
    picture = draw(garden(), colours={"rain": "#0072B2"}, notes={"rain": "exact"}, faded=["wet"])

    assert "#0072B2" in statement(picture, "rain")
    assert ">exact</font>" in statement(picture, "rain")
    assert drawing.PAPER in statement(picture, "rain"), "dark fill needs light ink"
    assert drawing.PALE in statement(picture, "wet")
    assert drawing.PALE in arrows(picture)["rain", "wet"]


@pytest.mark.parametrize(
    "options", [{"colours": {"rian": "red"}}, {"notes": {"rian": "x"}}, {"faded": ["rian"]}]
)
def test_a_misspelt_node_is_refused(options):
    with pytest.raises(QueryError, match="Did you mean 'rain'"):
        draw(garden(), **options)


def test_the_legend_explains_what_occurs_and_nothing_else():
    legend = draw(weather(), legend=True).source

    assert "θ parameter" in legend
    assert "t−1: one member earlier" in legend
    assert "nuisance" not in legend
    assert "θ parameter" not in draw(weather()).source


def test_equal_graphs_give_equal_sources():
    assert draw(weather()).source == draw(weather()).source
    assert draw(garden()).copy().source == draw(garden()).source


# -- rendering -------------------------------------------------------------------------------------

AWKWARD = [
    "a:b",
    'say "hi"',
    "<b>",
    "a&amp;b",
    "back\\slash\\",
    "\\N",
    "left.truth",
    "graph",
    "é θ",
]


def shown(svg: str) -> list[str]:
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_shown_as_they_are(name):
    picture = draw(
        graph(
            Node(name, "latent", body(), plates=("p" + name,)),
            Node("child", "observed", body(name)),
            plates=(Plate("p" + name, 2),),
            name=name,
        ),
        notes={"child": name},
    )

    svg = picture.pipe("svg", encoding="utf-8")

    assert shown(svg).count(name) == 2, "once in the node, once in the note"
    assert f"p{name} (2)" in shown(svg)
    assert svg.count('class="node"') == 2, "a port or a typo would have made a third"
    assert svg.count('class="edge"') == 1


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("svg", b"<?xml"), ("png", b"\x89PNG\r\n"), ("pdf", b"%PDF"), ("jpg", b"\xff\xd8")],
)
def test_save_goes_by_the_suffix(tmp_path, suffix, magic):
    path = draw(weather()).save(tmp_path / "new" / f"weather.{suffix}")

    assert path == tmp_path / "new" / f"weather.{suffix}"
    assert path.read_bytes().startswith(magic)


def test_any_other_suffix_saves_the_source(tmp_path):
    picture = draw(garden())

    assert picture.save(str(tmp_path / "garden.gv")).read_text("utf-8") == picture.source
    assert picture.save(directory=tmp_path / "here") == tmp_path / "here" / "garden.gv"


def test_a_picture_is_a_graphviz_digraph(tmp_path):
    picture = draw(garden())

    assert isinstance(picture, graphviz.Digraph)
    assert Path(picture.render(tmp_path / "g.gv", format="svg")).name == "g.gv.svg"
    assert (tmp_path / "g.gv").read_text("utf-8") == picture.source


def test_notebooks_show_the_picture():
    bundle = draw(garden())._repr_mimebundle_()

    assert "season" in shown(bundle["image/svg+xml"])
    assert draw(garden())._repr_svg_() == bundle["image/svg+xml"]
    assert draw(garden())._repr_mimebundle_(exclude=["image/svg+xml"]).keys() == {"text/plain"}


def test_an_empty_graph_has_an_empty_picture():
    assert draw(graph()).pipe("svg").startswith(b"<?xml")


@pytest.mark.parametrize("plates", [(), ("p",)])
def test_two_hundred_nodes_are_drawn_each_once_and_in_their_boxes(plates):
    nodes = [
        Node(
            f"n{i}", "latent", body(*([f"n{i // 2}"] if i else [])), plates=plates if i > 99 else ()
        )
        for i in range(200)
    ]

    svg = draw(graph(*nodes, plates=(Plate("p"),))).pipe("svg", encoding="utf-8")

    assert svg.count('class="node"') == 200
    assert svg.count('class="cluster"') == len(plates)


def test_without_a_renderer_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(rendering.shutil, "which", lambda *_, **__: None)
    picture = draw(garden())

    with pytest.raises(BackendError, match=r"pip install graphviz-pure(.|\n)*\.source"):
        picture.save(tmp_path / "garden.png")
    assert not (tmp_path / "garden.png").exists()
    assert picture._repr_mimebundle_() == {"text/plain": picture.source}
    assert picture._repr_svg_() is None
    assert picture.save(tmp_path / "garden.gv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for dot is a shell script")
def test_a_broken_dot_gives_way_to_the_other_renderer(monkeypatch, tmp_path):
    broken = tmp_path / "dot"
    broken.write_text("#!/bin/sh\necho no layout engine >&2\nexit 1\n")
    broken.chmod(0o755)
    working = rendering._renderers()[-1]

    monkeypatch.setattr(rendering, "_renderers", lambda: [str(broken), working])
    assert draw(garden()).pipe("png").startswith(b"\x89PNG")

    monkeypatch.setattr(rendering, "_renderers", lambda: [str(broken)])
    with pytest.raises(BackendError, match="no layout engine"):
        draw(garden()).pipe("png")


def test_a_broad_graph_is_read_from_left_to_right_with_names_alone():
    """A hundred children of one node would be a strip that no page shows."""
    nodes = [Node(f"n{i}", "latent", body=body(*(["n0"] if i else []))) for i in range(100)]

    picture = draw(graph(*nodes))
    svg = picture.pipe("svg", encoding="utf-8")
    width, height = (
        float(svg.split(f'{side}="')[1].split("pt")[0]) for side in ("width", "height")
    )

    assert height > 2 * width
    assert "Z" not in statement(picture, "n5").partition("tooltip")[0]
    assert 'tooltip="n5 · Z"' in statement(picture, "n5")


def test_a_key_says_what_the_colours_stand_for():
    """And brings the legend with it."""
    picture = draw(garden(), colours={"rain": "#8fd3f4"}, key={"#8fd3f4": "rain by exact"})

    assert "rain by exact" in picture.source
    assert picture.source.count("#8fd3f4") == 2, "in the node and in the legend"


def test_what_is_folded_is_one_node_that_counts_them():
    """Its arrows are those between the folded and the others, each once."""
    picture = draw(garden(), folded=["rain", "sprinkler"])

    assert "2 more nodes" in picture.source
    assert set(arrows(picture)) == {("season", "…"), ("…", "wet")}
    assert picture.pipe("svg").count(b'class="node"') == 3


def test_among_many_nodes_what_most_are_is_said_once():
    """The others say what they are."""
    nodes = [Node(f"n{i}", "latent", body()) for i in range(50)]
    kinds = {f"n{i}": "explicit: Normal" for i in range(50)}

    picture = draw(graph(*nodes, Node("x", "observed", body("n0"))), kinds=kinds)

    assert "Z · Normal, where nothing else is said" in picture.source
    assert "Normal" not in statement(picture, "n7").partition("tooltip")[0]
    assert ">X</font>" in statement(picture, "x")


def test_words_stand_in_the_middle_of_their_nodes_whatever_the_font():
    """Anchored at the middle of the border; a plate's label ends at its right border."""
    svg = ElementTree.fromstring(draw(weather()).pipe("svg"))
    space = "{http://www.w3.org/2000/svg}"
    for group in svg.iter(f"{space}g"):
        words = list(group.iter(f"{space}text"))
        if group.get("class") == "node":
            middle = float(next(group.iter(f"{space}ellipse")).get("cx"))
            assert words
            for text in words:
                assert text.get("text-anchor") == "middle"
                assert float(text.get("x")) == pytest.approx(middle, abs=0.01)
        elif group.get("class") == "cluster":
            assert [text.get("text-anchor") for text in words] == ["end"]


def test_a_picture_has_its_own_paper():
    """Dark ink on white, so that it can be read in a dark notebook too."""
    svg = draw(garden()).pipe("svg", encoding="utf-8")

    assert re.search(r'<polygon fill="#ffffff" stroke="none"', svg)
