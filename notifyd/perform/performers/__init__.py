"""How each operation is done: which system call, with which places and arguments.

To add an operation, add its performer to the table of its theme; the executor needs nothing else. A
performer takes a builder and returns a request's call and arguments. What comes back goes to
`finish`, where a call fills memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from notifyd.perform.performers import inodes, machine, naming
from notifyd.perform.performers.performer import ByThread, Performer, PreparedCall
from notifyd.perform.performers.sockets import SOCKET_PERFORMERS
from notifyd.policy.call import Call

__all__ = ["FILE_PERFORMERS", "SOCKET_PERFORMERS", "ByThread", "Performer", "PreparedCall"]

FILE_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {
        **naming.NAMING_PERFORMERS,
        **inodes.INODE_PERFORMERS,
        **machine.MACHINE_PERFORMERS,
        **SOCKET_PERFORMERS,
    }
)
