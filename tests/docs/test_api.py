"""Everything public is documented, and stands in the reference."""

import importlib
import inspect
import re

import pytest

from .pages import DOCS

MODULES = ["ppl", "ppl.distributions", "ppl.graph", "ppl.posterior", "ppl.compiler", "ppl.errors"]
#: Pages that list a module's public names, and those that name them one by one.
REFERENCE = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))


def public(module):
    """A module's public functions and classes, by full name, and the public members of the classes."""
    for name in importlib.import_module(module).__all__:
        thing = getattr(importlib.import_module(module), name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        yield f"{module}.{name}", thing
        if not inspect.isclass(thing):
            continue
        for member, value in vars(thing).items():
            kind = isinstance(value, property | classmethod | staticmethod)
            if not member.startswith("_") and (kind or callable(value) or _cached(value)):
                yield f"{module}.{name}.{member}", _declared(thing, member)


def _declared(thing, member):
    """The member, as the first of its classes that says what it is declares it."""
    found = [vars(parent)[member] for parent in thing.__mro__ if member in vars(parent)]
    return next((value for value in found if documented(value)), found[0])


def _cached(value):
    return type(value).__name__ == "cached_property"


def documented(thing) -> bool:
    """Whether somebody wrote what it is: here, or where a method that it overrides is declared."""
    text = inspect.getdoc(thing) or ""
    made = text.startswith(f"{getattr(thing, '__name__', '')}(")  # what dataclasses write
    return bool(text.strip()) and not made


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_is_documented(module):
    """Functions, classes, methods and properties: all of them."""
    bare = [name for name, thing in public(module) if not documented(thing)]
    assert not bare, ", ".join(bare)


def test_everything_in_ppl_is_in_the_reference():
    """Whatever `ppl.__all__` names has its place on a page."""
    pages = re.findall(r"\.\. auto(?:class|function|module):: (\S+)", REFERENCE)
    whole = {name for name in pages if name in MODULES}
    listed = {item for module in whole for item in importlib.import_module(module).__all__}
    listed |= {name.rpartition(".")[2] for name in pages}
    absent = [name for name in importlib.import_module("ppl").__all__ if name not in listed]
    assert not absent, ", ".join(absent)
