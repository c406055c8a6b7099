"""The report: one file for a browser that tells a model, its plan, the answer, and how far the answer can be trusted."""

from .report import of_plan, of_posterior

__all__ = ["of_plan", "of_posterior"]
