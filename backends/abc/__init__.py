"""Approximate Bayesian computation: simulate, compare, keep."""
