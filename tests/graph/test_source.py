"""The written form of functions: equal for equal meanings in every version of Python, and never that of something else."""

import importlib.util
import os
import sys

import pytest

from ppl.graph.source import written


def plain(x, k=3):
    """Says nothing."""
    return x + k  # neither does this


def again(x, k=3):
    return x + k


def other(x, k=3):
    return x - k


# fmt: off
ONE, TWO = lambda x: x + 1, lambda x: x + 2
INNER = lambda: lambda: 1  # noqa: E731
# fmt: on


def test_the_text_is_that_of_every_version():
    """A store is read by later versions of Python, so the text itself is promised."""
    assert written(ONE.__code__) == (
        "arguments args [ arg arg str 'x' ; ] ; BinOp left Name id str 'x' ; op Add ; right Constant value int 1 ; ;"
    )


def test_comments_docstrings_and_names_do_not_count():
    assert written(plain.__code__) == written(again.__code__) is not None
    assert written(plain.__code__) != written(other.__code__)


def test_functions_of_one_line_are_told_apart():
    assert written(ONE.__code__) != written(TWO.__code__)
    assert written(INNER.__code__) != written(INNER().__code__) is not None


@pytest.fixture
def module(tmp_path):
    """A module from a file that may be edited."""

    def loaded(text):
        path = tmp_path / f"edited{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("edited", path)
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found, path

    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    yield loaded
    sys.dont_write_bytecode = before


def test_a_file_that_was_edited_since_is_not_what_runs(module):
    """Its text would be that of another function."""
    found, path = module("def f(x):\n    return x + 1\n")
    path.write_text("def f(x):\n    return x * 2\n")
    os.utime(path, (1, 1))
    assert written(found.f.__code__) is None


def test_decorators_within_a_body_count(module):
    body = "import functools\ndef f(x):\n    {}\n    def g(y): return y\n    return g(x)\n"
    cached = written(module(body.format("@functools.cache"))[0].f.__code__)
    bare = written(module(body.format("pass"))[0].f.__code__)
    assert cached is not None
    assert bare is not None
    assert cached != bare


def test_what_is_in_no_file_has_no_text():
    space: dict = {}
    exec("def f(x): return x", space)
    assert written(space["f"].__code__) is None
