"""Campaigns: many simulations, reproducible batch by batch."""

from .simulate import Simulations, batch_size, batches, simulate

__all__ = ["Simulations", "batch_size", "batches", "simulate"]
