"""Functions become nodes: `Model`, and `model` for families of them."""

from .family import model
from .model import Model

__all__ = ["Model", "model"]
