"""Nodes, plates and the DAG; surgery, separation, elimination orders, pictures and stories."""

from .elimination import Elimination, elimination, rounds
from .graph import Graph
from .node import ROLES, Body, Node, Parent, Plate, Previous, previous

__all__ = [
    "ROLES",
    "Body",
    "Elimination",
    "Graph",
    "Node",
    "Parent",
    "Plate",
    "Previous",
    "elimination",
    "previous",
    "rounds",
]
