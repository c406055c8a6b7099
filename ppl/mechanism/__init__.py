"""How bodies are called: tables, vmap, singly or in batches; forward sampling, log joint, finite tables."""

from .caller import Caller
from .calling import quiet
from .data import Data, read_data
from .forward import Batch, forward
from .lookup import Lookup
from .mechanism import Facts, Mechanism
from .outcome import Outcome
from .probe import PROBE, called, kinds, probe
from .singly import Calls
from .soft import Belief, Likelihood
from .status import Status

__all__ = [
    "PROBE",
    "Batch",
    "Belief",
    "Caller",
    "Calls",
    "Data",
    "Facts",
    "Likelihood",
    "Lookup",
    "Mechanism",
    "Outcome",
    "Status",
    "called",
    "forward",
    "kinds",
    "probe",
    "quiet",
    "read_data",
]
