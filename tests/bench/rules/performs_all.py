"""Everything that can be performed is: each rule looks at what lies in memory, and allows."""

from notifyd import PATH_OPERATIONS, Allow, Bind, Connect, SendTo, on

ON_SOCKETS = (Connect, Bind, SendTo)


@on(*(one for one in PATH_OPERATIONS if one not in ON_SOCKETS))
def performs_paths(call) -> Allow:
    _ = call.paths
    return Allow()


@on(*ON_SOCKETS)
def performs_addresses(call) -> Allow:
    _ = call.address if not isinstance(call, SendTo) else call.addresses
    return Allow()
