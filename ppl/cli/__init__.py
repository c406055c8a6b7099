"""The command line `galton`: draw, plan, simulate, infer, check and convert, without writing a program."""

from .app import app, main

__all__ = ["app", "main"]
