"""The public names: there when they are asked for, and what they say they are."""

import importlib
import sys
from types import ModuleType

import pytest

import ppl


def test_every_public_name_is_there_and_listed():
    """`dir` shows them before the first is used, and a name that is not there is refused."""
    assert set(ppl.__all__) <= set(dir(ppl))
    assert all(getattr(ppl, name) is not None for name in ppl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'infre'"):
        _ = ppl.infre


@pytest.mark.parametrize("name", ["fit", "infer"])
def test_a_file_never_stands_where_the_function_of_its_name_is(name, monkeypatch):
    """Python puts an imported file into its package; `ppl.infer` stays the function all the same."""
    monkeypatch.delitem(sys.modules, f"ppl.{name}", raising=False)

    module = importlib.import_module(f"ppl.{name}")

    assert isinstance(module, ModuleType)
    assert callable(getattr(ppl, name))
