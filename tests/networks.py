"""Published networks that the tests use: those of the examples."""

from examples.networks import DATA, network

__all__ = ["DATA", "network"]
