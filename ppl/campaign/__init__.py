"""Campaigns: many simulations, reproducible batch by batch."""

from .campaign import Campaign, batch_size, batches
from .driver import Workers, drive, hired
from .opened import Opened, opened
from .progress import Progress
from .running import Running
from .simulate import Simulations, joined, simulate
from .store import Store

__all__ = [
    "Campaign",
    "Opened",
    "Progress",
    "Running",
    "Simulations",
    "Store",
    "Workers",
    "batch_size",
    "batches",
    "drive",
    "hired",
    "joined",
    "opened",
    "simulate",
]
