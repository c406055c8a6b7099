"""The public names: there when they are asked for, and what they say they are."""

from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

import ppl


def test_every_public_name_is_there_and_listed():
    """`dir` shows them before the first is used, and a name that is not there is refused."""
    assert set(ppl.__all__) <= set(dir(ppl))
    assert all(getattr(ppl, name) is not None for name in ppl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'infre'"):
        _ = ppl.infre


def test_no_file_has_the_name_of_a_public_function():
    """Python puts an imported file into its package, where it would stand in the function's place."""
    files = {path.stem for path in Path(ppl.__file__).parent.glob("*.py")}
    folders = {name for name in ppl.__all__ if isinstance(getattr(ppl, name), ModuleType)}
    assert files.isdisjoint(set(ppl.__all__) - folders)


def test_the_package_travels_to_workers():
    """Bodies refer to it; cloudpickle sends modules by name."""
    assert cloudpickle.loads(cloudpickle.dumps(lambda: ppl.Model("m")))().name == "m"
