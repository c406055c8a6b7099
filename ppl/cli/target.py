"""A target: `FILE:MODEL` on the command line, turned into the model that it names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer

from ..errors import GaltonError, ModelError, closest
from .blame import told

if TYPE_CHECKING:
    from ..dsl import Model

__all__ = ["called", "model_of"]

NETWORKS = (".bif", ".uai", ".bif.gz", ".uai.gz")
#: The file, then perhaps a name, then perhaps arguments. A drive letter before a backslash is no name.
TARGET = re.compile(r"(?P<file>.+?)(?::(?P<name>[^\W\d][\w.]*)(?P<call>\(.*\))?)?", re.DOTALL)


def model_of(target: str) -> Model:
    """The model that a target names.

    Args:
        target: `file.py:model`, `package.module:model`, `file.py:factory(days=20)`, or the path of a network. Without a name it is
            the only model of the file.

    Raises:
        typer.BadParameter: If there is no such file.
        ModelError: If the file fails, or has no such model.
        FormatError: If a network cannot be read.
    """
    found = TARGET.fullmatch(target)
    assert found is not None or not target
    if found is None:
        raise typer.BadParameter("an empty name.", param_hint="FILE:MODEL")
    file, name, call = found["file"], found["name"], found["call"]
    if file.lower().endswith(NETWORKS):
        return _network(file, name)
    module = _module(file)
    models = _models(module)
    if name is None:
        name = _only(models, file)
    if name not in models:
        raise ModelError(_unknown(module, models, file, name))
    thing = models[name]
    if _is_model(thing):
        if call is not None:
            raise ModelError(f"{file}: '{name}' is a model, not a factory; it takes no arguments.")
        return thing
    return _made(thing, name, call or "()", file)


def called(text: str, owner: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """`name(1, b="x")` taken apart; the arguments are literals, and nothing is evaluated.

    Raises:
        typer.BadParameter: If it is no call, or an argument is no literal.

    Example:
        >>> called("weather(20, k=3)", "FILE:MODEL")
        ('weather', (20,), {'k': 3})
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, (), {}
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ValueError
        values = tuple(ast.literal_eval(argument) for argument in tree.args)
        named = {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords if k.arg}
        if len(named) < len(tree.keywords):
            raise ValueError
    except (SyntaxError, ValueError, TypeError):
        raise typer.BadParameter(
            f"'{text}' cannot be read; arguments are literals, as in name(20, kind='wet').",
            param_hint=owner,
        ) from None
    return tree.func.id, values, named


# -- files ---------------------------------------------------------------------------------------


def _network(file: str, name: str | None) -> Model:
    if not Path(file).is_file():
        raise typer.BadParameter(_absent(file), param_hint="FILE:MODEL")
    if name is not None:
        raise typer.BadParameter(
            f"{file} is a network, and one model; leave out ':{name}'.", param_hint="FILE:MODEL"
        )
    from ..formats import read

    return read(file)


def _module(file: str) -> ModuleType:
    """The user's file, run once; its folder can be imported from, as if Python had been called with it."""
    path = Path(file)
    if path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise typer.BadParameter(_absent(file), param_hint="FILE:MODEL")
        return _run(path)
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", file):
        raise typer.BadParameter(_absent(file), param_hint="FILE:MODEL")
    sys.path.insert(0, str(Path.cwd()))
    try:
        if _spec(file) is None:
            raise typer.BadParameter(
                f"{_absent(file)[:-1]}, and no module of that name.", param_hint="FILE:MODEL"
            )
        return importlib.import_module(file)
    except (typer.BadParameter, GaltonError):
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(told(error, path)) from error


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return None
        raise


def _run(path: Path) -> ModuleType:
    name = path.stem
    if not name.isidentifier() or name in sys.modules:
        name = "model_" + re.sub(r"\W", "_", name)
    loader = importlib.machinery.SourceFileLoader(name, str(path.resolve()))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, GaltonError) and path.name in str(error):
            raise  # it says where
        raise ModelError(told(error, path)) from error
    return module


def _absent(file: str) -> str:
    """That a file is not there, with the nearest of those that are."""
    path = Path(file)
    there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = closest(path.name, there) if there else ""
    return f"there is no file '{file}'.{near if near.startswith(' Did') else ''}"


# -- models --------------------------------------------------------------------------------------


def _is_model(thing: Any) -> bool:
    from ..dsl import Model

    return isinstance(thing, Model)


def _models(module: ModuleType) -> dict[str, Any]:
    """The models and the factories of models in a module, by name; what it imported comes last."""
    from ..dsl.family import is_factory

    found = {n: v for n, v in vars(module).items() if _is_model(v) or is_factory(v)}
    own = {n: v for n, v in found.items() if getattr(v, "__module__", None) == module.__name__}
    return {**{n: v for n, v in found.items() if _is_model(v)}, **own, **found}


def _only(models: dict[str, Any], file: str) -> str:
    """The name of the only model, not counting second names for it."""
    different = {id(thing): name for name, thing in reversed(models.items())}
    if len(different) == 1:
        return next(iter(different.values()))
    if not different:
        raise ModelError(
            f"{file} has no model. Write model = ppl.Model('name') and decorate functions with it, or decorate a factory with @ppl.model."
        )
    names = [name for name in models if name in different.values()]
    raise ModelError(
        f"{file} has {len(names)} models: {', '.join(names)}. Say which: {file}:{names[0]}"
    )


def _unknown(module: ModuleType, models: dict[str, Any], file: str, name: str) -> str:
    thing = getattr(module, name, None)
    if thing is None:
        return f"{file} has no model '{name}'.{closest(name, models)}"
    hint = " Decorate it with @ppl.model." if inspect.isfunction(thing) else closest(name, models)
    return f"{file}: '{name}' is no model, but of type {type(thing).__name__}.{hint}"


def _made(factory: Callable[..., Model], name: str, call: str, file: str) -> Model:
    """A member of the family."""
    _, values, named = called(name + call, "FILE:MODEL")
    signature = inspect.signature(inspect.unwrap(factory))
    try:
        signature.bind(None, *values, **named)
    except TypeError as error:
        takes = ", ".join(map(str, [*signature.parameters.values()][1:]))
        raise ModelError(
            f"{file}: {name}{call} does not fit {name}({takes}): {error}. Write {file}:{name}(argument=value)."
        ) from None
    try:
        return factory(*values, **named)
    except GaltonError:
        raise
    except Exception as error:
        raise ModelError(told(error, Path(file))) from error
