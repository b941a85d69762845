"""
A network of real kernel NATs on one machine, in namespaces of its own.

C{with Lab("portrestricted", "symmetric") as lab:} gives two hosts behind two NATs,
and a rendezvous; see C{docs/howto/lab.rst}.
"""

from .capture import Capture, Packet
from .kinds import KINDS, Kind
from .lab import DelayLine, Lab, describeKinds, whyNot
from .namespaces import LabError, Namespace, removeStale, waitFor
from .router import Router

__all__ = [
    "Capture",
    "DelayLine",
    "KINDS",
    "Kind",
    "Lab",
    "LabError",
    "Namespace",
    "Packet",
    "Router",
    "describeKinds",
    "removeStale",
    "waitFor",
    "whyNot",
]
