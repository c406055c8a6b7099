"""FILE:MODEL names a model, or says why it does not."""

import pytest

import ppl
from ppl.cli.target import model_of


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("garden.py", "garden"),
        ("garden.py:garden", "garden"),
        ("./garden.py", "garden"),
        ("garden:garden", "garden"),
        ("models.py:line", "line"),
        ("models.py:line()", "line"),
        ("models.py:line(scale=2.5)", "line"),
        ("models.py:pair(3)", "pair"),
        ("alarm.bif", "alarm"),
    ],
)
def test_a_model_is_found_by_file_and_name(galton, target, shown):
    """A file with one model needs no name, a family is called with its defaults, a network is a model."""
    done = galton("draw", target)

    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert shown in lines


def test_the_arguments_of_a_factory_reach_it(folder):
    """The posterior precision of a slope is 1 / scale² + sum of x²."""
    for scale in (1.0, 0.1):
        model = model_of(f"models.py:line(scale={scale})")
        slope = ppl.infer(model, {"x": [1, 2], "y": [1, 2]})["slope"]

        assert float(slope.sd) == pytest.approx((1 / scale**2 + 5) ** -0.5)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("gardn.py", 2, ["no file 'gardn.py'", "Did you mean", "'garden.py'"]),
        ("no_such_module:x", 2, ["no module of that name"]),
        ("alarm.bif:alarm", 2, ["is a network"]),
        ("garden.py:gardn", 1, ["garden.py has no model 'gardn'. Did you mean 'garden'?"]),
        ("garden.py:garden(3)", 1, ["takes no arguments"]),
        ("models.py", 1, ["2 models: line, pair", "models.py:line"]),
        ("models.py:not_a_model", 1, ["no model, but of type int"]),
        ("models.py:undecorated", 1, ["Decorate it with @ppl.model"]),
        ("models.py:pair", 1, ["missing a required argument: 'spread'"]),
        ("models.py:line(size=3)", 1, ["line(scale=1.0)", "unexpected keyword argument 'size'"]),
        ("models.py:line(open('x'))", 2, ["arguments are literals"]),
        ("models.py:line([1)", 2, ["cannot be read"]),
        ("models.py:pair(spread=-1)", 0, []),
    ],
)
def test_what_is_no_model_is_refused_by_name(galton, target, code, words):
    """A wrong command ends with 2, a wrong model with 1; a distribution with a bad parameter is seen when it is asked."""
    done = galton("draw", target)

    said = " ".join(done.stderr.replace("│", " ").split())
    assert done.exit_code == code, said
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('import ppl\nm = ppl.Model("m"\n', ["wrong.py:2: SyntaxError", "never closed"]),
        ("\nimport no_such_library\n", ["wrong.py:2: ModuleNotFoundError", "no_such_library"]),
        ("x = 1\ny = 1 / 0\n", ["wrong.py:2: ZeroDivisionError", "y = 1 / 0"]),
        ("import sys\nsys.exit(3)\n", ["left Python", "__main__"]),
        ("x = 1\n", ["wrong.py has no model"]),
        (
            'import ppl\nm = ppl.Model("m")\n@m.observed\ndef x(b): return b\n',
            ["wrong.py:3", "parent 'b'"],
        ),
        (
            "import ppl\n@ppl.model\ndef family(model):\n    model.nothing()\n",
            ["wrong.py:4: AttributeError"],
        ),
    ],
)
def test_errors_of_the_users_file_say_file_and_line(galton, folder, source, words):
    """No traceback: the line that is wrong, and what Python says of it."""
    (folder / "wrong.py").write_text(source)

    done = galton("draw", "wrong.py")

    assert done.exit_code == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_in_a_body_says_the_line_of_the_body(galton, folder):
    """The node, the error, and the line that raised it; with --debug the traceback too."""
    (folder / "wrong.py").write_text(
        "import ppl\nm = ppl.Model('m')\n@m.observed\ndef x(rng):\n    a = 1\n    return a + undefined\n"
    )

    done = galton("simulate", "wrong.py", "-n", 10)
    debugged = galton("simulate", "wrong.py", "-n", 10, "--debug")

    assert done.exit_code == debugged.exit_code == 1
    assert "'x' (wrong.py:3) raised NameError" in done.stderr
    assert "wrong.py:6: return a + undefined" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in debugged.stderr
