"""A campaign packed for another process: lambdas, closures and functions of notebooks travel by value; what cannot travel is named."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import cloudpickle

from ..errors import SimulationError
from ..graph.fingerprint import is_library
from .campaign import Campaign

__all__ = ["packed"]


def packed(campaign: Campaign) -> bytes:
    """The campaign as bytes.

    Raises:
        SimulationError: If something that a body uses cannot be sent; it names the variable.
    """
    modules = _local_modules(campaign)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(campaign)
    except Exception as error:
        raise SimulationError(_blamed(campaign, error)) from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _local_modules(campaign: Campaign) -> list[Any]:
    """Modules of bodies that another process might not find: everything that is not installed."""
    found = {}
    for node in campaign.mechanism.graph.nodes.values():
        for body in node.bodies:
            function = inspect.unwrap(body.function)
            name = getattr(function, "__module__", None)
            if name and name != "__main__" and name in sys.modules and not is_library(function):
                found[name] = sys.modules[name]
    return [
        m for m in found.values() if m.__name__ not in cloudpickle.list_registry_pickle_by_value()
    ]


def _blamed(campaign: Campaign, error: Exception) -> str:
    """Which variable of which body cannot be sent."""
    for node in campaign.mechanism.graph.nodes.values():
        for body in node.bodies:
            function = inspect.unwrap(body.function)
            for name, value in _outside(function):
                try:
                    cloudpickle.dumps(value)
                except Exception as problem:
                    return (
                        f"'{node.name}' ({body.where}) uses '{name}', a {type(value).__name__}, which cannot be sent to a worker "
                        f"process: {problem}. Make it inside the body, or run with workers=0."
                    )
    return f"The model cannot be sent to a worker process: {error}. Run with workers=0."


def _outside(function: Any) -> list[tuple[str, Any]]:
    """The values that a function takes from outside."""
    if not inspect.isfunction(function):
        return [("self", function)]
    found = inspect.getclosurevars(function)
    defaults = {
        name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if p.default is not p.empty
    }
    return [*defaults.items(), *found.nonlocals.items(), *found.globals.items()]
