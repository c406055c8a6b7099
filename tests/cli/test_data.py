"""Data on the command line and in files: the same answers as the API, and the same errors, with their place."""

import json

import pytest

import ppl
from ppl.cli.assignments import value_of
from ppl.cli.data import read


@pytest.fixture
def line(folder):
    """The regression of models.py."""
    from ppl.cli.target import model_of

    return model_of("models.py:line").graph


@pytest.fixture
def pair(folder):
    """A vector and a label."""
    from ppl.cli.target import model_of

    return model_of("models.py:pair(1)").graph


def test_a_value_is_read_as_it_was_meant(folder):
    """Labels before numbers, numbers before text, lists with holes."""
    from ppl.cli.target import model_of

    weather = model_of("garden.py").graph["weather"]
    assert value_of("rain", weather) == "rain"
    assert [value_of(text, weather) for text in ("1", "1.5", "1e3", "null", "true")] == [
        1,
        1.5,
        1000.0,
        None,
        True,
    ]
    assert value_of("dry,,rain", weather) == ["dry", None, "rain"]
    assert value_of("[[1, 2], [3, null]]", weather) == [[1, 2], [3, None]]


def test_a_table_of_one_row_holds_scalars_and_one_of_many_a_plates_members(folder, line):
    """Empty cells are missing; a member of a plate stands in each row."""
    (folder / "a.csv").write_text("x,y\n1,2.5\n2,\n3,6\n")
    (folder / "b.csv").write_text("\ufeffx;y\n1;2.5\n")
    (folder / "c.tsv").write_text("x\ty\n1\t2.5\n")

    assert read(folder / "a.csv", line, False).rows == [{"x": [1, 2, 3], "y": [2.5, None, 6]}]
    assert read(folder / "b.csv", line, False).rows == [{"x": [1], "y": [2.5]}]
    assert read(folder / "c.tsv", line, False).rows == [{"x": [1], "y": [2.5]}]


def test_vectors_stand_in_several_columns(folder, line, pair):
    """`z[0]`, `z[1]` are one value; with rows, one value in each; of a node in a plate one row may hold all."""
    (folder / "a.csv").write_text("z[1],z[0],flag\n2.5,1,yes\n")
    (folder / "b.csv").write_text("z[0],z[1],flag\n1,2.5,yes\n3,4,\n")
    (folder / "c.csv").write_text("y[0],y[1]\n1,2\n3,4\n")

    assert read(folder / "a.csv", pair, False).rows == [{"z": [1, 2.5], "flag": "yes"}]
    assert read(folder / "b.csv", pair, True).rows == [
        {"z": [1, 2.5], "flag": "yes"},
        {"z": [3, 4], "flag": None},
    ]
    assert read(folder / "c.csv", line, True).rows == [{"y": [1, 2]}, {"y": [3, 4]}]


def test_json_is_read_with_the_place_of_every_node(folder, line):
    """An object from node to value; line and column of each key."""
    (folder / "a.json").write_text('{\n  "x": [1, 2],\n  "y": [0.5, null]\n}\n')

    found = read(folder / "a.json", line, False)

    assert found.rows == [{"x": [1, 2], "y": [0.5, None]}]
    assert {name: place[-3:] for name, place in found.places.items()} == {"x": "2:3", "y": "3:3"}


def test_json_holds_evidence_that_is_not_certain(galton, folder):
    """A likelihood of three to one for rain: the odds are 3 · 0.2 / 0.8."""
    (folder / "a.json").write_text('{"weather": {"likelihood": [1, 3]}}')

    done = galton("infer", "garden.py", "--data", "a.json", "--of", "weather")

    assert "rain 0.4286" in done.stdout


def test_given_json_and_csv_are_three_ways_to_say_the_same(galton, folder):
    """And what they say is what the API says."""
    (folder / "a.json").write_text('{"x": [1, 2, 3], "y": [1, null, 3]}')
    (folder / "a.csv").write_text("x,y\n1,1\n2,\n3,3\n")
    ways = (["-g", "x=1,2,3", "-g", "y=1,,3"], ["-d", "a.json"], ["-d", "a.csv"])

    said = {galton("infer", "models.py:line", *way).stdout for way in ways}

    from ppl.cli.target import model_of

    expected = ppl.infer(model_of("models.py:line"), {"x": [1, 2, 3], "y": [1, None, 3]})
    assert said == {f"read\n{expected.summary()}\n"}


BAD = [
    ("a.json", '{"x": [1, 2],\n "y": [1, 2, }', "a.json:2:14: Expecting value"),
    ("a.json", "[1, 2]", "a.json:1:1: this should be an object"),
    ("a.json", '{"y": [1],\n"y": [2]}', "a.json:2:1: 'y' is there twice"),
    ("a.json", '{"x": [1],\n "yy": [1]}', "a.json:2:2: line has no node 'yy'"),
    ("a.json", '{"x": [1, 2],\n "y": [1]}', "a.json:2:2: 'y' has 1 members along plate 'row'"),
    ("a.json", '{"x": [1, 2],\n "y": [1, "wet"]}', "a.json:2:2: 'y' takes numbers"),
    ("a.json", '{"x": [1, 2],\n "y": [1, [2, 3]]}', "a.json:2:2: 'y'"),
    ("a.json", '{"x": [1, 2],\n "y": {"a": 1}}', "a.json:2:2: 'y' is a number, a label"),
    ("a.json", '{"x": [1, 2],\n "y": [1, NaN]}', "a.json:2:2: 'y' has 1 NaN"),
    ("a.json", '{"x": [1, null],\n "y": [1, 2]}', "a.json:1:2: Input 'x' has missing cells"),
    ("a.json", '{"x": [1, 2],\n "slope": true, "y": 3}', "a.json:2:17: 'y' is in plate 'row'"),
    ("a.csv", "x,y\n1,2\n2,NA\n", "a.csv:3:2: 'y' cannot be 'NA'; it takes numbers"),
    ("a.csv", "x,y\n1,2\n2,3,4\n", "a.csv:3: this row has 3 cells"),
    ("a.csv", "x,yy\n1,2\n", "a.csv:1:2: line has no node 'yy' to observe. Did you mean 'y'?"),
    ("a.csv", "x,x\n1,2\n", "a.csv:1:2: there are two columns 'x'"),
    ("a.csv", "x,y\n", "a.csv: a table has a line with the names"),
    ("a.csv", "", "a.csv: a table has a line with the names"),
    ("a.csv", 'x,y\n1,"2\n', "a.csv:2: unexpected end of data"),
    ("a.csv", "x,y,slope\n1,2,3\n2,3,4\n", "'slope' is in no plate"),
    ("a.csv", "x[0],x[2]\n1,2\n", "a.csv: the columns of 'x' are not the numbers of one array"),
    ("a.csv", "x[0],x[999999999999]\n1,2\n", "are not the numbers of one array"),
    ("a.csv", b"x,y\n1,\xff\n", "a.csv: byte 6 is not UTF-8"),
    ("a.csv", "x,y\n1,2\n2,inf\n", "a.csv, column 2: 'y' was observed as infinite"),
    ("a.txt", "x", "a.txt: the name of a data file ends in .json, .csv or .tsv"),
]


@pytest.mark.parametrize(("name", "text", "words"), BAD, ids=[words for _, _, words in BAD])
def test_bad_files_are_refused_with_file_line_and_column(galton, folder, name, text, words):
    """In the words of the API, without a traceback."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    done = galton("infer", "models.py:line", "--data", name)

    assert done.exit_code == 1
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert "did not expect" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-g", "wett=1"], 1, "--given wett: garden has no node 'wett' to observe. Did you mean"),
        (["-g", "weather=rian"], 1, "'weather' has no state 'rian'. Did you mean 'rain'?"),
        (["-g", "wet=2"], 1, "--given wet: 'wet' was observed as 2"),
        (["-g", "wet"], 2, "'wet' has no value"),
        (["-g", "wet=1", "-g", "wet=0"], 2, "'wet' is there twice"),
        (["-g", "=1"], 2, "names no node"),
        (["-g", "wet=1", "--of", "wet"], 1, "which the observation gives"),
        (["--do", "wett=1"], 1, "--do wett: garden has no node 'wett'"),
        (["--do", "wet"], 2, "write --do wet=1"),
        (["--do", "wet=1", "-g", "wet=1"], 1, "was set by do()"),
        (["--size", "row"], 2, "write a plate and its size"),
        (["--method", "magic"], 1, "There is no method 'magic'"),
        (["--method", "rejection(quantil=1)"], 1, "Did you mean 'quantile'?"),
        (["--method", "rejection(1)"], 2, "options have names"),
        (["--data", "absent.json"], 2, "does not exist"),
        (["--rows"], 2, "--data"),
        (["--seconds", "0"], 1, "a budget is positive"),
    ],
)
def test_bad_words_are_refused(galton, words, code, said):
    """1 for what the model or the data make wrong, 2 for a command that cannot be read."""
    done = galton("infer", "garden.py", *words)

    assert done.exit_code == code, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not done.stdout


def test_every_row_is_an_observation_of_its_own(galton, folder):
    """As many answers as rows, missing cells among them; a list of objects says the same."""
    rows = [{"wet": 1}, {"wet": 0}, {"wet": None}]
    (folder / "a.csv").write_text('wet\n1\n0\n""\n')
    (folder / "a.json").write_text(json.dumps(rows))

    said = [
        galton("infer", "garden.py", "--data", name, "--rows", "--of", "weather").stdout
        for name in ("a.csv", "a.json")
    ]

    assert said[0] == said[1]
    parts = [part.strip() for part in said[0].split("observation ")[1:]]
    assert [part[0] for part in parts] == ["0", "1", "2"]
    assert ["rain 0.6923" in parts[0], "rain 0.027" in parts[1], "rain 0.2" in parts[2]] == [
        True
    ] * 3
